"""Empty databases in files, to be copied: their migrations take most of the time of a test."""

import os
import tempfile
from functools import cache
from pathlib import Path

from vitau.catalog.catalog import open_catalog

_FOLDER = tempfile.TemporaryDirectory(prefix="vitau-databases-")  # deleted when this process ends


@cache
def empty_catalog() -> Path:
    """Return the path of an empty SQLite catalog with its tables.

    ``VITAU_TEST_SQLITE`` names a file that later sessions share: `infra/mutants.py` starts hundreds of them.
    """
    shared = os.environ.get("VITAU_TEST_SQLITE")
    path = Path(shared) if shared else Path(_FOLDER.name) / "catalog.db"
    if not path.exists():
        open_catalog(f"sqlite:///{path}").engine.dispose()  # the last connection moves the write-ahead log into the file
    return path


@cache
def empty_registry() -> Path:
    """Return the path of the SQLite database of an MLflow registry without an experiment."""
    from mlflow import MlflowClient

    path = Path(_FOLDER.name) / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path
