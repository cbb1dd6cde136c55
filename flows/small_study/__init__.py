"""Small studies: people are left out one at a time, and the models are then trained on everybody."""
