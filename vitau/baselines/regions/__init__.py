"""Comparison methods of the regions: each answers, for eight regions of a face, whether the palsy affects it."""
