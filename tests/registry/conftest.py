"""Fixtures of the scoring tests: models and photos, which the registry's tests register and download."""

from tests.scoring.conftest import crops, make_bundle, photo, registered, tracking_uri

__all__ = ["crops", "make_bundle", "photo", "registered", "tracking_uri"]
