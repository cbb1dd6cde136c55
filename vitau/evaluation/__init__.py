"""Metrics with intervals over people, promotion decisions, and drift."""
