"""New people are scored without a label, once, and can be labeled later; the model is untrained and in a folder."""

import base64
import csv
import json
import logging
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flows import freeze, ingest, rescore
from flows.execution.clip_worker import frames_version
from flows.measuring.people import NOT_MEASURED, measure_keys, people_measures
from flows.promotion.champion import Champion
from flows.promotion.registered_models import PALSY, REGIONS, bundled
from flows.reports.movement import measured_movement
from flows.reports.scoring import build_report
from flows.scoring import new_people, watched
from flows.scoring.results import NewItem, learned_from, notes_on
from flows.studies.engines import untrained
from flows.workspace import PrivatePath, Workspace
from tests.flows.workspaces import offline_settings
from tests.media.fake_trees import write_image
from vitau.catalog.catalog import Training
from vitau.data import layout, snapshot
from vitau.data.parquet import read_table
from vitau.media.manifests import read_manifest
from vitau.registry.bundle import folder_digest
from vitau.schema import AUS, Clip, Cohort, Protocol, RegionLabels, Side, Snapshot, Split, Subject
from vitau.scoring.predict import Predictor


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return untrained(tmp_path_factory.mktemp("champion"), "tiny", seed=3)


@pytest.fixture
def workspace(tmp_path, model, monkeypatch) -> Iterator[Workspace]:
    """A workspace whose champion is the untrained model; no Prefect server and no registry runs."""
    settings = offline_settings(tmp_path, num_processes=1)
    opened = Workspace(settings)
    digest = folder_digest(model)
    opened.catalog.add_snapshot(Snapshot(digest="d", uri="u", ledger_offset=0, num_frames=1, subjects={}, synthetic=True))
    for name, version in ((PALSY, 4), (REGIONS, 7)):
        opened.catalog.add_training(
            Training(
                key=name,
                model=name,
                recipe="tiny",
                snapshot="d",
                model_digest=digest if name == REGIONS else "palsy",
                model_key="k",
                version=version,
                run_id="r",
                metrics={},
            )
        )
    monkeypatch.setattr(ingest, "ingest_batch", ingest.ingest_batch.fn)
    monkeypatch.setattr(ingest, "gate", lambda *_: None)
    monkeypatch.setattr(ingest, "get_run_logger", lambda: logging.getLogger("test"))
    monkeypatch.setattr(rescore, "score_shard", rescore.score_shard.fn)
    frames_of = new_people.frames_of.fn
    for module in (new_people, watched):
        monkeypatch.setattr(module, "fetch_champion", lambda _: model)
        monkeypatch.setattr(module, "frames_of", frames_of)
    monkeypatch.setattr(watched, "approved_champion", lambda *_: Champion(model=REGIONS, version=7, approved=None))
    monkeypatch.setattr(new_people, "open_workspace", lambda _: opened)
    yield opened
    opened.catalog.engine.dispose()


@pytest.fixture
def inbox(cohort, tmp_path) -> Path:
    """A folder with two people: one in a file, one in a folder with a clip and a file that is no clip."""
    clips = [clip.paths[0] for clip in read_manifest(cohort / "manifest.csv")[0]]
    folder = tmp_path / "inbox"
    (folder / "Ada Lovelace").mkdir(parents=True)
    shutil.copy(clips[0], folder / "Grace Hopper.mp4")
    shutil.copy(clips[1], folder / "Ada Lovelace" / "1.mp4")
    (folder / "broken.mp4").write_bytes(b"not a video")
    return folder


