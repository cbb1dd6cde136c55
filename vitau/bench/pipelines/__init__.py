"""Benchmarks of whole pipelines with models: batches for training, and scoring."""
