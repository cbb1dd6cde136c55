"""Evaluation of `vitau measure` on drawn people, whose exercises, side and affected regions are known."""
