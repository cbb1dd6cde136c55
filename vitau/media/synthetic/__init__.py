"""Synthetic people: a parametric model of faces with and without palsy; nothing was recorded from a real person."""
