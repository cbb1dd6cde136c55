"""Frame tables: rows, bytes, memory, and the faces of photos."""

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.media.conftest import WriteVideo, full_disk, numbered
from vitau import processes
from vitau.errors import ClipError, StoreError
from vitau.media.frames import FrameRecipe, FramesSummary, decode_crops, find_faces, frame_schema, write_frames
from vitau.media.tracking.split import Split
from vitau.processes import read_ahead
from vitau.schema import FRAME_COLUMNS, Clip

ABOUT_THE_FACE = [name for name, column in FRAME_COLUMNS.items() if column.nullable and name != "embedding"]


def clip(**changes: object) -> Clip:
    return Clip(**{"sha256": "c" * 64, "subject": "p" * 20, "source": "test", "suffix": ".mp4", **changes})


@pytest.fixture
def smile_mp4(write_video: WriteVideo, smiles: dict[int, list[np.ndarray]]) -> Path:
    """Write a clip of a smiling person, without the person in one frame."""
    return write_video([*smiles[4], np.full_like(smiles[4][0], 120)], fps=6, name="smile.mp4")


def test_every_sampled_frame_is_a_row_and_without_a_face_its_columns_are_null(smile_mp4: Path, tmp_path: Path) -> None:
    summary = write_frames(clip(), smile_mp4, tmp_path / "frames.parquet")
    assert summary == FramesSummary(num_frames=5, num_faces=4, num_decoded=5, num_damaged=0, truncated=False)
    table = pq.read_table(tmp_path / "frames.parquet")
    assert table.schema.equals(frame_schema())
    assert table["frame_index"].to_pylist() == [0, 1, 2, 3, 4]
    assert table["num_faces"].to_pylist()[-1] == 0
    *with_face, faceless = table.to_pylist()
    assert all(faceless[name] is None for name in ABOUT_THE_FACE)
    assert all(row[name] is not None for row in with_face for name in ABOUT_THE_FACE)
    assert {len(row["crop_landmarks"]) for row in with_face} == {136}


def test_a_frame_table_notes_the_encoding_of_the_recording(smile_mp4: Path, tmp_path: Path) -> None:
    write_frames(clip(), smile_mp4, tmp_path / "frames.parquet")
    noted = pq.read_schema(tmp_path / "frames.parquet").metadata
    assert noted[b"codec"] == b"h264"
    assert float(noted[b"frame_rate"]) == pytest.approx(6, abs=0.01), "its times are whole milliseconds"


def test_one_frame_has_the_identity_embedding(smile_mp4: Path, tmp_path: Path) -> None:
    write_frames(clip(), smile_mp4, tmp_path / "frames.parquet")
    embeddings = [row for row in pq.read_table(tmp_path / "frames.parquet")["embedding"].to_pylist() if row is not None]
    assert [len(embedding) for embedding in embeddings] == [128]


