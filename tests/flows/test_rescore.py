"""Scoring by several workers without a registry; the model is untrained and in a folder."""

import threading

import pyarrow as pa
import pytest

from flows import rescore
from flows.execution.clip_worker import clip_work, local_source
from flows.execution.executor import Engine
from flows.reports.drift import MONITOR_PAGE
from flows.settings import Settings
from flows.studies.engines import untrained, usable
from flows.workspace import Workspace
from vitau.data.layout import SCORES, parse_score_key
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import read_manifest
from vitau.media.sources import to_subject

KEY = "a key that only this test knows"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"), "tiny", seed=3)


@pytest.fixture
def frames(cohort, tmp_path):
    """The usable frames of three people whose clips are in the store."""
    sources, _ = read_manifest(cohort / "manifest.csv")
    ingested = map(
        clip_work(str(tmp_path / "store"), FrameRecipe()), (local_source(source, KEY.encode()) for source in sources[:3])
    )
    return pa.concat_tables(map(usable, ingested))


@pytest.fixture
def make_workspace(cohort, tmp_path, monkeypatch):
    """Return a function that opens the store with a catalog of the given name, which has the people."""
    monkeypatch.setattr(rescore, "score_shard", rescore.score_shard.fn)  # no Prefect server is needed to score
    opened = []

    def make(name):
        settings = Settings(
            store=(tmp_path / "store").as_uri(),
            catalog=f"sqlite:///{tmp_path / name}.db",
            pseudonym_key=KEY,
            label_studio_url="http://127.0.0.1:1",
            label_studio_token="none",
            mlflow_url="http://127.0.0.1:1",
            work=tmp_path,
        )
        opened.append(Workspace(settings))
        for source in read_manifest(cohort / "manifest.csv")[0]:
            opened[-1].catalog.add_subject(to_subject(source, KEY.encode()))
        return opened[-1]

    yield make
    for workspace in opened:
        workspace.catalog.engine.dispose()


def scores(workspace):
    """Return the score of each person in the catalog."""
    [digest] = {parse_score_key(key)[0] for key in workspace.store.keys(SCORES)}
    return {score.subject: (score.key, score.summary) for score in workspace.catalog.scores(digest)}


def test_two_workers_share_the_people_and_score_each_once(frames, model, make_workspace):
    workspaces, ours = [make_workspace("one"), make_workspace("one")], []
    threads = [
        threading.Thread(target=lambda own=own: ours.append(rescore.score_people(own, model, frames, Engine.LOCAL)))
        for own in workspaces
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(ours) == 3
    assert len(scores(workspaces[0])) == 3
    assert workspaces[0].catalog.leases() == {}
    assert rescore.score_people(workspaces[0], model, frames, Engine.LOCAL) == 0


def test_a_report_links_the_labeling_page_and_an_existing_drift_page(make_workspace, tmp_path):
    workspace, report = make_workspace("beside"), tmp_path / "report.html"
    labeling = {"labeling progress": "labeling.html"}
    assert rescore.write_related_pages(workspace, report) == labeling
    assert "Labeling progress" in (tmp_path / "labeling.html").read_text()
    (tmp_path / MONITOR_PAGE).write_text("a page")
    assert rescore.write_related_pages(workspace, report) == labeling | {"drift of new people": "monitor.html"}
