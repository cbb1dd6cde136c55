"""Methods that answer whether a face is palsied."""
