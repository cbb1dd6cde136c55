"""The weak half of a face: its side, and whether its forehead and its lower face are weak, each with a probability."""
