"""The local services of `make up`."""
