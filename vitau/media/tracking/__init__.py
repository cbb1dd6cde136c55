"""Tracking of the person in a clip, by one process, or by several that each read a part of it."""
