"""Drawn people for the flows' tests: real clips, no service."""

from pathlib import Path

import pytest

from vitau.media.synthetic.cohort import write_cohort


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clips of four drawn people, ``manifest.csv`` and ``truth.csv``."""
    out = tmp_path_factory.mktemp("cohort")
    write_cohort(out, 4, seed=11, frames_per_task=1, num_processes=1)
    return out
