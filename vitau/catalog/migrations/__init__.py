"""The tables of the catalog through time."""
