"""CK+, YFP and photos on fake trees with the real names; fetching; digests and pseudonyms."""

import csv
import hashlib
import tarfile
from pathlib import Path

import pytest

from tests.media.conftest import full_disk
from tests.media.fake_trees import write_ckplus, write_photos, write_yfp
from vitau.errors import ClipError, SourceError, StoreError
from vitau.media.clips import sample_frames
from vitau.media.manifests import SourceClip, read_manifest
from vitau.media.sources import clip_digest, draft_yfp_manifest, fetch, pseudonym, read_ckplus, read_photos, to_clip, to_subject
from vitau.schema import Cohort, Skipped, Subject

KEY = b"a secret of the tests"


def source_clip(**changes: object) -> SourceClip:
    return SourceClip(**{"row": "row 7", "subject_id": "anna", "cohort": Cohort.PALSY, "source": "clinic", **changes})


@pytest.mark.parametrize("nested", [False, True])
def test_ckplus_gives_one_clip_per_sequence_and_one_subject_per_person(tmp_path: Path, nested: bool) -> None:
    clips, skipped = read_ckplus(write_ckplus(tmp_path, nested=nested))
    assert [(clip.subject_id, len(clip.paths)) for clip in clips] == [("S005", 3), ("S005", 2), ("S132", 3)]
    assert {(clip.cohort, clip.source, clip.fps) for clip in clips} == {(Cohort.CONTROL, "ckplus", None)}
    assert [path.name for path in clips[1].paths] == ["S005_002_00000001.png", "S005_002_00000002.png"]
    assert skipped == []


def test_copies_and_stray_files_in_ckplus_are_left_out_and_listed(tmp_path: Path) -> None:
    clips, skipped = read_ckplus(write_ckplus(tmp_path, copied=True, stray=True))
    assert len(clips) == 3
    assert skipped == [
        Skipped(item="sequence 3", reason="another copy of it, in another folder"),
        Skipped(item="4 files", reason="not named as CK+ names its images"),
    ]
    assert "copy" not in str(clips[2].paths[0].relative_to(tmp_path))


def test_grayscale_and_color_sequences_of_both_sizes_decode_to_rgb_frames(tmp_path: Path) -> None:
    clips, _ = read_ckplus(write_ckplus(tmp_path / "ckplus"))
    shapes = [{frame.image.shape for frame in sample_frames(fetch(clip, tmp_path / "work"))} for clip in clips]
    assert shapes == [{(490, 640, 3)}, {(490, 640, 3)}, {(480, 640, 3)}]


@pytest.mark.parametrize("place", ["", "ckextended.csv"])
def test_the_csv_without_subjects_is_refused_with_the_reason(tmp_path: Path, place: str) -> None:
    (tmp_path / "ckextended.csv").write_text("emotion,pixels,Usage\n6,36 39 35,Training\n")
    with pytest.raises(SourceError) as refused:
        read_ckplus(tmp_path / place)
    assert str(refused.value) == (
        "ckextended.csv does not say who is in its 48×48 pictures, so one person would be in training and in test; "
        "give the CK+ images by subject (cohn-kanade-images/S005/001/…)"
    )


def test_a_folder_without_ckplus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no image of CK"):
        read_ckplus(tmp_path)
    with pytest.raises(SourceError, match="is not a folder; give the one that holds cohn-kanade-images"):
        read_ckplus(tmp_path / "none")


def test_a_yfp_draft_has_one_subject_per_patient_and_can_be_read(tmp_path: Path) -> None:
    write_yfp(tmp_path / "yfp")
    assert draft_yfp_manifest(tmp_path / "yfp", tmp_path / "draft.csv") == 5
    assert (tmp_path / "draft.csv").stat().st_mode & 0o777 == 0o600
    with (tmp_path / "draft.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["subject"], row["clip"], row["fps"]) for row in rows] == [
        ("patient01", "yfp/patient01/1", "6"),
        ("patient01", "yfp/patient01/2", "6"),
        ("patient02", "yfp/patient02/1", "6"),
        ("patient03", "yfp/patient03_1.mp4", ""),
        ("patient03", "yfp/patient03_2.mp4", ""),
    ]
    clips, skipped = read_manifest(tmp_path / "draft.csv")
    assert ([clip.source for clip in clips], skipped) == (["yfp"] * 5, [])
    assert {"visit", "recorded_at"} <= rows[0].keys(), "to be completed by hand"


def test_a_draft_never_overwrites_what_was_completed_by_hand(tmp_path: Path) -> None:
    write_yfp(tmp_path / "yfp")
    (tmp_path / "draft.csv").write_text("by hand")
    with pytest.raises(SourceError, match="is there already; move it away or draft under another name"):
        draft_yfp_manifest(tmp_path / "yfp", tmp_path / "draft.csv")
    assert (tmp_path / "draft.csv").read_text() == "by hand"


def test_photos_take_their_cohort_and_their_person_from_their_folders(tmp_path: Path) -> None:
    clips, skipped = read_photos(write_photos(tmp_path / "photos"))
    assert [(clip.cohort, clip.subject_id) for clip in clips] == [
        (Cohort.PALSY, "photos/palsy/7"),
        (Cohort.PALSY, "photos/palsy/7"),
        (Cohort.PALSY, "photos/palsy/8.png"),
        (Cohort.CONTROL, "photos/control/7.jpg"),
    ]
    assert skipped == [Skipped(item="1 files", reason="not photos")]
    assert len({clip.row for clip in clips}) == 4


