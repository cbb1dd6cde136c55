"""Manifests: rows that are read, rows that are skipped with a reason, files that are refused."""

from pathlib import Path

import pytest

from tests.media.fake_trees import write_yfp
from vitau.errors import SourceError
from vitau.media.manifests import read_manifest
from vitau.schema import Cohort, Skipped


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (folder / name).write_bytes(b"a clip")
    path = folder / "manifest.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_a_row_with_all_columns_is_read_completely(tmp_path: Path) -> None:
    header = "subject,clip,cohort,start_s,end_s,fps,source,consent,licence,mirrored,visit,recorded_at"
    row = "anna,a.mp4,Palsy,1.5,4,,clinic,written,CC-BY,yes,week-12,2026-11-29 10:30:00"
    (clip,), skipped = read_manifest(write(tmp_path, f"{header}\n{row}\n"))
    assert skipped == []
    assert (clip.row, clip.subject_id, clip.cohort, clip.source) == ("row 2", "anna", Cohort.PALSY, "clinic")
    assert (clip.start_s, clip.end_s, clip.fps, clip.consent, clip.licence) == (1.5, 4.0, None, "written", "CC-BY")
    assert clip.mirrored
    assert (clip.visit, clip.recorded_at) == ("week-12", "2026-11-29T10:30")
    assert not clip.synthetic
    assert clip.paths == (tmp_path / "a.mp4",)


def test_a_minimal_row_has_no_invented_values(tmp_path: Path) -> None:
    (clip,), _ = read_manifest(write(tmp_path, "cohort,clip,subject\ncontrol,a.mp4,anna\n"))
    assert (clip.start_s, clip.end_s, clip.fps, clip.consent, clip.licence, clip.mirrored) == (
        None,
        None,
        None,
        None,
        None,
        False,
    )
    assert (clip.visit, clip.recorded_at) == (None, None)
    assert clip.source == "manifest"


def test_a_manifest_from_a_spreadsheet_is_read(tmp_path: Path) -> None:
    text = 'Subject , Clip,COHORT\r\n"müller, anna",a.mp4,palsy\r\n,,\r\n\r\nbo,b.mp4,control\r\n'
    clips, skipped = read_manifest(write(tmp_path, text, "utf-8-sig"))
    assert [(clip.row, clip.subject_id) for clip in clips] == [("row 2", "müller, anna"), ("row 5", "bo")]
    assert skipped == []


def test_the_source_synthetic_marks_synthetic_people(tmp_path: Path) -> None:
    (clip,), _ = read_manifest(write(tmp_path, "subject,clip,cohort,source\nanna,a.mp4,palsy,synthetic\n"))
    assert clip.synthetic


def test_a_url_is_kept_as_it_is(tmp_path: Path) -> None:
    url = "https://www.youtube.com/watch?v=abc"
    (clip,), _ = read_manifest(write(tmp_path, f"subject,clip,cohort,start_s,end_s\nanna,{url},palsy,10,20\n"))
    assert (clip.url, clip.paths) == (url, ())


@pytest.mark.parametrize("pattern", ["patient01/2", "patient01/2/*.jpg"])
def test_a_folder_or_a_pattern_is_an_image_sequence_in_the_order_of_its_numbers(tmp_path: Path, pattern: str) -> None:
    write_yfp(tmp_path)
    for index in (10, 11):
        (tmp_path / f"patient01/2/{index}.jpg").write_bytes(b"x")
    (clip,), skipped = read_manifest(write(tmp_path, f"subject,clip,cohort,fps\nanna,{pattern},palsy,6\n"))
    assert skipped == []
    assert [path.name for path in clip.paths] == ["1.jpg", "2.jpg", "3.jpg", "10.jpg", "11.jpg"]
    assert clip.fps == 6.0


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("bo,gone.mp4,palsy,,,,", "its clip is missing: there is no such file, folder of images or pattern; check the path"),
        ("bo,a.mp4,ill,,,,", "its cohort is none of palsy, control and unknown; write one of them"),
        (",a.mp4,palsy,,,,", "its subject or its clip is empty; fill it in"),
        ("bo,b.mp4,palsy,soon,,,", "its start_s is no number from 0; write one, or leave it empty"),
        ("bo,b.mp4,palsy,,nan,,", "its end_s is no number from 0; write one, or leave it empty"),
        ("bo,b.mp4,palsy,-1,,,", "its start_s is no number from 0; write one, or leave it empty"),
        ("bo,b.mp4,palsy,5,4,,", "its range ends at 4 s, before it starts at 5 s; correct it"),
        ("bo,b.mp4,palsy,,,0,", "its fps is 0; write a positive number or leave it empty"),
        ("bo,b.mp4,palsy,,,,maybe", "its mirrored is neither true nor false; write one of them"),
        ("anna,a.mp4,palsy,,,,", "the same clip as row 2; remove one of them"),
        ("bo,a.mp4,palsy,,,,", "the same clip as row 2, under another subject; remove one of them"),
        ("anna,b.mp4,control,,,,", "its subject is palsy in row 2 and control here; correct one of them"),
    ],
)
def test_a_bad_row_is_skipped_with_its_reason_and_the_rest_is_read(tmp_path: Path, row: str, reason: str) -> None:
    text = f"subject,clip,cohort,start_s,end_s,fps,mirrored\nanna,a.mp4,palsy,,,,\n{row}\ncleo,c.mp4,control,,,,\n"
    clips, skipped = read_manifest(write(tmp_path, text))
    assert [clip.row for clip in clips] == ["row 2", "row 4"]
    assert skipped == [Skipped(item="row 3", reason=reason)]


