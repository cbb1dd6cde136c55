"""Training of the landmark refinement on drawn half faces, whose true points are known."""
