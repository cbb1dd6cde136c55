"""Training of one fold of a cross-validation."""
