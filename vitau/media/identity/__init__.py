"""Identity: which clips show one person, by dlib's embeddings of several faces of each clip."""
