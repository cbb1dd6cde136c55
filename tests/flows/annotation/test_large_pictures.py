"""Large pictures: cut from a recording whose faces are large enough, the same view as the crop, and never enlarged."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from flows.annotation.key_frames import build_reader_tasks
from flows.execution.clip_worker import ingest_clip
from flows.workspace import Workspace
from vitau.media.clips import sample_frames
from vitau.media.crops import from_jpeg
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import SourceClip, read_manifest
from vitau.media.sources import to_subject
from vitau.media.synthetic.cohort import encode_clip
from vitau.schema import Cohort

KEY = b"the key of these tests"


@pytest.fixture
def add(workspace: Workspace) -> Iterator[object]:
    """Return a function that ingests a clip of a patient and returns the pictures of its task."""

    def ingest(clip: SourceClip) -> list[str]:
        new = ingest_clip(clip, workspace.store, KEY, FrameRecipe())
        workspace.catalog.add_subject(replace(to_subject(clip, KEY), cohort=Cohort.PALSY))
        workspace.catalog.add_clip(new.clip)
        workspace.catalog.add_frame_table(new.frames)
        images = build_reader_tasks(workspace, [new.clip.subject])[new.clip.subject]["data"]["images"]
        return [image.removeprefix("/data/local-files/?d=") for image in images]

    return ingest


def enlarged(clip: SourceClip, out: Path, *, times: int) -> SourceClip:
    """Write two frames of a drawn clip enlarged and mirrored, as a camera of more px in a selfie shows them."""
    frames = [frame.image[:, ::-1] for frame in sample_frames(clip.paths[0])][:2]
    height, width = frames[0].shape[:2]
    large = [cv2.resize(frame, (width * times, height * times), interpolation=cv2.INTER_CUBIC) for frame in frames]
    encode_clip(out, large, 6, size=(width * times, height * times))
    return replace(clip, paths=(out,), mirrored=True)


def test_a_face_that_is_large_in_its_recording_is_shown_in_512_px_and_another_is_not_enlarged(workspace, add, cohort, tmp_path):
    small, other, *_ = read_manifest(cohort / "manifest.csv")[0]
    assert {image.endswith("-512.jpg") for image in add(small)} == {False}
    images = add(enlarged(other, tmp_path / "large.mp4", times=3))
    assert len(images) == 2
    for image in images:
        picture = from_jpeg(workspace.store.get(image))
        crop = from_jpeg(workspace.store.get(image.replace("-512.jpg", ".jpg")))
        assert (picture.shape, crop.shape) == ((512, 512, 3), (256, 256, 3))
        halved = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA)
        assert np.abs(halved.astype(float) - crop).mean() < 3, "the same view, unmirrored"
        assert np.abs(halved[:, ::-1].astype(float) - crop).mean() > 6
    subject = images[0].split("/")[1]
    (raw,) = [key for key in workspace.store.keys(f"subjects/{subject}/") if key.endswith("raw.mp4")]
    workspace.store.erase(raw)
    again = build_reader_tasks(workspace, [subject])[subject]["data"]["images"]
    assert [address.partition("=")[2] for address in again] == images, "what is there is not cut again"
    workspace.store.erase(images[0])
    (first, *rest) = build_reader_tasks(workspace, [subject])[subject]["data"]["images"]
    assert (first.partition("=")[2], len(rest)) == (images[0].replace("-512.jpg", ".jpg"), 1), "the recording is lost"
