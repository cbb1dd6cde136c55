"""From the answers of several readers to one label per person, and how far the readers agree."""