def score(source: Path, out: Path) -> new_people.ScoreNewSummary:
    return new_people.score_new.fn(PrivatePath(source), PrivatePath(out))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_scored_with_a_report_tables_pictures_and_a_way_back_that_only_the_owner_can_read(
    workspace, inbox, tmp_path
):
    out = tmp_path / "out"
    summary = score(inbox, out)
    assert (summary.people, summary.new_people, summary.recordings, summary.champion) == (2, 2, 2, f"{REGIONS}/7")
    [skipped] = summary.skipped
    assert (skipped.item, "broken" in skipped.reason) == ("file 2", False)
    items = {Path(row["place"]).name: row for row in table(out / "items.csv")}
    assert items.keys() == {"1.mp4", "Grace Hopper.mp4"}
    people = {row["person"]: row for row in table(out / "people.csv")}
    assert people.keys() == {row["person"] for row in items.values()}
    assert {row["cohort"] for row in people.values()} == {"unknown"}
    assert {row["items"] for row in people.values()} == {row["item"] for row in items.values()}
    assert table(out / "skipped.csv") == [{"item": skipped.item, "reason": skipped.reason}]
    records = json.loads((out / "people.json").read_text())
    clips = {clip.subject: clip.sha256 for clip in workspace.catalog.clips()}
    for record in records:
        assert record["clips"] == [clips[record["person"]]]
        assert record["frame_recipe_and_limits"] == frames_version()
        assert (record["champion"], record["model_digest"]) == (f"{REGIONS}/7", workspace.catalog.last_scored_by())
        assert float(people[record["person"]]["palsy_score"]) == record["score"]["palsy_score"]
    pictures = list((out / "overlays").rglob("*.jpg"))
    assert len(pictures) == summary.overlays > 0
    assert [record["items"] for record in records] == [["file 1"], ["file 3"]]
    page = (out / "report.html").read_text()
    assert all(person in page for person in people)
    assert page.count("data:image/jpeg") >= 2
    for path in (path for path in out.rglob("*") if path.is_file() and path.name != "items.csv"):
        content = with_pictures_decoded(path.read_bytes())
        assert not any(name.encode() in content for name in ("Ada", "Lovelace", "Grace", "Hopper", str(inbox))), path
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*") if path.is_file()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (out, *out.rglob("*")) if path.is_dir()} == {0o700}


def with_pictures_decoded(page: bytes) -> bytes:
    """Return a page with the bytes of its pictures, in whose base64 text every name of three letters occurs by chance."""
    return re.sub(rb"base64,([A-Za-z0-9+/=]+)", lambda found: base64.b64decode(found[1]), page)


@pytest.fixture
def clinic(cohort, tmp_path) -> Path:
    """A manifest of one person with two visits, the later one first, and one person without."""
    folder = tmp_path / "clinic"
    folder.mkdir()
    for name, clip in zip("abc", read_manifest(cohort / "manifest.csv")[0], strict=False):
        shutil.copy(clip.paths[0], folder / f"{name}.mp4")
    manifest = folder / "manifest.csv"
    manifest.write_text(
        "subject,clip,cohort,visit,recorded_at\nAda,a.mp4,palsy,week-12,2031-03-01\n"
        "Ada,b.mp4,palsy,baseline,2031-01-01T09:30\nGrace,c.mp4,control,,2031-02-01\n"
    )
    return manifest


def visits_of(out: Path) -> list[dict[str, Any]]:
    (record,) = [record for record in json.loads((out / "people.json").read_text()) if "visits" in record]
    return record["visits"]


def test_a_person_with_two_visits_has_a_score_for_each_in_the_order_of_time_and_one_decision(
    workspace, clinic, tmp_path, caplog
):
    caplog.set_level(logging.DEBUG)
    out = tmp_path / "out"
    assert score(clinic, out).people == 2
    baseline, week_12 = visits_of(out)
    assert [(found["visit"], found["recorded_at"]) for found in (baseline, week_12)] == [
        ("baseline", "2031-01-01T09:30"),
        ("week-12", "2031-03-01"),
    ]
    ada, grace = json.loads((out / "people.json").read_text())
    assert sorted(baseline["clips"] + week_12["clips"]) == ada["clips"]
    assert baseline["num_frames"] + week_12["num_frames"] == ada["score"]["num_frames"]
    scored = read_table(workspace.store, ada["scores_key"], ["input", "palsy_score"])
    for visit in (baseline, week_12):
        own = scored.filter(pc.equal(scored["input"], visit["clips"][0]))["palsy_score"].to_numpy()
        assert visit["palsy_score"] == pytest.approx(own.mean(), abs=1e-4), "the untrained model is not calibrated"
    rows = table(out / "visits.csv")
    assert [(row["person"], row["visit"], row["recorded_at"], row["items"]) for row in rows] == [
        (ada["person"], "baseline", "2031-01-01T09:30", "row 3"),
        (ada["person"], "week-12", "2031-03-01", "row 2"),
    ]
    assert [float(row["palsy_score"]) for row in rows] == [baseline["palsy_score"], week_12["palsy_score"]]
    assert [int(row["frames"]) for row in rows] == [baseline["num_frames"], week_12["num_frames"]]
    assert stat.S_IMODE((out / "visits.csv").stat().st_mode) == 0o600
    measured = people_measures(workspace)[ada["person"]]
    assert [visit["movement_asymmetry"] for visit in (baseline, week_12)] == [
        round(visit.analysis.person.asymmetry, 4) for visit in measured.visits
    ]
    assert ada["movement_asymmetry"] == round(measured.analysis.person.asymmetry, 4) != baseline["movement_asymmetry"]
    assert [float(row["movement_asymmetry"]) for row in rows] == [visit["movement_asymmetry"] for visit in (baseline, week_12)]
    assert "visits" not in grace
    assert len(table(out / "people.csv")) == 2
    assert (out / "report.html").read_text().count("<h4>Visits</h4>") == 1
    stated, keys = ("week-12", "baseline", "2031-0"), list(workspace.store.keys())
    assert not any(text in written for text in stated for written in (*keys, caplog.text))


