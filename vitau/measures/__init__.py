"""Measurements of faces without a trained model: by side, with exercises and uncertainty."""
