"""The measured truth of explanations: results with intervals over people, and how they are written."""
