"""The faces of a clip that are compared: spread over the clip, clear, and none where no face was found."""

import numpy as np
import pyarrow as pa

from vitau.media.identity.faces import choose_faces, embed_faces, read_faces


def table(crops: list[bytes | None], score: list[float], yaw_deg: list[float]) -> pa.Table:
    return pa.table(
        {
            "frame_index": pa.array(range(len(crops)), pa.int32()),
            "crop": pa.array(crops, pa.binary()),
            "detector_score": pa.array(score, pa.float32()),
            "yaw_deg": pa.array(yaw_deg, pa.float32()),
            "pitch_deg": pa.array([0.0] * len(crops), pa.float32()),
        }
    )


def test_the_clearest_face_of_each_part_is_chosen_and_the_clearest_of_all_comes_first():
    crops = [None, *[b"jpeg"] * 6, None, *[b"jpeg"] * 2]
    score = [9, 1.0, 2.0, 1.0, 3.0, 1.0, 2.5, 9, 1.0, 1.5]
    yaw = [0, 0, 0, 0, 60, 0, 0, 0, 0, 0]
    frames = choose_faces(table(crops, score, yaw), 4)["frame_index"].to_pylist()
    assert frames == [6, 2, 9, 3], "frame 4 is confident but turned by 60 degrees, frames 0 and 7 have no face"
    assert choose_faces(table(crops, score, yaw), 50).num_rows == 8


def test_a_clip_without_a_face_has_no_embedding():
    empty = choose_faces(table([None, None], [0, 0], [0, 0]))
    found = read_faces(embed_faces(empty))
    assert found.embedding_KD.shape == (0, 128)
    assert found.embedding_KD.dtype == np.float32
    assert found.crops == ()
