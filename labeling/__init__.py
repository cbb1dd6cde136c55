"""Labeling in Label Studio: one label of the facial regions per person."""