def test_a_corrected_visit_changes_the_report_and_scores_nobody_again(workspace, clinic, tmp_path):
    score(clinic, tmp_path / "out")
    before = {visit["visit"]: visit for visit in visits_of(tmp_path / "out")}
    clinic.write_text(clinic.read_text().replace("2031-01-01T09:30", "2031-04-01").replace("baseline", "week-16"))
    again = score(clinic, tmp_path / "out")
    assert (again.people, again.new_people, again.new_recordings) == (2, 0, 0)
    last, first = visits_of(tmp_path / "out")[::-1]
    assert (first, last["visit"], last["recorded_at"]) == (before["week-12"], "week-16", "2031-04-01")
    assert last["palsy_score"] == before["baseline"]["palsy_score"]
    header, *_, grace = clinic.read_text().splitlines()
    clinic.write_text(f"{header}\n{grace}\n")
    score(clinic, tmp_path / "out")
    assert not (tmp_path / "out" / "visits.csv").exists(), "of an earlier run about other people"


def test_the_report_of_held_out_people_has_their_visits_also_one_that_the_snapshot_lacks(workspace, clinic, model, tmp_path):
    score(clinic, tmp_path / "out")
    catalog = workspace.catalog
    (ada,) = [subject.pseudonym for subject in catalog.subjects() if subject.cohort is Cohort.PALSY]
    catalog.add_clip(
        Clip(sha256="f" * 64, subject=ada, source="manifest", suffix=".mp4", visit="week-24", taken_at="2031-06-01")
    )
    people = {subject.pseudonym: subject.cohort for subject in catalog.subjects()}
    rows = [
        {
            "clip": layout.parse_frames_key(frame["frames_key"])[0],
            "source": "manifest",
            "cohort": people[frame["subject"]],
            "split": Split.TEST.value,
            "side": "left" if frame["subject"] == ada else None,
            **frame,
            **{au.value: frame["subject"] == ada for au in AUS},
        }
        for frame in new_people.frames_of(workspace, set(people)).to_pylist()
    ]
    frozen = snapshot.freeze(pa.Table.from_pylist(rows, snapshot.snapshot_schema()), workspace.store, 0)
    catalog.add_snapshot(frozen)
    predictor = Predictor(model)
    predictor.card["ledger_offset"] = 0  # an untrained model has none
    report = build_report(workspace, predictor, folder_digest(model), frozen.digest)
    visits = {subject.name: [visited.visit.name for visited in subject.visits] for subject in report.subjects}
    assert visits == {ada: ["baseline", "week-12", "week-24"]} | {name: [] for name in people if name != ada}
    (found,) = [subject for subject in report.subjects if subject.name == ada]
    assert [visited.score is None for visited in found.visits] == [False, False, True]
    assert [visited.score.num_frames for visited in found.visits[:2]] == [
        row["num_frames"] for row in visits_of(tmp_path / "out")
    ]


