"""Drawn people and a workspace for the flows' tests: real clips, no service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.workspace import Workspace
from tests.flows.workspaces import offline_workspace
from vitau.media.synthetic.cohort import write_cohort


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clips of four drawn people, ``manifest.csv`` and ``truth.csv``."""
    out = tmp_path_factory.mktemp("cohort")
    write_cohort(out, 4, seed=11, frames_per_task=1, num_processes=1)
    return out


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """An empty workspace without services."""
    with offline_workspace(tmp_path, num_processes=1) as opened:
        yield opened
