"""Prefect: everything composed."""
