"""Explanations of the model: contributions in words, and whether they lie where the palsy is."""
