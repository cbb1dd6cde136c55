"""Recognition methods whose network sees several frames of a clip, or the four parts of a face."""
