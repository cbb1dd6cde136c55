"""A parametric face: who it is, what it does, its shape, its picture. Nothing here was recorded from anybody."""
