"""Reports of a running training: metrics, curves, images and environment."""
