import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.cli.reports import NoReportError, newest_report
from vitau.store import open_store


@pytest.fixture
def workspace(tmp_path) -> SimpleNamespace:
    """A folder store and two snapshots, the older one first."""
    store = open_store((tmp_path / "store").as_uri())
    snapshots = [SimpleNamespace(digest="older"), SimpleNamespace(digest="newer")]
    return SimpleNamespace(
        store=store,
        settings=SimpleNamespace(store=(tmp_path / "store").as_uri()),
        catalog=SimpleNamespace(snapshots=lambda: snapshots),
    )


def test_without_a_report_the_sentence_names_the_command(workspace, tmp_path):
    with pytest.raises(NoReportError, match="run `python -m flows rescore SNAPSHOT`"):
        newest_report(workspace, tmp_path)


def test_the_report_of_the_newest_snapshot_and_version_is_found(workspace, tmp_path):
    for key in ("older/vitau-regions-11", "newer/vitau-regions-9", "newer/vitau-regions-10", "newer/vitau-regions-10x"):
        workspace.store.put(f"reports/{key}/report.html", b"")
    workspace.store.put("reports/newer/vitau-regions-12/labeling.html", b"")
    assert newest_report(workspace, tmp_path) == tmp_path / "store" / "reports" / "newer" / "vitau-regions-10" / "report.html"


@pytest.mark.parametrize(("age_s", "name"), [(-60, "store"), (60, "report.html")])
def test_the_newer_one_of_the_demos_report_and_the_stores_is_found(workspace, tmp_path, age_s, name):
    workspace.store.put("reports/newer/vitau-regions-1/report.html", b"")
    local = tmp_path / "report.html"
    local.touch()
    os.utime(local, (local.stat().st_atime, local.stat().st_mtime + age_s))
    found = newest_report(workspace, tmp_path)
    assert isinstance(found, Path)
    assert found.relative_to(tmp_path).parts[0] == name


def test_in_an_object_store_the_address_is_returned(workspace, tmp_path):
    workspace.store.put("reports/newer/vitau-regions-1/report.html", b"")
    workspace.settings.store = "s3://vitau"
    assert str(newest_report(workspace, tmp_path)).endswith("reports/newer/vitau-regions-1/report.html")
