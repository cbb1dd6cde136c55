"""What a training reports while it runs: progress, curves, images, environment."""
