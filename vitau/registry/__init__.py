"""MLflow: tracking, registered models, their download, and the texts that travel with them."""
