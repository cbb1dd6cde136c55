import csv
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from prefect.logging import disable_run_logger

from flows import deployments
from flows.deployments import ingest_new
from flows.ingest import Layout, skip_list_name
from flows.scoring import sources
from tests.databases import empty_catalog
from vitau.catalog.catalog import open_catalog


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A watched folder, and an environment without services."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    for name, value in {
        "VITAU_STORE": (tmp_path / "store").as_uri(),
        "VITAU_CATALOG": f"sqlite:///{shutil.copy(empty_catalog(), tmp_path / 'catalog.db')}",
        "VITAU_PSEUDONYM_KEY": "a key long enough",
        "VITAU_LABEL_STUDIO_URL": "http://127.0.0.1:1",
        "VITAU_LABEL_STUDIO_TOKEN": "token",
        "VITAU_MLFLOW_URL": "http://127.0.0.1:1",
        "VITAU_NUM_PROCESSES": "1",
        "VITAU_WATCH": str(folder),
    }.items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def catalog(watched):
    catalog = open_catalog(os.environ["VITAU_CATALOG"])
    yield catalog
    catalog.engine.dispose()


def go() -> dict[str, int]:
    """Run the flow's steps without Prefect's server; the journey of the whole stack runs them with one."""
    with disable_run_logger():
        return ingest_new.fn()


def write(path, rows) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["subject", "clip", "cohort"])
        writer.writeheader()
        writer.writerows(rows)


def test_a_manifest_is_read_once_until_it_changes_and_other_tables_are_not_manifests(watched, monkeypatch):
    read = []
    monkeypatch.setattr(deployments.ingest, "fn", lambda manifest, **_: read.append(manifest.path.name) or summary())
    write(watched / "march" / "manifest.csv", [{"subject": "s1", "clip": "a.mp4", "cohort": "palsy"}])
    write(watched / "truth.csv", [])
    assert go()["manifests"] == 1
    assert go()["manifests"] == 0
    write(watched / "march" / "manifest.csv", [{"subject": "s2", "clip": "a.mp4", "cohort": "palsy"}])
    assert go()["manifests"] == 1
    assert read == ["manifest.csv"] * 2


def test_a_manifest_with_skipped_clips_is_read_again(watched, monkeypatch):
    monkeypatch.setattr(deployments.ingest, "fn", lambda *_, **__: summary(skipped=1))
    write(watched / "manifest.csv", [{"subject": "s1", "clip": "later.mp4", "cohort": "palsy"}])
    assert [go() for _ in range(2)] == [{"manifests": 1, "folders": 0, "unreadable": 0, "new_clips": 1, "skipped": 1}] * 2


def test_an_unreadable_manifest_is_listed_with_its_reason_and_stops_no_other(watched, catalog, monkeypatch):
    (watched / "a-manifest.csv").write_text("no,such,columns\n1,2,3\n")
    write(watched / "b-manifest.csv", [{"subject": "s1", "clip": "a.mp4", "cohort": "palsy"}])
    ingest = deployments.ingest.fn
    monkeypatch.setattr(
        deployments.ingest, "fn", lambda path, **kw: ingest(path, **kw) if path.path.name[0] == "a" else summary()
    )
    assert go() == {"manifests": 2, "folders": 0, "unreadable": 1, "new_clips": 1, "skipped": 0}
    (item,) = catalog.skipped()
    assert item.item == f"manifest {skip_list_name(watched / 'a-manifest.csv')}"
    assert "subject" in item.reason
    assert "a-manifest" not in item.reason


def test_a_manifest_that_cannot_be_opened_or_fails_in_any_way_stops_no_other(watched, catalog, monkeypatch):
    (watched / "a-manifest.csv").symlink_to(watched / "a-manifest.csv")
    (watched / "b-manifest.csv").write_text("subject,clip,cohort\n")
    write(watched / "c-manifest.csv", [{"subject": "s1", "clip": "a.mp4", "cohort": "palsy"}])
    ingest = deployments.ingest.fn

    def one_fails(source, **settings):
        if source.path.name[0] == "b":
            raise RuntimeError("Ada Lovelace")
        return ingest(source, **settings) if source.path.name[0] == "a" else summary()

    monkeypatch.setattr(deployments.ingest, "fn", one_fails)
    assert go() == {"manifests": 3, "folders": 0, "unreadable": 2, "new_clips": 1, "skipped": 0}
    assert "Ada" not in str(catalog.skipped())


def test_a_folder_of_people_is_read_once_its_last_copy_is_complete_and_again_when_a_file_comes(watched, monkeypatch):
    read, scored = [], []
    monkeypatch.setattr(
        deployments.ingest, "fn", lambda source, **given: read.append((source.path, given["layout"])) or summary()
    )
    monkeypatch.setattr(deployments, "unknown_people", lambda _: {"anna"})
    monkeypatch.setattr(deployments, "request", scored.append)
    (watched / "unknown").mkdir()
    (watched / "unknown" / "anna.mp4").write_bytes(b"half of a cop")
    assert (go()["folders"], read, scored) == (0, [], [])
    monkeypatch.setattr(sources, "SETTLE_S", 0.0)
    assert [go()["folders"] for _ in range(2)] == [1, 0]
    assert read == [(watched, Layout.PHOTOS)]
    assert scored == ["score-unknown/score-new"]
    (watched / "unknown" / "bo.mp4").write_bytes(b"a copy")
    assert go()["folders"] == 1


def test_a_folder_with_a_clip_that_failed_is_read_again_and_one_with_other_files_is_not(watched, monkeypatch):
    monkeypatch.setattr(sources, "SETTLE_S", 0.0)
    (watched / "unknown").mkdir()
    (watched / "unknown" / "anna.mp4").write_bytes(b"a copy")
    outcome = replace(summary(skipped=1), new_clips=0)
    monkeypatch.setattr(deployments.ingest, "fn", lambda *_, **__: replace(outcome, failed=1))
    assert [go()["folders"] for _ in range(2)] == [1, 1]
    monkeypatch.setattr(deployments.ingest, "fn", lambda *_, **__: outcome)
    assert [go()["folders"] for _ in range(2)] == [1, 0]


def test_an_unreadable_folder_is_listed_by_a_digest(watched, catalog, monkeypatch):
    monkeypatch.setattr(sources, "SETTLE_S", 0.0)
    (watched / "Ada Lovelace" / "unknown").mkdir(parents=True)
    (watched / "Ada Lovelace" / "unknown" / "notes.txt").write_text("no clip")
    assert go()["unreadable"] == 1
    (item,) = catalog.skipped()
    assert item.item == f"folder {skip_list_name(watched / 'Ada Lovelace')}"
    assert "Ada" not in item.reason


def test_without_a_watched_folder_nothing_is_done(watched, monkeypatch):
    monkeypatch.delenv("VITAU_WATCH")
    assert go()["manifests"] == 0


def summary(*, skipped: int = 0):
    from flows.ingest import IngestSummary
    from vitau.schema import Skipped

    left_out = tuple(Skipped(item=str(number), reason="missing") for number in range(skipped))
    return IngestSummary(clips=1, new_clips=1, cut_clips=1, frames=1, faces=1, quarantined={}, skipped=left_out)


def test_ingest_and_reading_the_catalog_and_pulling_labels_load_no_library_that_they_do_not_use():
    code = """
import sys
import flows.ingest
def loaded(*names): return [name for name in names if name in sys.modules]
print(loaded("torch", "mlflow", "great_expectations", "label_studio_sdk", "ray", "boto3", "sklearn", "scipy", "matplotlib"))
import flows.reports.lineage, flows.deployments, flows.promote
print(loaded("torch"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"
