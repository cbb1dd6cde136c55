"""Recognition methods on features of landmarks or pixels instead of a trained image network."""
