"""The model registry in MLflow: tracking, registration, download, and the files of a registered model."""
