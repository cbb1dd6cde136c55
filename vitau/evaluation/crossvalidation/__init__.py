"""Evaluation of out-of-fold predictions: by person and by frame, over seeds, between protocols, and from recordings alone."""
