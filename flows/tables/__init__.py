"""The tables of the paper: every method on the same people, beside the paper's numbers and what these are."""