def test_the_same_clip_gives_the_same_bytes(smile_mp4: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_frames(clip(), smile_mp4, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_threads_that_decode_and_search_ahead_change_no_byte(
    write_video: WriteVideo, smiles: dict[int, list[np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[object] = []
    monkeypatch.setattr(processes, "read_ahead", lambda *given: used.append(given) or read_ahead(*given))
    video = write_video([*smiles[4], *smiles[5]] * 2, fps=6, name="people.mp4")  # more frames than a thread takes at once
    for name, num_processes in (("alone", 1), ("ahead", 2)):
        write_frames(clip(), video, tmp_path / name, split=Split(num_processes=num_processes))
        assert len(used) == 2 * (num_processes - 1)
    assert (tmp_path / "alone").read_bytes() == (tmp_path / "ahead").read_bytes()


def test_crops_decode_to_the_faces_in_the_frames(smile_mp4: Path, tmp_path: Path, smiles: dict[int, list[np.ndarray]]) -> None:
    write_frames(clip(), smile_mp4, tmp_path / "frames.parquet")
    table = pq.read_table(tmp_path / "frames.parquet")
    crops = decode_crops(table.slice(0, 4))
    assert crops.shape == (4, 256, 256, 3)
    assert crops.dtype == np.uint8
    (face,) = find_faces(smiles[4][0])
    assert cv2.absdiff(crops[0], face.crop).mean() < 12
    with pytest.raises(ValueError, match="1 rows have no face; filter them out before decoding"):
        decode_crops(table)


def test_a_mirrored_clip_is_unmirrored_with_its_landmarks_and_its_pose(
    write_video: WriteVideo, smiles: dict[int, list[np.ndarray]], tmp_path: Path
) -> None:
    straight = write_video(smiles[4][2:3], name="straight.mp4")
    mirrored = write_video([np.ascontiguousarray(smiles[4][2][:, ::-1])], name="mirrored.mp4")
    write_frames(clip(), straight, tmp_path / "straight")
    write_frames(clip(mirrored=True), mirrored, tmp_path / "mirrored")
    (here,), (there,) = (pq.read_table(tmp_path / name).to_pylist() for name in ("straight", "mirrored"))
    for name, tolerance in (("yaw_deg", 6), ("roll_deg", 6), ("pitch_deg", 8), ("face_px", 4)):
        assert there[name] == pytest.approx(here[name], abs=tolerance)
    points, seen = (np.reshape(row["landmarks"], (68, 2)) for row in (here, there))
    np.testing.assert_allclose(seen[36:48].mean(0), (639 - points[36:48].mean(0)[0], points[36:48].mean(0)[1]), atol=4)
    assert seen[36, 0] > seen[45, 0]  # the person's right eye is at the right of a mirror image
    assert np.abs(np.subtract(here["crop_landmarks"], there["crop_landmarks"])).mean() < 5


def test_a_row_group_holds_a_hundred_frames(write_video: WriteVideo, tmp_path: Path) -> None:
    path = write_video(numbered(250), fps=30)
    write_frames(clip(), path, tmp_path / "frames.parquet", FrameRecipe(rate_fps=30))
    metadata = pq.read_metadata(tmp_path / "frames.parquet")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [100, 100, 50]


def test_memory_does_not_grow_with_the_clip(write_video: WriteVideo, tmp_path: Path) -> None:
    def peak(num_frames: int) -> int:
        path = write_video(numbered(num_frames), name=f"{num_frames}.mp4")
        tracemalloc.start()
        write_frames(clip(), path, tmp_path / "frames.parquet", FrameRecipe(rate_fps=30))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(15)  # models and modules are loaded once
    assert peak(450) < 1.25 * peak(150)


def test_the_table_is_marked_as_synthetic(smile_mp4: Path, tmp_path: Path) -> None:
    write_frames(clip(synthetic=True), smile_mp4, tmp_path / "frames.parquet")
    assert pq.read_schema(tmp_path / "frames.parquet").metadata[b"synthetic"] == b"true"


def test_a_time_range_is_applied(smile_mp4: Path, tmp_path: Path) -> None:
    assert write_frames(clip(start_s=0.3, end_s=0.6), smile_mp4, tmp_path / "frames.parquet").num_frames == 2


def test_a_photo_of_several_people_is_one_row_about_the_person_in_the_middle(
    smiles: dict[int, list[np.ndarray]], tmp_path: Path
) -> None:
    left, right = (smiles[index][0] for index in (5, 4))
    scene = np.hstack([cv2.resize(left, (480, 360)), right[60:420]])
    cv2.imwrite(str(tmp_path / "photo.png"), scene[..., ::-1])
    summary = write_frames(clip(suffix=".png"), tmp_path / "photo.png", tmp_path / "frames.parquet")
    (row,) = pq.read_table(tmp_path / "frames.parquet").to_pylist()
    assert (summary.num_frames, row["num_faces"], row["time_s"]) == (1, 2, 0.0)
    assert row["box"][0] > 480


def test_a_photo_of_a_landscape_has_no_face(tmp_path: Path) -> None:
    hills = np.cumsum(np.random.default_rng(0).normal(0, 2, (300, 400, 3)), axis=0).clip(-90, 90).astype(np.int64) + 120
    cv2.imwrite(str(tmp_path / "hills.jpg"), hills.astype(np.uint8))
    summary = write_frames(clip(suffix=".jpg"), tmp_path / "hills.jpg", tmp_path / "frames.parquet")
    assert (summary.num_frames, summary.num_faces) == (1, 0)
    assert find_faces(hills.astype(np.uint8)) == []


def test_all_faces_of_a_photo_are_found_largest_first(smiles: dict[int, list[np.ndarray]]) -> None:
    small, large = cv2.resize(smiles[5][0], (400, 300)), smiles[4][0]
    scene = np.full((480, 1040, 3), 110, np.uint8)
    scene[:300, :400], scene[:, 400:] = small, large
    faces = find_faces(scene)
    assert [face.box[0] > 400 for face in faces] == [True, False]
    assert all(face.crop.shape == (256, 256, 3) for face in faces)


def test_a_broken_clip_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 99)
    with pytest.raises(ClipError):
        write_frames(clip(), tmp_path / "broken.mp4", tmp_path / "frames.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.mp4"]


def test_a_full_disk_is_one_sentence_and_leaves_nothing_behind(smile_mp4: Path, tmp_path: Path) -> None:
    sentence = r"^frames\.parquet cannot be written \(File too large\); free space on the disk$"
    with pytest.raises(StoreError, match=sentence), full_disk():
        write_frames(clip(), smile_mp4, tmp_path / "frames.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["smile.mp4"]


def test_the_schema_has_the_columns_of_the_domain_with_their_meaning() -> None:
    schema = frame_schema()
    assert schema.names == list(FRAME_COLUMNS)
    assert [field.nullable for field in schema] == [column.nullable for column in FRAME_COLUMNS.values()]
    assert schema.field("sharpness").metadata[b"meaning"] == FRAME_COLUMNS["sharpness"].meaning.encode()
    assert schema.field("crop").type == pa.binary()


def test_another_recipe_has_another_digest() -> None:
    assert FrameRecipe().digest == FrameRecipe(rate_fps=6).digest
    assert len({FrameRecipe().digest, FrameRecipe(rate_fps=3.0).digest, FrameRecipe(version=2).digest}) == 3
