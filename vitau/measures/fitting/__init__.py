"""Fit of the weights of the weak half on drawn people, by the command `python -m vitau.measures.fitting`."""
