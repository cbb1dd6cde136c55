"""Recognition methods whose network sees one frame."""
