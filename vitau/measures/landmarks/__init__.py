"""Landmark backends: where the 68 points of a face come from, and how much of its asymmetry they keep."""