def test_the_movement_is_in_the_tables_and_on_the_page_and_damage_stops_nothing(workspace, inbox, tmp_path):
    score(inbox, tmp_path / "out")
    measured = people_measures(workspace)
    page = (tmp_path / "out" / "report.html").read_text()
    records = {record["person"]: record for record in json.loads((tmp_path / "out" / "people.json").read_text())}
    for row in table(tmp_path / "out" / "people.csv"):
        found, record = measured[row["person"]].analysis.person, records[row["person"]]
        assert float(row["movement_asymmetry"]) == record["movement_asymmetry"] == round(found.asymmetry, 4) > 0
        assert row["movement_side"] == record["movement_side"] == found.side
        assert float(row["movement_side_probability"]) == round(found.side_probability, 4)
        assert f"Asymmetry <b>{found.asymmetry:.2f}</b>; the <b>{found.side}</b> side is weaker" in page
    lost, broken = sorted(measured)
    keys = {clip.subject: measure_keys(workspace)[clip.sha256] for clip in workspace.catalog.clips()}
    workspace.store.erase(keys[lost])
    path = workspace.store.folder / keys[broken]
    path.write_bytes(path.read_bytes()[:-1])
    score(inbox, tmp_path / "again")
    page = (tmp_path / "again" / "report.html").read_text()
    assert f"Not measured: {NOT_MEASURED}." in page
    assert f"Not measured: the measures of clip {keys[broken].split('/')[3][:12]} are damaged" in page
    for row in table(tmp_path / "again" / "people.csv"):
        assert (row["movement_asymmetry"], row["movement_side"], row["movement_side_probability"]) == ("", "", "")
        assert float(row["palsy_score"]) == records[row["person"]]["score"]["palsy_score"]
    assert {record["movement_side"] for record in json.loads((tmp_path / "again" / "people.json").read_text())} == {None}
    assert measured_movement(workspace, set(measured)).keys() == {lost, broken}
    workspace.catalog.begin_erasure({broken})
    assert measured_movement(workspace, set(measured)).keys() == {lost}


