"""People scored by several workers, and by Ray, without a registry: the model is an untrained one in a folder."""

import threading

import pyarrow as pa
import pytest

from flows import rescore
from flows.execution.clip_worker import clip_work
from flows.execution.executor import Engine
from flows.reports.drift import MONITOR_PAGE
from flows.settings import Settings
from flows.studies.engines import untrained, usable
from flows.workspace import Workspace
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import read_manifest
from vitau.media.sources import to_subject

KEY = "a key that only this test knows"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"), "tiny", seed=3)


@pytest.fixture
def frames(cohort, tmp_path):
    """The usable frames of three people, whose clips lie in the store."""
    sources, _ = read_manifest(cohort / "manifest.csv")
    ingested = map(clip_work(str(tmp_path / "store"), KEY.encode(), FrameRecipe()), sources[:3])
    return pa.concat_tables(map(usable, ingested))


@pytest.fixture
def make_workspace(cohort, tmp_path, monkeypatch):
    """Opens the store under a catalog of the given name, in which the people are known."""
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
    """What the catalog says of each person."""
    [digest] = {key.split("/")[1] for key in workspace.store.keys("scores/")}
    return {score.subject: (score.key, score.summary) for score in workspace.catalog.scores(digest)}


def test_two_workers_share_the_people_and_score_nobody_twice(frames, model, make_workspace):
    workspaces, ours = [make_workspace("one"), make_workspace("one")], []
    threads = [
        threading.Thread(target=lambda each=each: ours.append(rescore.score_people(each, model, frames, Engine.LOCAL)))
        for each in workspaces
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(ours) == 3
    assert len(scores(workspaces[0])) == 3
    assert workspaces[0].catalog.leases() == {}
    assert rescore.score_people(workspaces[0], model, frames, Engine.LOCAL) == 0


def test_a_report_links_the_labelling_and_what_monitoring_left_beside_it(make_workspace, tmp_path):
    workspace, report = make_workspace("beside"), tmp_path / "report.html"
    labelling = {"how far the labelling is": "labeling.html"}
    assert rescore.pages_beside(workspace, report) == labelling
    assert "Labeling progress" in (tmp_path / "labeling.html").read_text()
    (tmp_path / MONITOR_PAGE).write_text("a page")
    assert rescore.pages_beside(workspace, report) == labelling | {"how people who came since compare": "monitor.html"}
