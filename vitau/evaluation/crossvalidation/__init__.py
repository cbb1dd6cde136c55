"""Evaluation of out-of-fold predictions: by person and by frame, over seeds, and between protocols."""
