"""Identity: people whose faces are so near that two of them may be one person."""
