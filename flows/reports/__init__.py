"""Pages and sheets that people read."""
