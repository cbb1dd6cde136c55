"""Movement of a recording: excursions per exercise, synkinesis, the pattern of the forehead, and their uncertainty."""
