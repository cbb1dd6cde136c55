"""The three validation gates, run with Great Expectations."""
