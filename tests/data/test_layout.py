"""Keys stay as existing stores hold them, and what is built is parsed."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.sampling.staleness import clip_of
from vitau.data import layout
from vitau.store.interface import checked_key

CLIP = "c" * 64
MODEL = "d" * 64

digests = st.text("0123456789abcdef", min_size=1, max_size=64)
names = st.from_regex(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,20}", fullmatch=True)
indices = st.integers(0, 10**6)

PINNED = {
    layout.subject_prefix("p1"): "subjects/p1/",
    layout.clip_prefix("p1", CLIP): f"subjects/p1/clips/{CLIP}/",
    layout.raw_key("p1", CLIP, ".mp4"): f"subjects/p1/clips/{CLIP}/raw.mp4",
    layout.frames_key("p1", CLIP, "ab12"): f"subjects/p1/clips/{CLIP}/frames-ab12.parquet",
    layout.measures_key(
        layout.frames_key("p1", CLIP, "ab12", 2), "ef56"
    ): f"subjects/p1/clips/{CLIP}/measures-ef56-ab12-r2.parquet",
    layout.quarantine_key("p1", CLIP, "ab12-cd34"): f"subjects/p1/clips/{CLIP}/quarantine-ab12-cd34.parquet",
    layout.key_frame_key("p1", CLIP, 7): "subjects/p1/keyframes/cccccccccccccccc-7.jpg",
    layout.large_key_frame_key("p1", CLIP, 7): "subjects/p1/keyframes/cccccccccccccccc-7-512.jpg",
    layout.snapshot_key("ab12"): "snapshots/ab12/manifest.parquet",
    layout.checkpoint_prefix("ab12"): "checkpoints/ab12/",
    layout.pretrained_prefix("ab12"): "pretrained/ab12/",
    layout.model_key(MODEL): f"models/{MODEL}",
    layout.model_file_key(MODEL, "model/model.safetensors"): f"models/{MODEL}/model/model.safetensors",
    layout.score_prefix(MODEL, "p1"): f"scores/{MODEL}/p1/",
    layout.score_key(MODEL, "p1"): f"scores/{MODEL}/p1/frames.parquet",
    layout.overlay_key(MODEL, "p1", CLIP, 7, "palsy"): f"scores/{MODEL}/p1/cccccccccccccccc-7-palsy.jpg",
    layout.score_work_name(MODEL, "p1"): f"scores/{MODEL}/p1",
    layout.report_prefix("ab12"): "reports/ab12/",
    layout.report_key("ab12", "vitau-regions", 3, "report.html"): "reports/ab12/vitau-regions-3/report.html",
    layout.monitoring_key(MODEL, "ab12", ".html"): "monitoring/dddddddddddddddd/ab12.html",
    layout.ingested_key("ab12"): "ingested/ab12.json",
    layout.validation_key("frames", "ab12", "index.html"): "validation/frames/ab12/index.html",
    layout.frame_name(CLIP, 7): f"{CLIP}:7",
    layout.frame_name_prefix(CLIP): f"{CLIP}:",
}


@pytest.mark.parametrize("built", PINNED)
def test_keys_are_those_that_existing_stores_hold(built):
    assert built == PINNED[built]


@given(subject=names, clip=digests, index=indices)
def test_every_key_of_a_person_is_under_the_persons_prefix_and_is_a_key_of_a_store(subject, clip, index):
    keys = [
        layout.raw_key(subject, clip, ".mp4"),
        layout.frames_key(subject, clip, "r"),
        layout.quarantine_key(subject, clip, "r-l"),
        layout.key_frame_key(subject, clip, index),
    ]
    assert all(key.startswith(layout.subject_prefix(subject)) for key in keys)
    assert [checked_key(key) for key in keys] == keys
    assert not layout.raw_key(f"{subject}x", clip, ".mp4").startswith(layout.subject_prefix(subject)), "a longer pseudonym"
    assert layout.raw_key_beside(layout.frames_key(subject, clip, "r"), ".mov") == layout.raw_key(subject, clip, ".mov")


@given(model=digests, subject=names, clip=digests, index=indices)
def test_a_key_of_scores_or_an_overlay_is_parsed_into_its_model_and_subject(model, subject, clip, index):
    for key in (layout.score_key(model, subject), layout.overlay_key(model, subject, clip, index, "palsy")):
        assert layout.parse_score_key(key) == layout.parse_score_name(key) == (model, subject)
        assert layout.parse_score_name(f"s3://bucket/prefix/{key}") == (model, subject)
    assert layout.parse_score_name(f"{model}/{subject}") == (model, subject)


@pytest.mark.parametrize("key", ["scores/readme", "subjects/p1/keyframes/c-7.jpg", "models/ab12/model/card.json"])
def test_other_keys_are_no_scores(key):
    assert layout.parse_score_key(key) is None


@pytest.mark.parametrize("name", ["vitau-palsy/2", "ab12", "p1"])
def test_other_names_are_no_scores(name):
    assert layout.parse_score_name(name) is None


@given(clip=digests, index=indices)
def test_the_name_of_a_frame_is_parsed_into_its_clip_and_index(clip, index):
    name = layout.frame_name(clip, index)
    assert layout.parse_frame_name(name) == (clip, str(index))
    assert name.startswith(layout.frame_name_prefix(clip))
    assert clip_of(name) == clip, "labeling may not import vitau.data, and parses for itself"


@pytest.mark.parametrize("revision", [0, 1, 12])
def test_the_key_of_a_frame_table_is_parsed_into_its_clip_and_revision(revision):
    assert layout.parse_frames_key(layout.frames_key("a1", "c" * 64, "0f" * 8, revision)) == ("c" * 64, revision)
    with pytest.raises(ValueError, match="is not the key of a frame table"):
        layout.parse_frames_key(layout.quarantine_key("a1", "c" * 64, "0f-0f", revision))


def test_recordings_and_ranges_are_told_from_what_is_made_of_them():
    folder = ("a1", "c" * 64)
    assert layout.is_recording_key(layout.raw_key(*folder, ".mp4"))
    assert layout.is_recording_key(layout.range_key(*folder, "-25.tar"))
    assert layout.range_key(*folder, ".mov").startswith(layout.range_prefix_beside(layout.frames_key(*folder, "0f")))
    for key in (layout.frames_key(*folder, "0f"), layout.quarantine_key(*folder, "0f-0f"), layout.key_frame_key(*folder, 1)):
        assert not layout.is_recording_key(key)


def test_building_a_key_loads_no_other_package():
    code = "import sys; import vitau.data.layout; print(sorted({'numpy', 'pyarrow', 'torch'} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
