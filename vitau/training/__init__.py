"""Training of both networks: configurations, recipes, losses and one loop."""
