"""Sources of new people and of the watched folder, recognized by their content."""

import os
from pathlib import Path

import numpy as np
import pytest

from flows.ingest import Layout
from flows.scoring import sources
from tests.media.fake_trees import write_ckplus, write_image, write_photos
from vitau.errors import SourceError
from vitau.schema import Cohort, Skipped


def picture(path: Path, shade: int = 9) -> Path:
    write_image(path, np.full((30, 40, 3), shade, np.uint8))
    return path


def test_a_folder_of_files_is_one_person_per_subfolder_and_per_file_and_all_are_of_unknown_status(tmp_path):
    for number, name in enumerate(("a.jpg", "bo/1.png", "bo/deep/2.png", ".hidden.jpg", ".trash/3.jpg")):
        picture(tmp_path / "inbox" / name, 10 * number)
    (tmp_path / "inbox" / "bo" / "clip.mp4").write_bytes(b"not decoded here")
    (tmp_path / "inbox" / "notes.txt").write_text("stray")
    clips, skipped = sources.read_new(tmp_path / "inbox")
    assert {clip.cohort for clip in clips} == {Cohort.UNKNOWN}
    assert [(clip.row, clip.paths[0].name) for clip in clips] == [
        ("file 1", "a.jpg"),
        ("file 2", "1.png"),
        ("file 3", "clip.mp4"),
        ("file 4", "2.png"),
    ]
    assert len({clip.subject_id for clip in clips[1:]}) == 1
    assert len({clip.subject_id for clip in clips}) == 2
    assert skipped == [Skipped(item="1 files", reason="neither photos nor clips")]


def test_a_file_is_known_by_its_content_under_any_name_and_two_files_with_one_name_are_two_people(tmp_path):
    ids = {}
    for place, shade in (("march/1.jpg", 10), ("april/1.jpg", 200), ("april/copy of march.jpg", 10)):
        (clip,), _ = sources.read_new(picture(tmp_path / place, shade))
        ids[place] = clip.subject_id
    assert ids["march/1.jpg"] == ids["april/copy of march.jpg"] != ids["april/1.jpg"]


def test_a_folder_sorted_by_cohort_keeps_its_cohorts_and_its_folder_unknown_has_clips_too(tmp_path):
    write_photos(tmp_path)
    picture(tmp_path / "unknown" / "new.jpg", 1)
    (tmp_path / "unknown" / "new.mp4").write_bytes(b"not decoded here")
    clips, _ = sources.read_new(tmp_path)
    assert [clip.cohort.value for clip in clips] == ["palsy"] * 3 + ["control"] + ["unknown"] * 2
    assert len({clip.row for clip in clips}) == 6


def test_in_a_tree_of_ckplus_nobody_is_healthy_by_the_layout(tmp_path):
    clips, _ = sources.read_new(write_ckplus(tmp_path))
    assert {clip.cohort for clip in clips} == {Cohort.UNKNOWN}
    assert {clip.subject_id for clip in clips} == {"S005", "S132"}


def test_a_manifest_states_the_cohort(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "b.mp4").write_bytes(b"y")
    (tmp_path / "people.csv").write_text("subject,clip,cohort\nanna,a.mp4,unknown\nbo,b.mp4,palsy\n")
    clips, _ = sources.read_new(tmp_path / "people.csv")
    assert [clip.cohort for clip in clips] == [Cohort.UNKNOWN, Cohort.PALSY]


def test_a_missing_source_an_empty_one_and_a_folder_with_a_manifest_are_one_sentence(tmp_path):
    with pytest.raises(SourceError, match="the source is missing; give a manifest"):
        sources.read_new(tmp_path / "gone")
    with pytest.raises(SourceError, match="neither photos nor clips"):
        sources.read_new(tmp_path)
    (tmp_path / "manifest.csv").write_text("subject,clip,cohort\n")
    with pytest.raises(SourceError, match="give the manifest itself"):
        sources.read_new(tmp_path)
    with pytest.raises(SourceError, match="the source lists no recording"):
        sources.read_new(tmp_path / "manifest.csv")


def test_the_watched_folder_has_manifests_trees_and_photo_folders_and_what_a_manifest_lists_is_no_second_source(tmp_path):
    write_ckplus(tmp_path / "ck")
    picture(tmp_path / "unknown" / "new.jpg")
    picture(tmp_path / "clinic" / "palsy" / "control" / "smile.jpg")  # a person's name may be a cohort
    picture(tmp_path / "study" / "palsy" / "7" / "smile.jpg")
    (tmp_path / "study" / "manifest.csv").write_text("subject,clip,cohort\n7,palsy/7/smile.jpg,palsy\n")
    picture(tmp_path / "loose.jpg")
    found = [(path.relative_to(tmp_path).as_posix(), layout) for path, layout in sources.watched_sources(tmp_path)]
    assert found == [
        ("study/manifest.csv", Layout.MANIFEST),
        (".", Layout.PHOTOS),
        ("clinic", Layout.PHOTOS),
        ("ck/cohn-kanade-images", Layout.CKPLUS),
    ]


def test_the_listing_of_a_folder_changes_with_its_files_and_a_fresh_one_is_not_settled(tmp_path):
    new = picture(tmp_path / "unknown" / "new.jpg")
    picture(tmp_path / "elsewhere" / "other.jpg")
    digest, changed_s = sources.listing(tmp_path, Layout.PHOTOS)
    assert sources.listing(tmp_path, Layout.PHOTOS) == (digest, changed_s)
    assert not sources.is_settled(changed_s)
    assert sources.is_settled(changed_s, now_s=changed_s + sources.SETTLE_S)
    picture(tmp_path / "elsewhere" / "another.jpg")
    assert sources.listing(tmp_path, Layout.PHOTOS)[0] == digest
    os.utime(new, (0, 0))
    assert sources.listing(tmp_path, Layout.PHOTOS)[0] != digest
    assert sources.listing(tmp_path, Layout.PHOTOS)[1] >= changed_s, "a time that is set back does not make a copy complete"
