import re
import stat
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from vitau.measures.reporting.folder import video_names
from vitau.measures.reporting.report import ReportWriter, file_name, render_person
from vitau.measures.results import PersonResult, Task
from vitau.measures.sources import Part, Source
from vitau.media.inputs import RecordingOptions
from vitau.schema import Side, Skipped


@pytest.fixture(scope="module")
def html(recording):
    return render_person(recording)


def words_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.split("</style>")[1]))


def test_the_page_begins_with_the_side_its_probability_and_the_clearest_differences(html):
    text = words_of(html)
    assert "The person’s left side is weaker, with a probability of 97 % ." in text
    assert "it does not say that a palsy is there" in text
    first = text.index("Clearest differences")
    assert text.index("What was found") < first < text.index("Both sides over time") < text.index("Key frames")
    assert re.search(
        r"height of the lip corner, smiling: more movement on the right , difference 0\.\d{3} \(SDC 0\.020\)", text
    )


def test_a_difference_below_the_smallest_detectable_change_is_not_named_as_a_finding(recording, drawn_recording):
    measures = [replace(measure, smallest_detectable_change=9.0) for measure in recording.measures]
    text = words_of(render_person(replace(recording, measures=tuple(measures))))
    assert "No measure differs between the sides by more than its smallest detectable change." in text
    assert "Clearest differences" not in text
    assert "synkinesis)" not in text


def test_what_is_not_measurable_or_was_not_performed_is_said_with_its_reason(html):
    text = words_of(html)
    assert "A note." in text
    assert "the exercise was not found: height of the lower lip, showing the lower teeth" in text
    assert "34 of 37 frames measured; left out: 2 no face, 1 with the head turned away." in text


def test_a_height_at_rest_is_higher_and_the_columns_of_movement_are_left_out_of_rest(html):
    assert "height of the lip corner, rest: higher on the right" in words_of(html)
    rest, brows = re.findall(r"<thead>.*?</thead>", html, re.DOTALL)[:2]
    assert "Correlation" not in rest
    assert "Correlation" in brows


def test_repetitions_of_an_exercise_are_listed_with_their_times_and_confidences(recording):
    smile = next(exercise for exercise in recording.exercises if exercise.task is Task.SMILE)
    again = replace(smile, start_s=3.0, end_s=3.3, confidence=0.7)
    named = replace(smile, from_manifest=True, confidence=1.0)
    for exercises, expected in (
        ((*recording.exercises, again), "2.0–2.4 s, 3.0–3.3 s · recognized, confidence 70 % to 93 %"),
        ((named,), "2.0–2.4 s · named by the manifest"),
    ):
        html = render_person(replace(recording, exercises=exercises, key_frames=()))
        assert expected in words_of(html)


def test_a_person_whose_side_is_not_measurable_gets_no_side(recording):
    nobody = PersonResult(asymmetry=None, side=None, side_probability=None)
    text = words_of(render_person(replace(recording, person=nobody, key_frames=(), measures=())))
    assert "Which side is weaker is not measurable here." in text
    assert "is weaker, with a probability" not in text


def test_movement_that_the_exercise_does_not_ask_for_is_listed_as_synkinesis(html):
    listed = words_of(html).split("(synkinesis)")[1].split("Pattern:")[0]
    assert "closing the eyes gently: more on the right" in listed
    assert "brow height, raising the brows" not in listed


def test_synkinesis_alone_is_no_difference_between_the_sides_in_an_exercise(recording):
    only = tuple(measure for measure in recording.measures if measure.kind == "synkinesis")
    text = words_of(render_person(replace(recording, measures=only, key_frames=())))
    assert "No measure differs between the sides" in text
    assert "(synkinesis)" in text


def test_the_page_loads_nothing_and_shows_each_key_frame_with_its_two_mirrored_halves(html, recording):
    assert re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", html) == []
    assert "http" not in html.replace("http-equiv", "")
    assert html.count("data:image/jpeg;base64,") == 3 * len(recording.key_frames)


def test_names_are_escaped(recording):
    html = render_person(replace(recording, item="<script>x</script>"))
    assert "<script" not in html


def test_curves_have_a_band_for_each_exercise_and_a_gap_where_a_frame_is_not_usable(html):
    svg = html.split("<figure><svg")[1].split("</svg>")[0]
    assert svg.count('class="band"') == 7
    assert svg.count('<polyline class="r"') == svg.count('<polyline class="l"') == 2, "frame 7 is not usable"


def test_one_person_gets_the_page_itself_and_several_get_a_list_with_the_most_asymmetric_first(tmp_path, recording):
    with ReportWriter(tmp_path / "one") as writer:
        (tmp_path / "one").mkdir()
        writer.add(recording)
    assert "What was found" in (tmp_path / "one" / "report.html").read_text()
    (tmp_path / "two").mkdir()
    even = replace(recording, item="b", person=PersonResult(asymmetry=0.1, side=Side.RIGHT, side_probability=0.6))
    with ReportWriter(tmp_path / "two") as writer:
        for found in (even, recording):
            writer.add(found)
        writer.write_skipped([Skipped(item="c", reason="no face was found")])
    text = (tmp_path / "two" / "report.html").read_text()
    assert re.findall(r'<a href="([^"]+)">', text) == ["reports/d001.html", "reports/b.html"]
    assert "no face was found" in text
    assert stat.S_IMODE((tmp_path / "two" / "reports" / "b.html").stat().st_mode) == 0o600


def test_people_whose_names_become_the_same_file_name_keep_pages_of_their_own(tmp_path, recording):
    with ReportWriter(tmp_path) as writer:
        for item in ("a/b", "a:b"):
            writer.add(replace(recording, item=item, key_frames=()))
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == ["a_b-2.html", "a_b.html"]


@pytest.mark.parametrize(("item", "name"), [("../../etc/x", "etc_x"), ("Anna Müller", "Anna_Müller"), ("..", "person")])
def test_a_file_name_stays_in_its_folder(item, name):
    assert file_name(item) == name


def test_the_pictures_of_the_page_are_upright_faces(recording):
    from vitau.measures.reporting.pictures import SIZE, upright_face

    frame = recording.key_frames[0]
    turned = cv2.getRotationMatrix2D((320, 240), 20, 1.0)
    points = (frame.points @ turned[:, :2].T + turned[:, 2]).astype(np.float32)
    _, level = upright_face(replace(frame, points=points))
    eyes = level[36:42].mean(axis=0), level[42:48].mean(axis=0)
    assert eyes[0][1] == pytest.approx(eyes[1][1], abs=0.01)
    assert (eyes[0][0] + eyes[1][0]) / 2 == pytest.approx(SIZE[0] / 2)


def test_videos_of_names_that_look_alike_as_files_have_files_of_their_own():
    part = Part(path=Path("clip.mp4"), options=RecordingOptions())
    alike = [
        Source(item=item, parts=(part,), visit=visit)
        for item, visit in (("a b", None), ("a_b", "1"), ("a_b", "2"), ("c", None))
    ]
    assert list(video_names(alike).values()) == ["a_b", "a_b-2", "a_b-3", "c"]
