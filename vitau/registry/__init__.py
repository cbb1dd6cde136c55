"""The model registry in MLflow: tracking, registration, download, and the files of a registered model."""

from typing import Final

DEFAULT_TRACKING_URI: Final = "http://127.0.0.1:5000"
"""Default address of the MLflow server."""