@pytest.mark.parametrize("cells", ["Anna Müller,2026-11-29", "1,29.11.2026"])
def test_a_row_with_a_bad_visit_or_date_is_skipped_without_repeating_it(tmp_path: Path, cells: str) -> None:
    text = (
        f"subject,clip,cohort,visit,recorded_at\nanna,a.mp4,palsy,1,\nbo,b.mp4,palsy,{cells}\ncleo,c.mp4,control,,2026-11-29\n"
    )
    clips, (skipped,) = read_manifest(write(tmp_path, text))
    assert [(clip.row, clip.visit, clip.recorded_at) for clip in clips] == [("row 2", "1", None), ("row 4", None, "2026-11-29")]
    assert skipped.item == "row 3"
    column = "visit" if "Anna" in cells else "recorded_at"
    assert skipped.reason.startswith(f"its {column} is no ")
    assert not any(cell in skipped.reason for cell in ("Anna", "29.11.2026"))


def test_two_ranges_of_one_recording_are_two_clips(tmp_path: Path) -> None:
    text = "subject,clip,cohort,start_s,end_s\nanna,a.mp4,palsy,0,5\nanna,a.mp4,palsy,5,9\n"
    clips, skipped = read_manifest(write(tmp_path, text))
    assert (len(clips), skipped) == (2, [])


def test_a_manifest_without_subject_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as refused:
        read_manifest(write(tmp_path, "clip,cohort\na.mp4,palsy\n"))
    assert str(refused.value) == "the manifest has no column `subject`; it needs subject, clip and cohort"


def test_an_empty_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no column `subject`, `clip`, `cohort`"):
        read_manifest(write(tmp_path, ""))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(b"subject,clip,cohort\n\xff\xfe\xff,a.mp4,palsy\n")
    with pytest.raises(SourceError, match=r"the manifest is not a CSV in UTF-8 .*; save it again as such"):
        read_manifest(path)


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"the manifest is missing; give the path of a manifest CSV"):
        read_manifest(tmp_path / "none.csv")


@pytest.mark.parametrize("how", ["absolute", "relative", "file link", "folder link", "pattern"])
def test_a_file_outside_the_manifests_folder_is_skipped_unless_its_folder_is_listed(tmp_path: Path, how: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "study"
    for place in (outside, folder):
        place.mkdir()
    (outside / "1.jpg").write_bytes(b"a photo of another person")
    (folder / "link.jpg").symlink_to(outside / "1.jpg")
    (folder / "linked").symlink_to(outside)
    cell = {
        "absolute": str(outside / "1.jpg"),
        "relative": "../outside/1.jpg",
        "file link": "link.jpg",
        "folder link": "linked",
        "pattern": "../outside/*.jpg",
    }[how]
    path = write(folder, f"subject,clip,cohort\nanna,{cell},palsy\nbo,b.mp4,palsy\n")
    reason = "its clip is outside the manifest's folder; move it there, or list its folder in VITAU_MEDIA_ROOTS"
    clips, skipped = read_manifest(path)
    assert ([clip.row for clip in clips], skipped) == (["row 3"], [Skipped(item="row 2", reason=reason)])
    clips, skipped = read_manifest(path, [outside])
    assert ([clip.paths for clip in clips[:1]], skipped) == ([((outside / "1.jpg").resolve(),)], [])


@pytest.mark.parametrize("column", ["clip", "consent"])
def test_a_cell_that_is_too_long_is_skipped_without_being_repeated(tmp_path: Path, column: str) -> None:
    cells = {"clip": "b.mp4", "consent": "written", column: "x" * 5000}
    text = f"subject,clip,cohort,consent\nanna,a.mp4,palsy,\nbo,{cells['clip']},palsy,{cells['consent']}\n"
    clips, skipped = read_manifest(write(tmp_path, text))
    reason = f"its {column} has 5000 characters; write at most 1000"
    assert ([clip.row for clip in clips], skipped) == (["row 2"], [Skipped(item="row 3", reason=reason)])


def test_a_cell_that_is_no_path_is_missing(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    long = "/".join(["x" * 250] * 3) + "/y*"
    _, skipped = read_manifest(
        write(tmp_path, f"subject,clip,cohort\nanna,loop/a.mp4,palsy\nbo,{'x' * 900},palsy\ncy,{long},palsy\n")
    )
    assert [item.item for item in skipped] == ["row 2", "row 3", "row 4"]
