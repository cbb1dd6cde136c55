"""The labeling page: configuration, guide and hotkeys."""
