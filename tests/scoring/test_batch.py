import csv
import json
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from vitau.errors import ClipError
from vitau.media.inputs import default_workers, list_files, num_readers
from vitau.schema import AU, AUS, SCORE_COLUMNS
from vitau.scoring.aggregate import RegionScore, SubjectScore
from vitau.scoring.batch import BatchResult, ScoredPerson, _FaceSampler, score_inputs, summary_lines, write_items
from vitau.scoring.predict import Predictor
from vitau.scoring.scores import ScoredFace


@pytest.fixture
def bad_inputs(tmp_path, clip):
    """Return a folder with bad files, and the reason of each by name."""
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("dear diary")
    (folder / "cut.mp4").write_bytes(clip.read_bytes()[:5000])
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 and no more")
    return folder, {
        "empty.mp4": "the recording is empty (0 bytes); copy it again",
        "text.mp4": "the recording is not a video; give a video, a photo or a tar of images",
        "cut.mp4": "the recording is truncated: its index (moov atom) is missing; copy or download it again",
        "broken.jpg": "the photo is not an image that can be read; save it again as JPEG or PNG",
        "missing.mov": "the recording is missing; check its path",
    }


def test_every_bad_input_gets_a_sentence_and_the_rest_is_scored(lenient, bad_inputs, photo, landscape, tmp_path):
    folder, sentences = bad_inputs
    out = tmp_path / "out"
    result = score_inputs(lenient, [folder, folder / "missing.mov", landscape, photo], out, model_name="m")
    assert {result.paths[skip.item].name: skip.reason for skip in result.skipped} == {
        **sentences,
        "hills.jpg": "the photo shows no face; give a photo of a face that looks at the camera",
    }
    assert {skip.item for skip in result.skipped} == {"1", "2", "3", "4", "5", "6"}
    with (out / "skipped.csv").open(newline="") as file:
        assert [(row["item"], row["reason"]) for row in csv.DictReader(file)] == [(s.item, s.reason) for s in result.skipped]
    assert [person.input for person in result.people] == [str(photo)]
    assert all(sentence in (out / "report.html").read_text() for sentence in sentences.values())


def test_the_folder_gets_tables_overlays_and_a_report(lenient, photo, clip, tmp_path):
    result = score_inputs(lenient, [photo, clip], tmp_path, model_name="m")
    table = pq.read_table(tmp_path / "scores.parquet")
    assert table.column_names == list(SCORE_COLUMNS)
    assert pyarrow.csv.read_csv(tmp_path / "scores.csv").num_rows == table.num_rows > 5
    assert [record["input"] for record in json.loads((tmp_path / "people.json").read_text())] == ["1", "2"]
    assert set(table["input"].to_pylist()) == {"1", "2"}
    overlays = sorted(path.name for path in (tmp_path / "overlays" / "001").iterdir())
    assert overlays == sorted(f"face0-frame00000-{name}.jpg" for name in ("face", "mirror", "recognition", "regions", *AUS))
    assert len(list((tmp_path / "overlays" / "002").iterdir())) == 4 * len(overlays)
    assert "Synthetic." in (tmp_path / "report.html").read_text()
    first, second = summary_lines(result)
    assert first.startswith(f"{photo}\tpalsy\t")
    assert "(one frame)" in first
    assert " to " in second


def test_the_kept_faces_of_a_long_clip_do_not_keep_the_crops_of_their_batches(crops):
    row = {"face_index": 0}
    sampler, batch = _FaceSampler(), np.tile(crops, (8, 1, 1, 1))
    points = np.zeros((68, 2), np.float32)
    for _ in range(40):
        assert sampler.add(ScoredFace(row=row, crop=batch[7], landmarks_L2=points)) is row
    assert 8 <= len(sampler.faces[0]) <= 16
    assert all(face.crop.base is None for face in sampler.faces[0])


def test_no_file_of_the_output_but_the_list_of_items_has_the_name_of_an_input(lenient, photo, clip, tmp_path):
    folder = tmp_path / "in" / "Erika Mustermann"
    folder.mkdir(parents=True)
    shutil.copy(photo, folder / "erika-mustermann.png")
    shutil.copy(clip, folder / "erika-mustermann-2026.mp4")
    (folder / "mustermann-cut.mp4").write_bytes(clip.read_bytes()[:5000])
    (folder / "mustermann.jpg").write_bytes(b"\xff\xd8 and no more")
    (folder / "@mustermann.mp4").write_bytes(b"")
    out = tmp_path / "out"
    score_inputs(lenient, [folder], out, model_name="m")
    score_inputs(lenient, [folder], out, model_name="m")  # the files of the first scoring are replaced
    written = [path for path in out.rglob("*") if path.is_file()]
    assert len(written) > 50
    found = {
        path.relative_to(out).as_posix()
        for path in written
        if b"mustermann" in path.read_bytes().lower() or "mustermann" in str(path.relative_to(out)).lower()
    }
    assert found == {"items.csv"}
    assert stat.S_IMODE((out / "items.csv").stat().st_mode) == 0o600
    with (out / "items.csv").open(newline="", encoding="utf-8") as file:
        assert [(row["item"], row["path"]) for row in csv.DictReader(file)] == [
            (str(number), str(path)) for number, path in enumerate(list_files([folder])[0], 1)
        ]


