"""Label Studio: one consistent set of region labels per person."""
