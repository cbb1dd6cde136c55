"""Media: list sources, decode and sample recordings, detect, track and align faces, measure quality, draw synthetic people."""
