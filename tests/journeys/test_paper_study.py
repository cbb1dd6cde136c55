"""The paper's data in small: a drawn YFP and CK+ go from a drafted manifest to a champion, a report and scores of new people.

Nobody is real. The models of the size `smoke` learn nothing: this shows that the parts fit, and that recordings that separate
the cohorts need a named policy.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.crossvalidation.folder import OUTPUTS
from flows.settings import ROOT
from tests.journeys.drawn_study import draw_study
from tests.journeys.paper_study import check_outputs, check_promotion, check_refusal, freeze_study, open_workplace
from vitau.training.checkpoint import FILE

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(3600)]

ARGUMENTS = ("--protocol", "subjects,frames", "--size", "smoke", "--seeds", "1")


@pytest.fixture(scope="module")
def place(services, own_label_studio, own_mlflow, command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    study = draw_study(tmp_path_factory.mktemp("study"))
    return open_workplace(command, services, own_label_studio, own_mlflow, study, folder)


@pytest.fixture(scope="module")
def snapshot(place):
    return freeze_study(place)


def test_a_small_study_whose_cameras_differ_is_refused_and_scores_people_by_a_policy_with_a_warning(place, snapshot):
    check_refusal(place, snapshot, "smoke")
    check_promotion(place)
    check_outputs(place, snapshot)


@pytest.mark.full
def test_crossvalidate_killed_in_a_fold_and_between_folds_writes_the_same_files(place, snapshot, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    kill_when(a_fold_is_trained, place, snapshot, killed)
    first = complete(killed)
    kill_when(lambda out: complete(out) > first, place, snapshot, killed)
    done = complete(killed)
    assert first < done
    partial = killed / "folds" / ".a-fold.0123456789ab.partial.parquet"
    partial.write_bytes(b"of a worker that was killed while it wrote")
    place.run("crossvalidate", snapshot, "--out", killed, *ARGUMENTS)
    printed = place.run("crossvalidate", snapshot, "--out", whole, *ARGUMENTS)
    assert len(complete(whole)) == 2 * (1 + 5), "both tasks, one fold of subjects and five of frames"
    assert done < complete(whole), "it was killed before the last fold"
    for name in OUTPUTS:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    assert complete(killed) == complete(whole)
    assert not list(killed.rglob(".*")), "no partial file is left"
    assert not any(path.is_dir() for path in (killed / "folds").iterdir()), "no checkpoint is left"
    assert "shortcut probe" in printed.out
    assert "`frames` minus `subjects`" in printed.err


def complete(out: Path) -> set[str]:
    """Return the names of the folds with predictions."""
    return {path.name for path in (out / "folds").glob("[!.]*.parquet")}  # not the partial file of a fold


def a_fold_is_trained(out: Path) -> bool:
    """Return whether a fold has a checkpoint and no predictions yet."""
    trained = {path.parent.name.removesuffix("-checkpoint") for path in (out / "folds").glob(f"*-checkpoint/{FILE}")}
    return bool(trained - {name.removesuffix(".parquet") for name in complete(out)})


def kill_when(reached: Callable[[Path], bool], place, snapshot: str, out: Path) -> None:
    """Start a cross-validation, wait for a state of its folder, and send SIGKILL to it and to all its processes."""
    arguments = [sys.executable, "-m", "flows", "crossvalidate", snapshot, "--out", str(out), *ARGUMENTS]
    with (place.folder / "killed.log").open("wb") as log:
        process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env={**os.environ, **place.environment, "VITAU_NUM_TRAININGS": "2"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 600
            while not reached(out):
                assert process.poll() is None, (place.folder / "killed.log").read_text()
                assert time.monotonic() < deadline, "it did not get so far in 600 s"
                time.sleep(0.005)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