def test_photos_can_be_of_one_cohort_that_is_given(tmp_path: Path) -> None:
    clips, _ = read_photos(write_photos(tmp_path) / "control", Cohort.CONTROL)
    assert [clip.cohort for clip in clips] == [Cohort.CONTROL]


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError,
        match="no photos in its folders palsy, control and unknown; give a folder of JPEG or PNG files, sorted by cohort",
    ):
        read_photos(tmp_path)


def test_a_file_is_fetched_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a clip")
    assert fetch(source_clip(paths=(tmp_path / "a.mp4",)), tmp_path / "work") == tmp_path / "a.mp4"


def test_a_missing_file_is_reported_by_its_row(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=r"^row 7: its file is missing; check the path$"):
        fetch(source_clip(paths=(tmp_path / "anna.mp4",)), tmp_path / "work")


def test_the_tar_of_a_sequence_depends_on_its_images_alone(tmp_path: Path) -> None:
    digests = set()
    for place in ("here", "there"):
        clips, _ = read_ckplus(write_ckplus(tmp_path / place))
        path = fetch(clips[0], tmp_path / f"work-{place}")
        digests.add(clip_digest(path))
        with tarfile.open(path) as archive:
            assert archive.getnames() == ["00000000.png", "00000001.png", "00000002.png"]
            assert {(member.mtime, member.uid, member.uname) for member in archive} == {(0, 0, "")}
    assert len(digests) == 1


def test_a_full_disk_while_packing_is_one_sentence(tmp_path: Path) -> None:
    clips, _ = read_ckplus(write_ckplus(tmp_path))
    sentence = r"^sequence 1 cannot be packed \(File too large\); free space on the disk$"
    with pytest.raises(StoreError, match=sentence), full_disk():
        fetch(clips[0], tmp_path / "work")


def test_a_digest_is_of_the_bytes_and_of_the_range(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"a clip")
    of_bytes = hashlib.sha256(b"a clip").hexdigest()
    assert clip_digest(path) == of_bytes
    assert clip_digest(path, 1, 2.5) == hashlib.sha256(f"{of_bytes}|1.0|2.5".encode()).hexdigest()
    assert clip_digest(path, 1) == hashlib.sha256(f"{of_bytes}|1.0|".encode()).hexdigest()


def test_a_pseudonym_needs_the_key_and_tells_sources_apart() -> None:
    person = pseudonym(KEY, "clinic", "anna")
    assert person == pseudonym(KEY, "clinic", "anna")
    assert len(person) == 20
    assert int(person, 16) >= 0
    others = {pseudonym(b"another", "clinic", "anna"), pseudonym(KEY, "yfp", "anna"), pseudonym(KEY, "clinic", "bo")}
    assert len(others | {person}) == 4
    with pytest.raises(ValueError, match="the key of the pseudonyms is empty; set a secret one"):
        pseudonym(b"", "clinic", "anna")


def test_a_clip_in_the_catalog_keeps_everything_but_the_name(tmp_path: Path) -> None:
    path = tmp_path / "anna.MP4"
    path.write_bytes(b"a clip")
    listed = source_clip(
        paths=(path,),
        start_s=1.0,
        end_s=2.0,
        consent="written",
        licence="CC0",
        mirrored=True,
        source="synthetic",
        visit="week-12",
        recorded_at="2026-11-29",
    )
    clip = to_clip(listed, path, KEY)
    assert "anna" not in repr(clip)
    assert (clip.sha256, clip.subject, clip.suffix) == (
        clip_digest(path, 1.0, 2.0),
        pseudonym(KEY, "synthetic", "anna"),
        ".mp4",
    )
    assert (clip.start_s, clip.end_s, clip.fps, clip.mirrored, clip.synthetic) == (1.0, 2.0, None, True, True)
    assert (clip.consent, clip.licence, clip.source) == ("written", "CC0", "synthetic")
    assert (clip.visit, clip.taken_at) == ("week-12", "2026-11-29")
    assert to_subject(listed, KEY) == Subject(pseudonym=clip.subject, cohort=Cohort.PALSY, source="synthetic", synthetic=True)


def test_links_that_lead_out_of_a_tree_are_not_read(tmp_path: Path) -> None:
    write_photos(tmp_path / "elsewhere")
    photos = write_photos(tmp_path / "photos")
    (photos / "control" / "9.jpg").symlink_to(tmp_path / "elsewhere" / "control" / "7.jpg")
    ckplus = write_ckplus(tmp_path / "ckplus")
    (ckplus / "S999_001_00000001.png").symlink_to(tmp_path / "elsewhere" / "control" / "7.jpg")
    assert read_photos(photos)[1][-1] == Skipped(item="1 links", reason="they lead out of the folder")
    clips, skipped = read_ckplus(ckplus)
    assert "S999" not in {clip.subject_id for clip in clips}
    assert skipped == [Skipped(item="1 links", reason="they lead out of the folder")]


def test_a_file_that_was_exchanged_for_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to("/etc/hostname")
    with pytest.raises(ClipError, match=r"^row 7: its file is a symbolic link; give the file itself$"):
        fetch(source_clip(paths=(tmp_path / "a.mp4",)), tmp_path / "work")
