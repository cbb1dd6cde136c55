"""Judging of what is served: false alarms on healthy faces, and a benchmark on drawn people."""
