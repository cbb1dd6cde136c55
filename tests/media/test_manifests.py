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
    header = "subject,clip,cohort,start_s,end_s,fps,source,consent,licence,mirrored"
    (clip,), skipped = read_manifest(write(tmp_path, f"{header}\nanna,a.mp4,Palsy,1.5,4,,clinic,written,CC-BY,yes\n"))
    assert skipped == []
    assert (clip.row, clip.subject_id, clip.cohort, clip.source) == ("row 2", "anna", Cohort.PALSY, "clinic")
    assert (clip.start_s, clip.end_s, clip.fps, clip.consent, clip.licence) == (1.5, 4.0, None, "written", "CC-BY")
    assert clip.mirrored
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
        ("bo,a.mp4,ill,,,,", "its cohort is 'ill'; write palsy or control"),
        (",a.mp4,palsy,,,,", "its subject or its clip is empty; fill it in"),
        ("bo,b.mp4,palsy,soon,,,", "its start_s is 'soon'; write a number from 0"),
        ("bo,b.mp4,palsy,,nan,,", "its end_s is 'nan'; write a number from 0"),
        ("bo,b.mp4,palsy,-1,,,", "its start_s is '-1'; write a number from 0"),
        ("bo,b.mp4,palsy,5,4,,", "its range ends at 4 s, before it starts at 5 s; correct it"),
        ("bo,b.mp4,palsy,,,0,", "its fps is 0; write a positive number or leave it empty"),
        ("bo,b.mp4,palsy,,,,maybe", "its mirrored is 'maybe'; write true or false"),
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


def test_two_ranges_of_one_recording_are_two_clips(tmp_path: Path) -> None:
    text = "subject,clip,cohort,start_s,end_s\nanna,a.mp4,palsy,0,5\nanna,a.mp4,palsy,5,9\n"
    clips, skipped = read_manifest(write(tmp_path, text))
    assert (len(clips), skipped) == (2, [])


def test_a_manifest_without_subject_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as refused:
        read_manifest(write(tmp_path, "clip,cohort\na.mp4,palsy\n"))
    assert str(refused.value) == "manifest.csv has no column `subject`; a manifest needs subject, clip and cohort"


def test_an_empty_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no column `subject`, `clip`, `cohort`"):
        read_manifest(write(tmp_path, ""))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(b"subject,clip,cohort\n\xff\xfe\xff,a.mp4,palsy\n")
    with pytest.raises(SourceError, match=r"manifest.csv is not a CSV in UTF-8 .*; save it again as such"):
        read_manifest(path)


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.csv is missing; give the path of a manifest CSV"):
        read_manifest(tmp_path / "none.csv")