def test_a_path_that_a_spreadsheet_would_take_for_a_formula_gets_an_apostrophe(tmp_path):
    write_items([Path("=cmd|'calc'!A1.mp4"), Path("good.mp4")], tmp_path / "items.csv")
    with (tmp_path / "items.csv").open(newline="", encoding="utf-8") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["'=cmd|'calc'!A1.mp4", "good.mp4"]


def test_other_files_of_a_folder_are_counted_and_named_ones_are_tried(lenient, photo, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(photo, folder / "b.png")
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.png").write_text("x")
    assert list_files([folder, folder / "notes.txt"]) == ([folder / "b.png", folder / "notes.txt"], 1)


def test_a_folder_without_media_is_refused(lenient, tmp_path):
    with pytest.raises(ClipError, match=r"contains neither photos nor clips; give photos, clips or folders of them$"):
        score_inputs(lenient, [tmp_path], tmp_path / "out", model_name="m")


def test_a_recording_that_ends_early_is_scored_and_noted(lenient, clip, tmp_path):
    import av

    whole = tmp_path / "whole.mkv"
    with av.open(str(clip)) as source, av.open(str(whole), "w", format="matroska") as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                sink.mux(packet)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 4])
    result = score_inputs(lenient, [cut], tmp_path / "out", model_name="m")
    (person,) = result.people
    (note,) = person.notes
    assert note.startswith("item 1 is incomplete: ")
    assert note in (tmp_path / "out" / "report.html").read_text()


def test_the_warning_of_a_model_is_in_every_file_that_is_written(make_bundle, photo, clip, tmp_path):
    warned = Predictor(make_bundle(0.001, warnings=["Confounded sources: beware."]), device="cpu")
    result = score_inputs(warned, [photo, clip], tmp_path, model_name="m")
    rows = pq.read_table(tmp_path / "scores.parquet")["warning"].to_pylist()
    assert set(rows) == {"Confounded sources: beware."}, "both models say the same, once"
    with (tmp_path / "scores.csv").open(newline="") as file:
        assert {row["warning"] for row in csv.DictReader(file)} == {"Confounded sources: beware."}
    records = json.loads((tmp_path / "people.json").read_text())
    assert [record["notes"] for record in records] == [["Confounded sources: beware."]] * 2
    assert (tmp_path / "report.html").read_text().count("Confounded sources: beware.") == 1, "a banner at the top"
    assert [person.notes for person in result.people] == [("Confounded sources: beware.",)] * 2


def test_a_model_without_a_warning_leaves_its_column_empty(lenient, photo, tmp_path):
    score_inputs(lenient, [photo], tmp_path, model_name="m")
    assert pq.read_table(tmp_path / "scores.parquet")["warning"].to_pylist() == [None]


def test_the_line_of_a_person_names_the_side_of_the_palsy_and_of_each_affected_region():
    regions = {
        AU.AU1: RegionScore(score=0.1, interval=None, affected=True, share_affected=1.0, right=0.2, left=0.9),
        AU.AU9: RegionScore(score=0.2, interval=None, affected=True, share_affected=1.0, right=0.8, left=0.7),
        AU.AU12: RegionScore(score=-0.1, interval=None, affected=False, share_affected=0.0, right=0.1, left=0.2),
    }
    score = SubjectScore(
        palsy_score=0.9,
        interval=None,
        threshold=0.5,
        palsied=True,
        uncertain=False,
        num_frames=1,
        num_analysed=1,
        regions=regions,
        right_side=0.07,
    )
    sided, paired = (
        ScoredPerson(item=1, input="a.jpg", face_index=0, score=own, notes=())
        for own in (score, replace(score, regions={AU.AU9: replace(regions[AU.AU9], right=None)}, right_side=None))
    )
    lines = list(summary_lines(BatchResult(people=(sided, paired), skipped=(), paths={}, num_ignored=0)))
    assert lines == [
        "a.jpg\tpalsy\t0.90 (one frame)\tregions: AU1 left, AU9 right\tside: left, 93%",
        "a.jpg\tpalsy\t0.90 (one frame)\tregions: AU9",
    ]


def test_two_processes_score_the_same_in_the_same_order(lenient, photo, landscape, tmp_path):
    written = []
    for num_processes in (1, 2):
        out = tmp_path / str(num_processes)
        result = score_inputs(lenient, [photo, landscape, photo], out, model_name="m", num_processes=num_processes)
        written.append((result, {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}))
    assert [name for name in written[0][1] if written[0][1][name] != written[1][1].get(name)] == []
    assert written[0][0] == written[1][0]
    assert [person.item for person in written[0][0].people] == [1, 3]
    assert [skipped.item for skipped in written[0][0].skipped] == ["2"]


def test_processes_are_as_many_as_cores_and_as_pairs_of_clips(tmp_path):
    cores = len(os.sched_getaffinity(0))
    assert default_workers([]) == default_workers([tmp_path / "a.jpg"] * 9) == default_workers([tmp_path / "a.mp4"] * 3) == 1
    assert default_workers([tmp_path / "a.mp4"] * 4) == min(2, cores)
    assert default_workers([tmp_path / "a.mp4"] * 1000) == cores


def test_processes_without_a_clip_of_their_own_read_the_others():
    cores = len(os.sched_getaffinity(0))
    assert [num_readers(1, 1), num_readers(cores, 1000)] == [cores, 1]
    assert [num_readers(2, inputs, 4) for inputs in (0, 1, 2, 3)] == [4, 4, 2, 2]
    assert num_readers(1, 1, 1) == 1
