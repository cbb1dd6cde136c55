"""Scoring of people of unknown status: a source that an operator names, or what arrives in the watched folder."""
