import pytest

from vitau.errors import ClipError, SourceError
from vitau.measures.results import Task
from vitau.measures.sources import list_sources
from vitau.media.inputs import RecordingOptions
from vitau.schema import parse_recorded_at, parse_visit

OPTIONS = RecordingOptions()


def files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return [folder / name for name in names]


def test_a_file_is_named_without_its_suffix_and_files_of_one_name_by_their_folders(tmp_path):
    paths = files(tmp_path, "a/1.mp4", "b/1.mp4", "b/2.mp4")
    assert [source.item for source in list_sources(paths, OPTIONS).sources] == ["a/1", "b/1", "2"]


def test_a_photo_and_a_clip_of_one_name_stay_apart(tmp_path):
    paths = files(tmp_path, "a/1.mp4", "a/1.jpg", "b/1.jpg")
    assert [source.item for source in list_sources(paths[:2], OPTIONS).sources] == ["1.mp4", "1.jpg"]
    assert [source.item for source in list_sources(paths, OPTIONS).sources] == ["1.mp4", "a/1", "b/1"]


def test_rows_of_one_subject_and_visit_are_measured_together(tmp_path):
    files(tmp_path, "rest.jpg", "smile.jpg", "later.mp4")
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        "clip,subject,task,visit,recorded_at,mirrored,start,end\n"
        "rest.jpg,P1,rest,1,2026-01-02 09:30,yes,,\n"
        "smile.jpg,P1,smile,1,2026-01-02,yes,,\n"
        "later.mp4,P1,eye_closure_gentle,2,2026-02-02,,1.5,4\n"
    )
    first, second = list_sources([], OPTIONS, manifest).sources
    assert (first.item, first.visit, first.recorded_at) == ("P1_1", "1", "2026-01-02")
    assert [(part.path.name, part.task, part.options.mirrored) for part in first.parts] == [
        ("rest.jpg", Task.REST, True),
        ("smile.jpg", Task.SMILE, True),
    ]
    (part,) = second.parts
    assert (second.item, part.task, part.options.start_s, part.options.end_s) == ("P1_2", Task.EYE_CLOSURE, 1.5, 4.0)


def test_a_manifest_adds_to_the_files_that_are_given(tmp_path):
    given, _ = files(tmp_path, "a.mp4", "b.mp4")
    manifest = tmp_path / "m.csv"
    manifest.write_text("clip,task\na.mp4,smile\nb.mp4,rest\n")
    (source,) = list_sources([given], OPTIONS, manifest).sources
    assert (source.item, source.parts[0].task) == ("a", Task.SMILE)


def test_a_row_that_cannot_be_used_is_listed_with_its_reason(tmp_path):
    files(tmp_path, "a.mp4")
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        "clip,task,start,mirrored\na.mp4,yawn,,\nb.mp4,,,\na.mp4,,soon,\na.mp4,,,maybe\n,smile,,\na.mp4,smile,,\n"
    )
    listed = list_sources([], OPTIONS, manifest)
    assert [source.item for source in listed.sources] == ["a"]
    reasons = {skip.item: skip.reason for skip in listed.skipped}
    assert reasons["row 2"].startswith("its task is yawn; write one of rest, brow_raise")
    assert reasons["row 3"] == "its clip b.mp4 is no file; check the path"
    assert reasons["row 4"] == "its start is soon, which is no number; write one, or leave it empty"
    assert reasons["row 5"] == "its mirrored is neither true nor false; write one of them"
    assert reasons["row 6"] == "its clip is empty; write the path of a photo or a clip"


def test_visits_and_dates_are_checked_as_those_of_an_ingest(tmp_path):
    files(tmp_path, "a.mp4")
    manifest = tmp_path / "m.csv"
    manifest.write_text("clip,visit,recorded_at\na.mp4,Anna Bo,\na.mp4,1,29.11.2026\na.mp4,1,2026-11-29 10:30:00\n")
    listed = list_sources([], OPTIONS, manifest)
    assert [(source.visit, source.recorded_at) for source in listed.sources] == [("1", "2026-11-29T10:30")]
    for skip, parse, cell in zip(listed.skipped, (parse_visit, parse_recorded_at), ("Anna Bo", "29.11.2026"), strict=True):
        with pytest.raises(ValueError, match="its ") as refused:
            parse(cell)
        assert skip.reason == str(refused.value)


def test_nothing_to_measure_is_an_error(tmp_path):
    with pytest.raises(ClipError, match="contains neither photos nor clips; give photos, clips or folders of them"):
        list_sources([tmp_path], OPTIONS)
    with pytest.raises(SourceError, match="is missing; give the path of a CSV"):
        list_sources([], OPTIONS, tmp_path / "none.csv")
