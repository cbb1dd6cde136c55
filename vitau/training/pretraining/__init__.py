"""Pretraining on synthetic people."""
