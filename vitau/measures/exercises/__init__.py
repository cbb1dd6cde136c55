"""Exercises of a recording: their features, the model that names them, and their segments."""
