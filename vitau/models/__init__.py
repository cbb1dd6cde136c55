"""The networks, and nothing about how they are trained or used."""
