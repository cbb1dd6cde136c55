"""Clips cut from a longer recording: the store keeps their range only, in new and in older states.

Real store, catalog and decoder, on recordings of drawn people.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from flows import ingest
from flows.doctor.fsck import Problem, fsck
from flows.erasure.content import whole_recordings
from flows.execution.executor import Engine
from flows.execution.range_cutting import cut_ranges
from flows.workspace import Workspace
from tests.flows.workspaces import offline_workspace
from vitau.data import layout
from vitau.media.clips import sample_frames
from vitau.media.frames import FrameRecipe, write_frames
from vitau.media.manifests import SourceClip
from vitau.schema import Clip, Cohort, Skipped

RECIPE = FrameRecipe()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch) -> Iterator[Workspace]:
    monkeypatch.setattr(ingest, "ingest_batch", ingest.ingest_batch.fn)
    monkeypatch.setattr(ingest, "gate", lambda *_: None)
    with offline_workspace(tmp_path, num_processes=1) as opened:
        yield opened


@pytest.fixture
def recording(cohort: Path, tmp_path: Path) -> Path:
    """A recording of a drawn person, which stands for one of two people."""
    return Path(shutil.copy(min(cohort.rglob("*.mp4")), tmp_path / "two_people.mp4"))


def row(path: Path, person: str, start_s: float | None, end_s: float | None, **fields) -> SourceClip:
    number = {"first": 2, "second": 3}[person]
    return SourceClip(
        row=f"row {number}",
        subject_id=person,
        cohort=Cohort.PALSY,
        source="manifest",
        paths=(path,),
        start_s=start_s,
        end_s=end_s,
        **fields,
    )


def run(workspace: Workspace, *clips: SourceClip) -> list[ingest.Outcome]:
    return ingest.ingest_clips(workspace, clips, RECIPE, Engine.LOCAL)


def clip_from(workspace: Workspace, start_s: float | None) -> Clip:
    (found,) = [clip for clip in workspace.catalog.all_clips() if clip.start_s == start_s]
    return found


def recordings(workspace: Workspace) -> list[str]:
    return [key for key in list(workspace.store.keys()) if layout.is_recording_key(key)]


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def stored_whole(workspace: Workspace, clip: Clip, path: Path) -> str:
    """Make the state of a clip that of an earlier version; return the key of its whole recording."""
    key = layout.raw_key(clip.subject, clip.sha256, clip.suffix)
    workspace.store.purge(layout.range_key(clip.subject, clip.sha256, ""))
    workspace.store.put(key, path)
    return key


def test_after_one_person_is_erased_no_frame_of_that_person_remains_in_the_clip_of_another(workspace, recording, tmp_path):
    whole = pictures(recording)
    with av.open(str(recording)) as container:
        rate = float(container.streams.video[0].average_rate)
    middle, late = round(0.4 * rate) / rate, round(0.7 * rate) / rate
    outcomes = run(workspace, row(recording, "first", None, late), row(recording, "second", middle, None))
    assert all(isinstance(outcome, ingest.Recorded) for outcome in outcomes), outcomes
    first, second = clip_from(workspace, None), clip_from(workspace, middle)
    assert recordings(workspace) == sorted(layout.range_key(clip.subject, clip.sha256, ".mov") for clip in (first, second)), (
        "no whole recording"
    )
    workspace.store.purge(layout.subject_prefix(first.subject))
    (key,) = recordings(workspace)
    stored = pictures(workspace.store.download(key, tmp_path / "stored.mov"))
    begin = round(middle * rate)
    assert len(stored) == len(whole) - begin
    assert all(np.array_equal(picture, whole[begin + index]) for index, picture in enumerate(stored))
    assert not any(np.array_equal(picture, theirs) for picture in stored for theirs in whole[: begin - 1])


@pytest.mark.parametrize(("start_s", "end_s"), [(0.35, 1.0), (None, 0.5), (0.61, None)])
def test_the_frame_table_of_a_range_has_the_bytes_that_the_whole_recording_gave(workspace, recording, tmp_path, start_s, end_s):
    (outcome,) = run(workspace, row(recording, "first", start_s, end_s, mirrored=True))
    (clip,) = workspace.catalog.all_clips()
    write_frames(clip, recording, tmp_path / "before.parquet", RECIPE)
    assert workspace.store.get(outcome.table.key) == (tmp_path / "before.parquet").read_bytes()
    (key,) = recordings(workspace)
    stored = workspace.store.download(key, tmp_path / "range.mov")
    times = [frame.time_s for frame in sample_frames(stored, 6.0, start_s, end_s, is_cut=True)]
    assert times == [frame.time_s for frame in sample_frames(recording, 6.0, start_s, end_s)]


def test_a_clip_without_a_range_keeps_its_bytes(workspace, recording):
    run(workspace, row(recording, "first", None, None))
    (key,) = recordings(workspace)
    assert key.endswith("/raw.mp4")
    assert workspace.store.get(key) == recording.read_bytes()


def test_a_range_after_the_end_is_a_skipped_row_and_leaves_nothing(workspace, recording):
    skipped, good = run(workspace, row(recording, "first", 500.0, 501.0), row(recording, "second", 0.0, 0.5))
    assert skipped == Skipped(
        item="row 2",
        reason="the recording gives no frame from 500 s to 501 s; give a complete recording and a range inside it",
    )
    assert isinstance(good, ingest.Recorded)
    assert len(recordings(workspace)) == 1
    assert workspace.catalog.ingest_claims() == []


def test_a_corrected_frame_rate_replaces_the_images_of_the_range(workspace, recording, tmp_path):
    images = [frame.image for frame in sample_frames(recording, 30.0)]
    folder = tmp_path / "images"
    folder.mkdir()
    for index, image in enumerate([images[number % len(images)] for number in range(25)]):
        av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").save(folder / f"{index:03d}.png")
    sequence = replace(row(recording, "first", 0.5, 1.0, fps=20.0), paths=tuple(sorted(folder.iterdir())))
    (outcome,) = run(workspace, sequence)
    assert isinstance(outcome, ingest.Recorded), outcome
    assert [key.rpartition("/")[2] for key in recordings(workspace)] == ["range-20.tar"]
    (outcome,) = run(workspace, replace(sequence, fps=25.0))
    assert isinstance(outcome, ingest.Recorded), outcome
    assert outcome.new
    assert [key.rpartition("/")[2] for key in recordings(workspace)] == ["range-25.tar"], "the other images are not kept"
    assert fsck(workspace.store, workspace.catalog).defects == ()


def test_ranges_of_an_earlier_version_are_known_until_they_are_cut_by_the_command(workspace, recording, tmp_path):
    rows = [row(recording, "first", 0.0, 0.5), row(recording, "second", 0.5, 1.0)]
    run(workspace, *rows)
    new = {key: workspace.store.get(key) for key in list(workspace.store.keys())}
    old = [stored_whole(workspace, clip, recording) for clip in workspace.catalog.all_clips()]
    assert recordings(workspace) == sorted(old)

    again = run(workspace, *rows)
    assert [(outcome.new, outcome.cut) for outcome in again] == [(False, False)] * 2, "nothing is done again"
    report = fsck(workspace.store, workspace.catalog)
    assert {(defect.problem, defect.item) for defect in report.defects} == {(Problem.NOT_CUT, key) for key in old}
    assert whole_recordings(workspace) == [
        "2 clips are stored with the whole recording, which may show the person: run `python -m flows cut-ranges`"
    ]

    summary = cut_ranges(workspace)
    assert (summary.ranges, summary.cut, summary.failed) == (2, 2, {})
    assert {key: workspace.store.get(key) for key in list(workspace.store.keys())} == new, "as if they had been ingested now"
    assert cut_ranges(workspace).cut == 0
    assert fsck(workspace.store, workspace.catalog).defects == ()
    assert whole_recordings(workspace) == []
    assert not list((workspace.settings.work / "tmp").iterdir())


def test_a_recording_that_cannot_be_cut_is_named_and_kept_and_the_others_are_cut(workspace, recording, monkeypatch):
    from flows.cli import operations

    run(workspace, row(recording, "first", 0.0, 0.5), row(recording, "second", 0.5, 1.0))
    first, second = clip_from(workspace, 0.0), clip_from(workspace, 0.5)
    other = recording.with_name("other.mp4")
    other.write_bytes(recording.read_bytes() + b"another recording")
    kept = stored_whole(workspace, first, other)
    stored_whole(workspace, second, recording)
    monkeypatch.setattr(operations, "connect", lambda _: workspace.settings)
    result = CliRunner().invoke(operations.app, ["cut-ranges"])
    assert result.exit_code == 1
    assert first.sha256[:12] in result.stdout
    assert "is not the recording that was ingested: restore it from a copy" in " ".join(result.stdout.split())
    assert "2 clips are ranges: 1 were cut now, 1 could not be cut" in result.output
    assert recordings(workspace) == sorted([kept, layout.range_key(second.subject, second.sha256, ".mov")])


def test_a_correction_cuts_the_stored_range_of_an_earlier_version_too(workspace, recording):
    source = row(recording, "first", 0.0, 0.5)
    run(workspace, source)
    (clip,) = workspace.catalog.all_clips()
    stored_whole(workspace, clip, recording)
    (outcome,) = run(workspace, replace(source, mirrored=True))
    assert outcome.new
    assert recordings(workspace) == [layout.range_key(clip.subject, clip.sha256, ".mov")]


def test_a_lost_range_is_found_by_the_check_and_restored_by_the_next_ingest(workspace, recording):
    source = row(recording, "first", 0.0, 0.5)
    run(workspace, source)
    (key,) = recordings(workspace)
    assert fsck(workspace.store, workspace.catalog).defects == ()
    data = workspace.store.get(key)
    workspace.store.erase(key)
    assert [(defect.problem, defect.item) for defect in fsck(workspace.store, workspace.catalog).defects] == [
        (Problem.MISSING, key)
    ]
    run(workspace, source)
    assert workspace.store.get(key) == data
    assert fsck(workspace.store, workspace.catalog).defects == ()
