"""Scoring by several workers without a registry; the model is untrained and in a folder."""

import io
import threading
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flows import rescore
from flows.doctor.fsck import fsck
from flows.execution.clip_worker import clip_work, local_source
from flows.execution.executor import Engine
from flows.reports.drift import MONITOR_PAGE
from flows.studies.engines import untrained, usable
from flows.workspace import Workspace
from tests.flows.workspaces import offline_settings
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

    def make(name, **changes):
        given = {"catalog": f"sqlite:///{tmp_path / name}.db", "pseudonym_key": KEY, "work": tmp_path, "num_processes": 1}
        settings = offline_settings(tmp_path, **given | changes)
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
    assert sum(scored.people for scored in ours) == 3
    assert len(scores(workspaces[0])) == 3
    assert workspaces[0].catalog.leases() == {}
    assert rescore.score_people(workspaces[0], model, frames, Engine.LOCAL) == rescore.NumScored(people=0, outdated=0)


def test_two_processes_write_the_objects_of_one(frames, model, make_workspace):
    def objects(workspace):
        rescore.score_people(workspace, model, frames, Engine.LOCAL)
        return {key: workspace.store.get(key) for key in workspace.store.keys(SCORES)}

    one, two = make_workspace("one"), make_workspace("two", num_processes=2)
    assert rescore.num_scorers(two.settings, 3) == 2
    written = objects(one)
    one.store.erase(SCORES)
    assert objects(two) == written


def test_people_whose_frames_were_cut_anew_are_scored_again_once_and_the_others_are_not(
    frames, model, make_workspace, cohort, tmp_path
):
    workspace = make_workspace("corrected")
    rescore.score_people(workspace, model, frames, Engine.LOCAL)
    before = scores(workspace)
    assert fsck(workspace.store, workspace.catalog).recorded > 0, "the digests of the first scores are in the catalog"

    source = replace(read_manifest(cohort / "manifest.csv")[0][0], mirrored=True)
    work = replace(local_source(source, KEY.encode()), revision=1)
    recut = usable(clip_work(str(tmp_path / "store"), FrameRecipe())(work))
    subject = recut["subject"][0].as_py()
    others = frames.filter(pc.not_equal(frames["subject"], subject))
    corrected = pa.concat_tables([others, recut])

    assert rescore.score_people(workspace, model, corrected, Engine.LOCAL) == rescore.NumScored(people=1, outdated=1)
    after = scores(workspace)
    assert {name for name in after if after[name] != before[name]} == {subject}
    key, summary = after[subject]
    assert summary["revisions"] == {work.clip.sha256: 1}
    assert pq.read_table(io.BytesIO(workspace.store.get(key))).num_rows == recut.num_rows
    assert "changed" not in {defect.problem for defect in fsck(workspace.store, workspace.catalog).defects}

    for asked in (corrected, frames):  # an old snapshot names the old frames; the score of the new ones stays
        assert rescore.score_people(workspace, model, asked, Engine.LOCAL) == rescore.NumScored(people=0, outdated=0)
    assert scores(workspace) == after


def test_an_interrupted_repetition_of_a_score_is_finished_by_the_next_run(frames, model, make_workspace, monkeypatch):
    workspace = make_workspace("interrupted")
    rescore.score_people(workspace, model, frames, Engine.LOCAL)
    subject, digest = frames["subject"][0].as_py(), workspace.catalog.last_scored_by()
    before = scores(workspace)[subject]
    monkeypatch.setattr(rescore, "is_outdated", lambda score, _: score.subject == subject)
    drop = type(workspace.catalog).drop_score

    def killed(*_):
        raise RuntimeError

    monkeypatch.setattr(type(workspace.catalog), "drop_score", killed)
    with pytest.raises(RuntimeError):
        rescore.score_people(workspace, model, frames, Engine.LOCAL)
    assert not list(workspace.store.keys(f"{SCORES}{digest}/{subject}/")), (
        "no object of the old score can be taken for a new one"
    )
    assert workspace.catalog.score(digest, subject) is not None
    monkeypatch.setattr(type(workspace.catalog), "drop_score", drop)
    monkeypatch.setattr(rescore, "is_outdated", lambda score, _: not workspace.store.exists(score.key))
    assert rescore.score_people(workspace, model, frames, Engine.LOCAL).outdated == 1
    assert scores(workspace)[subject] == before
    assert fsck(workspace.store, workspace.catalog).adopted == 0


def test_a_report_links_the_labeling_page_and_an_existing_drift_page(make_workspace, tmp_path):
    workspace, report = make_workspace("beside"), tmp_path / "report.html"
    labeling = {"labeling progress": "labeling.html"}
    assert rescore.write_related_pages(workspace, report) == labeling
    assert "Labeling progress" in (tmp_path / "labeling.html").read_text()
    (tmp_path / MONITOR_PAGE).write_text("a page")
    assert rescore.write_related_pages(workspace, report) == labeling | {"drift of new people": "monitor.html"}
