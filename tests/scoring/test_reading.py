import re
import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest

from vitau.errors import ClipError
from vitau.media.crops import from_jpeg, to_jpeg
from vitau.media.inputs import RecordingOptions
from vitau.schema import FrameLimits, QuarantineReason
from vitau.scoring.reading import (
    SPOOL_BYTES,
    FaceSpool,
    ReadingCounts,
    UsableFace,
    crops_of,
    no_usable_face,
    read_clip,
    read_photo,
)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"start_s": 3.0, "end_s": 2.0}, "the range ends at 2 s, not after its start at 3 s; correct it"),
        ({"end_s": 0.0}, "the range ends at 0 s, not after its start at 0 s; correct it"),
        ({"start_s": -1.0}, "start_s is -1; give a number from 0"),
        ({"end_s": float("nan")}, "end_s is nan; give a number from 0"),
        ({"fps": 0.0}, "fps is 0; give a positive number of frames per second"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        RecordingOptions(**options)


def usable_face(number: int, jpeg: bytes) -> UsableFace:
    points = np.arange(136, dtype=np.float32).reshape(68, 2) + number
    box = (number + 0.1, 2.0, 3.0, 4.0)
    return UsableFace(frame_index=number, time_s=number / 6, face_index=0, box=box, jpeg=jpeg, landmarks_L2=points)


def test_faces_come_back_in_order_with_crops_as_the_store_decodes_them(crops):
    faces = [usable_face(number, to_jpeg(crop)) for number, crop in enumerate(crops)]
    with FaceSpool() as spool:
        for face in faces:
            spool.add(face)
        for _ in range(2):
            batches = list(spool.batches(3))
            assert [len(batch) for batch in batches] == [3, 1]
            found = [face for batch in batches for face in batch]
            np.testing.assert_array_equal(crops_of(found), np.stack([from_jpeg(to_jpeg(crop)) for crop in crops]))
            np.testing.assert_array_equal([face.landmarks_L2 for face in found], [face.landmarks_L2 for face in faces])
            assert [(face.frame_index, face.time_s, face.face_index, face.box) for face in found] == [
                (face.frame_index, face.time_s, face.face_index, face.box) for face in faces
            ]


def test_faces_of_a_long_recording_do_not_fill_the_memory():
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    jpeg = to_jpeg(noise)
    tracemalloc.start()
    try:
        with FaceSpool() as spool:
            while len(spool) * len(jpeg) < 4 * SPOOL_BYTES:
                spool.add(usable_face(len(spool), jpeg))
            assert sum(len(batch) for batch in spool.batches(32)) == len(spool)
            peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * SPOOL_BYTES


def test_a_face_of_a_long_recording_takes_less_than_100_bytes_of_memory():
    face = usable_face(0, b"")
    with FaceSpool() as spool:
        spool.add(usable_face(0, bytes(SPOOL_BYTES)))  # from here on they are in a file
        tracemalloc.start()
        for number in range(2000):
            spool.add(replace(face, frame_index=1000 + number, time_s=number / 7, box=(number / 3, 1.5, 2.5, 3.5)))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert held / 2000 < 100


def test_the_range_of_a_clip_is_read_alone(clip):
    counts = ReadingCounts()
    faces = list(read_clip(clip, RecordingOptions(start_s=1.0, end_s=2.0), FrameLimits(), counts))
    assert counts.num_frames == 6
    assert all(1.0 <= face.time_s < 2.0 for face in faces)


def test_a_face_outside_the_limits_is_left_out_and_counted(photo):
    image = cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB)
    blurred, counts = cv2.GaussianBlur(image, (0, 0), 6), ReadingCounts()
    assert list(read_photo(blurred, RecordingOptions(), FrameLimits(), counts)) == []
    assert (counts.num_faces, counts.left_out) == (1, {QuarantineReason.BLURRED: 1})
    sentence = (
        "the photo shows 1 face, but none within the limits of the model's training frames (1 blurred); "
        "give a sharp, well-lit face that looks at the camera"
    )
    assert str(no_usable_face(counts, "photo")) == sentence


def test_a_photo_with_a_blurred_face_only_is_skipped_with_the_reason(lenient, photo):
    image = cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB)
    with pytest.raises(ClipError, match=r"^the photo shows 1 face, but none within the limits .* \(1 blurred\)"):
        lenient.score(cv2.GaussianBlur(image, (0, 0), 6))
    assert len(lenient.score(image)) == 1
