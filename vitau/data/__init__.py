"""Labeled frames as data sets: object keys, usable frames, splits, frozen snapshots and decoded crops."""
