"""MLflow: tracking, registered models, their download, and the texts that travel with them."""

from typing import Final

DEFAULT_TRACKING_URI: Final = "http://127.0.0.1:5000"
"""Address of the MLflow server of `make up`."""
