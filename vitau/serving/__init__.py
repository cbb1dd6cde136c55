"""A page for one person at one computer: drop a recording, read its report, download its tables."""