def test_scoring_again_scores_nobody_again_and_gives_the_same_tables_and_a_moved_file_is_the_same_person(
    workspace, inbox, tmp_path
):
    score(inbox, tmp_path / "one")
    again = score(inbox, tmp_path / "two")
    assert (again.people, again.new_people, again.new_recordings) == (2, 0, 0)
    for name in ("people.csv", "people.json", "items.csv", "skipped.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    (tmp_path / "archive").mkdir()
    shutil.move(inbox / "Ada Lovelace", tmp_path / "archive" / "someone")
    moved = score(tmp_path / "archive", tmp_path / "three")
    assert (moved.people, moved.new_people, moved.new_recordings, moved.skipped) == (1, 0, 0, ())
    assert len(workspace.catalog.subjects()) == 2


def test_a_run_that_is_killed_while_it_scores_is_continued_by_the_next(workspace, inbox, tmp_path, monkeypatch):
    add, added = rescore.add_living_score, []

    def killed(*arguments):
        if added:
            raise KeyboardInterrupt
        added.append(arguments)
        return add(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(rescore, "add_living_score", killed)
        with pytest.raises(KeyboardInterrupt):
            score(inbox, tmp_path / "out")
    assert not (tmp_path / "out").exists(), "a report of a part of the people could be taken for the whole"
    summary = score(inbox, tmp_path / "out")
    assert (summary.people, summary.new_people, summary.new_recordings) == (2, 1, 0)
    assert workspace.catalog.leases() == {}


def test_another_clip_of_a_person_makes_the_score_anew_and_fewer_clips_do_not(workspace, cohort, inbox, tmp_path):
    (inbox / "Grace Hopper.mp4").unlink()
    score(inbox, tmp_path / "out")
    third = read_manifest(cohort / "manifest.csv")[0][2].paths[0]
    shutil.copy(third, inbox / "Ada Lovelace" / "2.mp4")
    more = score(inbox, tmp_path / "out")
    assert (more.people, more.new_people, more.new_recordings) == (1, 1, 1)
    [both] = [record for record in json.loads((tmp_path / "out" / "people.json").read_text()) if len(record["clips"]) == 2]
    (inbox / "Ada Lovelace" / "2.mp4").unlink()
    assert score(inbox, tmp_path / "out").new_people == 0
    [same] = [record for record in json.loads((tmp_path / "out" / "people.json").read_text()) if len(record["clips"]) == 2]
    assert same["score"] == both["score"]


def test_the_score_of_an_earlier_version_that_lacks_a_clip_is_made_anew(workspace, model, cohort, inbox, tmp_path):
    (inbox / "Grace Hopper.mp4").unlink()
    score(inbox, tmp_path / "out")
    digest = folder_digest(model)
    for old in workspace.catalog.scores(digest):
        workspace.catalog.drop_score(digest, old.subject)
        summary = {name: value for name, value in old.summary.items() if name != "clips"}
        workspace.catalog.add_score(type(old)(model_digest=digest, subject=old.subject, key=old.key, summary=summary))
    assert score(inbox, tmp_path / "out").new_people == 0
    shutil.copy(read_manifest(cohort / "manifest.csv")[0][2].paths[0], inbox / "Ada Lovelace" / "2.mp4")
    assert score(inbox, tmp_path / "out").new_people == 1


def test_a_recording_that_cannot_be_used_is_listed_with_the_reason_and_the_output_may_not_lie_in_the_source(
    workspace, inbox, tmp_path
):
    write_image(inbox / "wall.jpg", np.full((240, 320, 3), 200, np.uint8))
    summary = score(inbox, tmp_path / "out")
    [wall] = [item for item in summary.skipped if "none of its" in item.reason]
    assert wall.reason == "none of its 1 frames can be used (1 without a face): give a recording of a face"
    assert summary.people == 2
    with pytest.raises(ValueError, match="--out lies inside of the source"):
        score(inbox, inbox / "out")


def test_people_of_unknown_status_are_in_no_snapshot_until_it_is_stated_what_they_are(workspace, inbox, tmp_path):
    score(inbox, tmp_path / "out")
    first, second = sorted(subject.pseudonym for subject in workspace.catalog.subjects())
    labels = [
        RegionLabels(subject=name, affected=dict.fromkeys(AUS, True) if name == first else {}, side=Side.LEFT)
        for name in (first, second)
    ]
    assert freeze.labeled_people(workspace, labels) == {}
    assert freeze.unknown_people(workspace) == {first, second}
    workspace.catalog.state_cohort(first, Cohort.PALSY, why="seen in the clinic")
    workspace.catalog.state_cohort(second, Cohort.CONTROL, why="seen in the clinic")
    people = freeze.labeled_people(workspace, labels)
    assert {name: (subject.cohort, labels.side) for name, (subject, labels) in people.items()} == {
        first: (Cohort.PALSY, Side.LEFT),
        second: (Cohort.CONTROL, None),
    }
    assert freeze.unknown_people(workspace) == set()


def test_the_watched_people_are_scored_once_and_every_new_group_has_a_report_in_the_store(workspace, inbox):
    assert watched.score_unknown_people(workspace) == watched.WatchedScores()
    arrive(workspace, inbox / "Grace Hopper.mp4")
    first = watched.score_unknown_people(workspace)
    assert (first.people, first.new_people, len(first.reports)) == (1, 1, 1)
    assert watched.score_unknown_people(workspace) == watched.WatchedScores(people=1)
    arrive(workspace, inbox / "Ada Lovelace")
    second = watched.score_unknown_people(workspace)
    assert (second.people, second.new_people, len(second.reports)) == (2, 1, 1)
    assert len(list(workspace.store.keys("reports/new-"))) == 2
    for subject in workspace.catalog.subjects():
        workspace.catalog.state_cohort(subject.pseudonym, Cohort.CONTROL, why="seen in the clinic")
    assert watched.score_unknown_people(workspace) == watched.WatchedScores()


def test_without_a_champion_nobody_is_scored(workspace, inbox, monkeypatch):
    arrive(workspace, inbox / "Grace Hopper.mp4")
    monkeypatch.setattr(watched, "approved_champion", lambda *_: None)
    assert watched.score_unknown_people(workspace) == watched.WatchedScores()


def test_notes_say_which_item_it_was_what_is_known_and_why_a_score_may_flatter():
    anna = Subject(pseudonym="anna", cohort=Cohort.UNKNOWN, source="files")
    item = NewItem(item="file 3", subject="anna", subject_id="", place="x", clip="c", num_faces=4)
    assert list(notes_on(anna, [item, replace(item, subject="bo", item="file 4")], learned=False)) == [
        "In the source: file 3. Status unknown.",
        "file 3 shows up to 4 faces, and one of them was scored: look whose pictures these are.",
    ]
    assert list(notes_on(replace(anna, cohort=Cohort.PALSY), [], learned=True)) == [
        "Recorded as a patient.",
        "The recordings of this person may have been used to train or choose this model: the score flatters it.",
    ]


def test_a_model_that_was_trained_on_everybody_learned_from_the_people_of_every_split(workspace, model):
    trained = bundled(workspace, folder_digest(model))
    assert learned_from(trained) == {Split.TRAIN, Split.VAL}
    assert learned_from([replace(trained[0], metrics={"protocol": Protocol.LOPO.value}), *trained[1:]]) == set(Split)


def arrive(workspace: Workspace, source: Path) -> None:
    clips, _ = ingest.read_source(source, ingest.Layout.UNKNOWN)
    outcomes = ingest.ingest_clips(workspace, clips, ingest.FrameRecipe(), ingest.Engine.LOCAL)
    assert all(isinstance(outcome, ingest.Recorded) for outcome in outcomes)
