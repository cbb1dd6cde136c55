"""Scaling out over Ray and over several workers: the same results as one process, and nothing twice."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from flows.settings import ROOT

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]

CLIPS = 3
LEASE_S = 4


def rows(catalog: Path, table: str, where: str = "1") -> list[tuple]:
    """Return the rows of a table without the time of recording."""
    with closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        found = database.execute(f"SELECT * FROM {table} WHERE {where}").fetchall()  # noqa: S608 - our own names
        return sorted(tuple(row[name] for name in row.keys() if name != "recorded_at") for row in found)  # noqa: SIM118


def objects(store: Path, under: str) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted((store / under).rglob("*")) if path.is_file()}


def test_ray_cuts_the_faces_that_one_process_cuts(people, apart, command, tmp_path):
    for engine in ("local", "ray"):
        own = apart | {"VITAU_STORE": (tmp_path / engine).as_uri(), "VITAU_CATALOG": f"sqlite:///{tmp_path / engine}.db"}
        done = command("flows", "ingest", people / "manifest.csv", "--state", tmp_path / "none", "--engine", engine, env=own)
        assert done.code == 0, done.err
        assert json.loads(done.out)["cut_clips"] == CLIPS
    by_ray = objects(tmp_path / "ray", "subjects")
    assert len(by_ray) == 4 * CLIPS
    assert by_ray == objects(tmp_path / "local", "subjects")
    for table in ("subjects", "clips", "frame_tables", "skipped", "claims"):
        assert rows(tmp_path / "ray.db", table) == rows(tmp_path / "local.db", table)
    assert len(rows(tmp_path / "ray.db", "frame_tables")) == CLIPS


def test_ray_scores_the_demos_people_as_the_demo_did(demos, apart, command, tmp_path):
    """Score the demo's state again, from a copy without its scores."""
    shutil.copytree(demos.whole / "store", tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "scores")
    with (
        closing(sqlite3.connect(demos.whole / "catalog.db")) as demo,
        closing(sqlite3.connect(tmp_path / "catalog.db")) as copy,
    ):
        demo.backup(copy)
        copy.execute("DELETE FROM scores")
        copy.commit()
    snapshot = json.loads((demos.whole / "summary.json").read_text())["snapshot"]
    page = tmp_path / "report.html"
    done = command("flows", "rescore", snapshot, "--out", page, "--state", tmp_path / "none", "--engine", "ray", env=apart)
    assert done.code == 0, done.err
    scored = rows(tmp_path / "catalog.db", "scores")
    assert json.loads(done.out)["new_subjects"] == len(scored) > 0
    assert scored == rows(demos.whole / "catalog.db", "scores")
    assert objects(tmp_path / "store", "scores") == objects(demos.whole / "store", "scores")


def test_workers_share_a_source_and_finish_the_work_of_a_killed_one(people, apart, tmp_path):
    environment = os.environ | apart | {"VITAU_LEASE_S": str(LEASE_S), "OMP_NUM_THREADS": "1"}
    first = worker(people / "manifest.csv", environment, tmp_path / "first")
    wait_for_a_lease(tmp_path / "catalog.db", first)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    num_before = len(list((tmp_path / "store").glob("subjects/*/clips/*/frames-*.parquet")))
    assert num_before < CLIPS
    assert rows(tmp_path / "catalog.db", "claims")  # a killed worker keeps its lease until it expires
    others = {name: worker(people / "manifest.csv", environment, tmp_path / name) for name in ("second", "third")}
    for name, process in others.items():
        assert process.wait(timeout=300) == 0, (tmp_path / f"{name}.err").read_text()
    summaries = [json.loads((tmp_path / f"{name}.out").read_text()) for name in others]
    assert [summary["clips"] for summary in summaries] == [CLIPS, CLIPS]
    assert sum(summary["cut_clips"] for summary in summaries) == CLIPS - num_before
    assert len(rows(tmp_path / "catalog.db", "frame_tables")) == CLIPS
    assert rows(tmp_path / "catalog.db", "claims") == []


def worker(manifest: Path, environment: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.with_suffix(".out").open("wb") as out, log.with_suffix(".err").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "flows", "ingest", manifest, "--state", log.parent / "none"],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )


def wait_for_a_lease(catalog: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it took a lease"
        try:
            if rows(catalog, "claims"):
                return
        except sqlite3.OperationalError:
            pass  # the file or the table does not exist yet
        time.sleep(0.02)
    raise AssertionError("no lease after 120 s")
