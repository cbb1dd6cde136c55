"""How the networks learn: configurations, recipes, losses, one loop."""
