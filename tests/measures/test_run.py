import csv
import pickle
import stat
import tracemalloc

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from vitau.measures.geometry import measure_points
from vitau.measures.landmarks.predictors import DlibBackend
from vitau.measures.landmarks.refinement.refined import RefinedBackend
from vitau.measures.landmarks.tables import TableBackend
from vitau.measures.reporting.folder import measure_into
from vitau.measures.run import measure_source, measure_sources
from vitau.measures.sources import list_sources
from vitau.media.inputs import RecordingOptions
from vitau.media.synthetic.cohort import write_clip
from vitau.media.synthetic.drawing import draw_frame
from vitau.media.synthetic.people import draw_person

FIRST_COLUMNS = [
    *("input", "frame_index", "time_s", "task"),
    *("brow_height_right", "brow_height_left", "lid_gap_right", "lid_gap_left"),
    *("lip_corner_height_right", "lip_corner_height_left", "lip_corner_lateral_right", "lip_corner_lateral_left"),
]


FACE = draw_frame(draw_person(4, 3, palsied=True), "rest", 0.0).landmarks


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Write a clip and a photo of a drawn person, a mirrored photo, and two files that cannot be measured."""
    folder = tmp_path_factory.mktemp("recordings")
    person = draw_person(4, 3, palsied=True)
    write_clip(folder / "clip.mp4", person)
    image = cv2.cvtColor(draw_frame(person, "smile", 1.0).image, cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / "photo.png"), image)
    (folder / "mirror").mkdir()
    cv2.imwrite(str(folder / "mirror" / "photo.png"), image[:, ::-1])
    cv2.imwrite(str(folder / "wall.png"), image[:80, :80])
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def measured(recordings, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "m"
    paths = [recordings / name for name in ("clip.mp4", "photo.png", "wall.png", "broken.mp4")]
    return measure_sources(list_sources(paths, RecordingOptions()), out, backend=DlibBackend()), out


def test_the_series_has_a_row_per_frame_and_the_agreed_columns_first(measured):
    result, out = measured
    series = rows(out / "series.csv")
    assert list(series[0])[: len(FIRST_COLUMNS)] == FIRST_COLUMNS
    clip = [row for row in series if row["input"] == "clip"]
    assert [int(row["frame_index"]) for row in clip] == list(range(14))
    assert all(float(row[name]) for row in series for name in FIRST_COLUMNS[4:])
    assert [person.item for person in result.people] == ["clip", "photo"]


def test_the_parquet_table_holds_what_the_csv_holds(measured):
    _, out = measured
    table = pq.read_table(out / "series.parquet").to_pylist()
    for row, cells in zip(table, rows(out / "series.csv"), strict=True):
        assert row["brow_height_left"] == pytest.approx(float(cells["brow_height_left"]), abs=1e-5)
        assert (row["input"], row["frame_index"]) == (cells["input"], int(cells["frame_index"]))


def test_what_cannot_be_measured_is_listed_with_its_reason(measured):
    result, out = measured
    assert {skip.item: skip.reason for skip in result.skipped} == {
        "wall": "no face was found in 1 frame; give a face that looks at the camera",
        "broken": "the recording is not a video; give a video, a photo or a tar of images",
    }
    assert [row["input"] for row in rows(out / "skipped.csv")] == ["wall", "broken"]


def test_people_have_a_side_its_probability_and_a_score(measured):
    _, out = measured
    clip, photo = rows(out / "people.csv")
    assert list(clip)[:4] == ["input", "side", "side_probability", "asymmetry"]
    assert clip["side"] in ("left", "right")
    assert 0.5 <= float(clip["side_probability"]) <= 1
    assert float(clip["asymmetry"]) > 0
    assert (photo["side"], photo["side_probability"], photo["asymmetry"]) == ("", "", "")  # one frame shows no movement


def test_the_tables_are_readable_by_their_owner_only(measured):
    _, out = measured
    for path in out.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_a_mirrored_photo_gives_the_sides_of_the_person(recordings, measured, tmp_path):
    listed = list_sources([recordings / "mirror" / "photo.png"], RecordingOptions(mirrored=True))
    measure_sources(listed, tmp_path / "m", backend=DlibBackend())
    (mirrored,) = rows(tmp_path / "m" / "series.csv")
    (plain,) = (row for row in rows(measured[1] / "series.csv") if row["input"] == "photo")
    swapped = {name: name.replace("right", "?").replace("left", "right").replace("?", "left") for name in FIRST_COLUMNS[4:]}
    as_it_is = sum(abs(float(mirrored[name]) - float(plain[name])) for name in swapped)
    other_way = sum(abs(float(mirrored[name]) - float(plain[other])) for name, other in swapped.items())
    assert as_it_is < other_way / 2  # dlib's points of a mirror image differ by a few px, the sides of this person by more


def test_points_of_another_program_are_read_at_the_numbers_of_all_frames(recordings, tmp_path):
    """A clip of 6 frames per second is measured at 2: its rows are the frames 0, 3, 6, …, as in the table of points."""
    truth = [np.linspace(0, 1, 136) * (1 + number) for number in range(14)]
    table = tmp_path / "points.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["frame", *(f"{axis}_{point}" for axis in "xy" for point in range(68))])
        for number, wobble in enumerate(truth):
            points = FACE + wobble.reshape(2, 68).T
            writer.writerow([number, *points[:, 0], *points[:, 1]])
    listed = list_sources([recordings / "clip.mp4"], RecordingOptions())
    measure_sources(listed, tmp_path / "m", backend=TableBackend(table), rate_fps=2)
    measured = [float(row["brow_height_right"]) for row in rows(tmp_path / "m" / "series.csv")]
    expected = [measure_points((FACE + wobble.reshape(2, 68).T)[None])["brow_height_right"][0] for wobble in truth[::3]]
    assert np.allclose(measured, expected, atol=1e-4)


def test_key_frames_are_the_peaks_of_the_exercises(recordings):
    (source,) = list_sources([recordings / "clip.mp4"], RecordingOptions()).sources
    (recording,) = measure_source(source, DlibBackend())
    peaks = {(e.task, int(recording.series.frame_index[e.peak])) for e in recording.exercises if e.performed}
    assert recording.key_frames
    for key_frame in recording.key_frames:
        picture = cv2.imdecode(np.frombuffer(key_frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (400, 400, 3)
        assert (key_frame.task, key_frame.frame_index) in peaks
        eyes = key_frame.points[36:42].mean(axis=0), key_frame.points[42:48].mean(axis=0)
        assert abs(eyes[0][1] - eyes[1][1]) < 20  # upright
        assert eyes[0][0] < 200 < eyes[1][0]


def test_a_statement_in_a_manifest_reaches_the_tables(recordings, tmp_path):
    manifest = tmp_path / "m.csv"
    clip, photo = recordings / "clip.mp4", recordings / "photo.png"
    manifest.write_text(
        f"clip,subject,task,visit,recorded_at,start,end\n{clip},P7,rest,v1,2026-03-04,0,0.3\n{photo},P7,smile,v1,2026-03-04,,\n"
    )
    measure_sources(list_sources([], RecordingOptions(), manifest), tmp_path / "m", backend=DlibBackend())
    series = rows(tmp_path / "m" / "series.csv")
    assert [(row["input"], row["task"], row["visit"]) for row in series] == [*[("P7", "rest", "v1")] * 2, ("P7", "smile", "v1")]
    smile = [row for row in rows(tmp_path / "m" / "measures.csv") if row["exercise"] == "smile" and row["kind"] == "excursion"]
    assert {row["measure"] for row in smile} == {"lip_corner_height", "lip_corner_lateral", "dental_show"}
    assert all(row["recorded_at"] == "2026-03-04" and row["right"] for row in smile)


def test_a_longer_clip_needs_no_more_memory(tmp_path):
    """A frame of 640 × 480 takes 0.9 MB, so that 21 more frames in memory would take 19 MB."""
    person = draw_person(4, 3)

    def peak_mb(frames_per_task):
        write_clip(tmp_path / f"{frames_per_task}.mp4", person, frames_per_task)
        (source,) = list_sources([tmp_path / f"{frames_per_task}.mp4"], RecordingOptions()).sources
        tracemalloc.start()
        try:
            (recording,) = measure_source(source, DlibBackend())
            assert len(recording.series) == 7 * frames_per_task
            return tracemalloc.get_traced_memory()[1] / 1e6
        finally:
            tracemalloc.stop()

    peak_mb(1)  # loads models and modules
    assert peak_mb(5) < peak_mb(2) + 8


def test_two_processes_measure_the_same_in_the_same_order(recordings, tmp_path):
    paths = [recordings / name for name in ("photo.png", "wall.png", "mirror/photo.png", "broken.mp4")]
    listed, shown = list_sources(paths, RecordingOptions()), []

    def watch(sources, _):
        for source in sources:
            shown.append(source.item)
            yield source

    written = []
    for num_processes in (1, 2):
        out = tmp_path / str(num_processes)
        result = measure_into(out, listed, DlibBackend(), num_processes=num_processes, watch=watch)
        files = {path.relative_to(out): path for path in out.rglob("*") if path.is_file()}
        written.append((result, {name: path.read_bytes() for name, path in files.items()}))
    assert written[0] == written[1]
    assert shown == [source.item for source in listed.sources] * 2
    assert [summary.item for summary in written[0][0].people] == [shown[0], shown[2]]


def test_another_process_loads_the_weights_of_a_backend_once():
    backend = RefinedBackend()
    sent = pickle.dumps(backend)
    assert len(sent) < 1000
    assert pickle.loads(sent) is pickle.loads(sent)
    assert pickle.loads(sent).name == backend.name
