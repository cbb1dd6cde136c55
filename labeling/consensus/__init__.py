"""Consensus of several readers, their agreement, and their answers as CSV."""
