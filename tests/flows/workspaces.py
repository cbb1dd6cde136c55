"""Workspaces in a folder of their own, with a store and a catalog and without services."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.settings import Settings
from flows.workspace import Workspace
from tests.databases import empty_catalog

CLOSED = "http://127.0.0.1:9"
"""Nothing listens there."""


def offline_settings(folder: Path, **changes: Any) -> Settings:
    """Return settings with a store, a SQLite catalog and a work folder in a folder; no service answers.

    Args:
        folder: for everything that is written.
        **changes: settings that differ, or more of them.
    """
    if not (path := folder / "catalog.db").exists() and "catalog" not in changes:
        shutil.copy(empty_catalog(), path)
    given = {
        "store": (folder / "store").as_uri(),
        "catalog": f"sqlite:///{folder / 'catalog.db'}",
        "pseudonym_key": "a key that only these tests know",
        "label_studio_url": CLOSED,
        "label_studio_token": "none",
        "mlflow_url": CLOSED,
        "work": folder / "work",
    }
    return Settings(**(given | changes))


@contextmanager
def offline_workspace(folder: Path, **changes: Any) -> Iterator[Workspace]:
    """Open a workspace by :func:`offline_settings`, and close its catalog at the end."""
    opened = Workspace(offline_settings(folder, **changes))
    yield opened
    opened.catalog.engine.dispose()
