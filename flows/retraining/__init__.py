"""The parts of a retraining: which recipes train from which weights, and the registration of what they made."""
