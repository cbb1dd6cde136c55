"""Sampling of key frames and of people: tasks, staleness, active learning and its simulation."""
