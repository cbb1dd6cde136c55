"""From a recording to aligned faces: sources, decoding, detection, alignment, and people that are drawn."""
