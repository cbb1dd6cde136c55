"""The steps of the annotate flow."""
