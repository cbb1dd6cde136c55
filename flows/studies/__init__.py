"""Studies on synthetic people that back a default."""
