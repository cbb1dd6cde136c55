"""Key frames are rest and variety, of good quality; a task holds no identifying data."""

import re
from pathlib import Path

import numpy as np
import pytest

from labeling.interface.measure_block import MeasureBlock, MeasureSection
from labeling.sampling.key_frames import choose_key_frames
from labeling.sampling.tasks import (
    build_adjudication_task,
    build_task,
    image_url,
    store_folder,
    with_captions,
    with_measures,
    with_player,
    without_measures,
    without_suggestions,
)
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import TASKS, draw_person
from vitau.schema import AU, AUS, LedgerRow, Side, Stage


def clip(seed: int = 0) -> tuple[np.ndarray, list[int]]:
    """Return landmarks with jitter of a person at rest who makes 3 faces, 4 frames each, and the face of each frame."""
    rng = np.random.default_rng(seed)
    rest = draw_crop(draw_person(5, 0, palsied=False), "rest", 0.0, rng, size=256).landmarks
    moved = [np.zeros((68, 2)) for _ in range(4)]
    moved[1][17:27] = (0, -20)
    moved[2][48:55] = (15, 0)
    moved[3][55:60] = (0, 25)
    order = [0] * 8 + [1] * 4 + [0] * 4 + [2] * 4 + [0] * 4 + [3] * 4
    shapes = np.stack([rest + moved[face] + rng.normal(0, 0.3, (68, 2)) for face in order])
    return shapes.reshape(-1, 136), order


def test_rest_is_first_and_every_face_is_shown():
    landmarks, order = clip()
    chosen = choose_key_frames(landmarks, {}, count=4)
    assert order[chosen[0]] == 0
    assert sorted(order[index] for index in chosen) == [0, 1, 2, 3]


def drawn(index: int, *, palsied: bool = True) -> tuple[np.ndarray, list[str]]:
    """Draw landmarks with noise, and the facial tasks: each from onset to apex, with rest in between."""
    person, rng = draw_person(5, index, palsied), np.random.default_rng(index)
    acts = [act for task in TASKS for act in ((task, 0.3), (task, 0.6), (task, 0.95), ("rest", 0.0), ("rest", 0.0))]
    shapes = np.stack([draw_crop(person, task, amount, rng, size=64).landmarks * 4 for task, amount in acts])
    return (shapes + rng.normal(0, 0.4, shapes.shape)).reshape(-1, 136), [f"{task} {amount}" for task, amount in acts]


@pytest.mark.parametrize("index", range(6))
def test_rest_and_every_facial_task_of_a_palsied_person_are_shown_first(index):
    landmarks, acts = drawn(index)
    shown = [acts[frame].split()[0] for frame in choose_key_frames(landmarks, {}, count=7)]
    assert shown[0] == "rest"
    assert sorted(shown) == sorted(TASKS)


def test_facial_tasks_are_shown_at_their_strongest():
    landmarks, acts = drawn(1)
    shown = [acts[frame] for frame in choose_key_frames(landmarks, {}, count=7)]
    assert [act for act in shown[1:] if not act.endswith("0.95")] == []


def test_a_facial_task_that_a_person_does_not_do_is_not_chosen():
    landmarks, acts = drawn(2)
    quiet = [index for index, act in enumerate(acts) if act.startswith(("rest", "smile"))]
    shown = [acts[quiet[frame]].split()[0] for frame in choose_key_frames(landmarks[quiet], {}, count=2)]
    assert shown == ["rest", "smile"]


def test_the_choice_does_not_depend_on_position_and_size():
    landmarks, _ = clip()
    rng = np.random.default_rng(1)
    moved = landmarks.reshape(-1, 68, 2) * rng.uniform(0.5, 2, (28, 1, 1)) + rng.uniform(-50, 50, (28, 1, 2))
    assert choose_key_frames(moved.reshape(-1, 136), {}) == choose_key_frames(landmarks, {})


def test_a_frame_without_landmarks_is_never_chosen():
    landmarks, _ = clip()
    landmarks[::2] = np.nan
    assert all(index % 2 == 1 for index in choose_key_frames(landmarks, {}, count=20))


def test_blurred_frames_are_avoided():
    landmarks, _ = clip()
    sharpness = np.where(np.arange(len(landmarks)) % 4, 100.0, 5.0)
    assert all(index % 4 for index in choose_key_frames(landmarks, {"sharpness": sharpness}, count=21))


def test_a_head_turned_to_either_side_is_avoided():
    landmarks, _ = clip()
    yaw = np.where(np.arange(len(landmarks)) % 4, 0.0, np.where(np.arange(len(landmarks)) % 8, -30.0, 30.0))
    assert all(index % 4 for index in choose_key_frames(landmarks, {"yaw_deg": yaw}, count=21))


@pytest.mark.parametrize(("num_frames", "expected"), [(0, 0), (1, 1), (3, 3), (28, 8)])
def test_no_frame_is_chosen_twice(num_frames, expected):
    landmarks, _ = clip()
    chosen = choose_key_frames(landmarks[:num_frames], {})
    assert len(chosen) == len(set(chosen)) == expected


def test_equal_frames_are_different_choices():
    landmarks = np.repeat(clip()[0][:1], 8, axis=0)
    assert len(set(choose_key_frames(landmarks, {}))) == 8


def test_a_picture_has_the_url_that_label_studio_serves():
    key = "subjects/p1/keyframes/a b.jpg"
    assert image_url("file:///srv/store", key) == "/data/local-files/?d=subjects/p1/keyframes/a%20b.jpg"
    assert image_url("s3://bucket/prefix/", key) == "s3://bucket/prefix/subjects/p1/keyframes/a b.jpg"


def test_only_a_local_store_has_a_folder():
    assert store_folder("file:///srv/a%20b") == Path("/srv/a b")
    assert store_folder("relative/store") == Path("relative/store")
    assert store_folder("s3://bucket/prefix") is None


def test_a_task_holds_only_a_pseudonym_pictures_and_frames():
    assert build_task("p1", ["/a.jpg", "/b.jpg"], ["f1", "f2"])["data"] == {
        "subject": "p1",
        "about": "One person, pictures: 2",
        "images": ["/a.jpg", "/b.jpg"],
        "frames": ["f1", "f2"],
        "clips": [],
        "material": None,
        "after": 0,
        "returned": "",
        "asked": None,
        "player": [],
        "pictures": [
            {"html": '<div class="vitau-small"><img src="/a.jpg" alt="1"/><span>1</span></div>'},
            {"html": '<div class="vitau-small"><img src="/b.jpg" alt="2"/><span>2</span></div>'},
        ],
        "suggested": "",
        "suggestions": None,
        "suggested_by": None,
    }
    with pytest.raises(ValueError, match="subject p1 has 2 pictures and 1 frame names"):
        build_task("p1", ["/a.jpg", "/b.jpg"], ["f1"])


def test_each_clip_has_a_player_with_one_url():
    clips = ["s3://bucket/subjects/p1/clips/1/raw.mp4", "/data/local-files/?d=subjects/p1/a&b.mp4"]
    first, second = build_task("p1", ["/a.jpg"], ["f1"], clips=clips)["data"]["clips"]
    assert re.findall(r'src="([^"]*)"', first["html"]) == ["s3://bucket/subjects/p1/clips/1/raw.mp4"]
    assert 'src="/data/local-files/?d=subjects/p1/a&amp;b.mp4"' in second["html"]
    assert "<details><summary>Clip 2</summary>" in second["html"]
    assert '<details open="open"><summary>Clip 1</summary>' in first["html"]
    data = with_player(build_task("p1", ["/a.jpg"], ["f1"], clips=clips), clips[0], 29.97)["data"]
    assert data["player"] == [{"url": clips[0], "fps": "299.7"}]
    assert "<details><summary>Clip 1 in the browser's player</summary>" in data["clips"][0]["html"]
    assert data["clips"][1] == second


def test_a_caption_has_the_task_and_the_time_in_a_line_each():
    task = with_captions(build_task("p1", ["/a.jpg", "/b.jpg"], ["f1", "f2"]), ["lip <\n2.5 s", "\n104.0 s"])
    assert [picture["html"] for picture in task["data"]["pictures"]] == [
        '<div class="vitau-small"><img src="/a.jpg" alt="1 lip &lt; 2.5 s"/><span>1 lip &lt;<br/>2.5 s</span></div>',
        '<div class="vitau-small"><img src="/b.jpg" alt="2 104.0 s"/><span>2<br/>104.0 s</span></div>',
    ]


def test_suggestions_are_shown_and_recorded_only_if_given():
    blind = build_task("p1", ["/a.jpg"], ["f1"])["data"]
    assert (blind["suggested"], blind["suggestions"], blind["suggested_by"]) == ("", None, None)
    suggested = build_task("p1", ["/a.jpg"], ["f1"], suggestions={AU.AU12: 0.834}, suggested_by="vitau-regions/3 <b>")["data"]
    assert (suggested["suggestions"], suggested["suggested_by"]) == ({"AU12": 0.834}, "vitau-regions/3 <b>")
    assert [text in suggested["suggested"] for text in ("Lip corner (AU12)", "0.83", "vitau-regions/3 &lt;b&gt;")] == [True] * 3
    assert "AU1)" not in suggested["suggested"]


BLOCK = MeasureBlock(version="v1", sections=(MeasureSection(summary=("Weaker: left.",), columns=(), groups=()),))


def test_measures_are_shown_below_the_suggestions_and_either_leaves_the_page_without_the_other():
    task = build_task("p1", ["/a.jpg"], ["f1"], suggestions={AU.AU12: 0.834}, suggested_by="vitau-regions/3")
    both = with_measures(task, BLOCK)["data"]
    scores, measures = task["data"]["suggested"], both["measures"]
    assert (both["suggested"], both["measures_version"]) == (scores + measures, "v1")
    assert "Weaker: left." in measures
    assert with_measures({"data": both}, None)["data"] == task["data"] | {"measures": "", "measures_version": None}
    assert without_measures(both) == task["data"] | {"measures": "", "measures_version": None}
    blind = without_suggestions(both)
    assert (blind["suggested"], blind["suggestions"], blind["suggested_by"]) == (measures, None, None)
    assert blind["measures_version"] == "v1"
    assert without_suggestions(task["data"])["suggested"] == "", "a task of an earlier version"
    assert with_measures({"data": both}, BLOCK)["data"] == both, "again"


def test_a_blind_reader_sees_no_measures_and_the_adjudicator_of_the_same_person_may():
    blind = build_task("p1", ["/a.jpg"], ["f1"])
    case = with_measures(build_adjudication_task(blind, [], [AU.AU12]), BLOCK)["data"]
    assert "Weaker:" in case["suggested"]
    assert "Weaker:" not in blind["data"]["suggested"]


def test_a_drawn_person_is_marked_as_synthetic():
    assert build_task("p1", ["/a.jpg"], ["f1"], synthetic=True)["data"]["about"] == "Drawn, synthetic person, pictures: 1"


def test_the_adjudicator_sees_each_readers_answer_without_its_markup():
    rows = [
        LedgerRow(
            subject="p1",
            au=au,
            reader=reader,
            stage=Stage.READER,
            affected={"A": au is AU.AU12, "B": None}[reader],
            side=Side.LEFT if reader == "A" else None,
            annotation="1",
            version="1",
            answered_at="1",
            note="<script>" if reader == "A" else None,
            grade=3 if reader == "A" else None,
        )
        for reader in "AB"
        for au in AUS
    ]
    blind = build_task("p1", ["/a.jpg"], ["f1"])
    task = build_adjudication_task(blind, rows, [AU.AU12], suggestions={AU.AU12: -0.5}, suggested_by="vitau-regions/3")
    assert task["data"]["subject"] == "p1"
    lines = [line for line in task["data"]["answers"].split("<tr") if "Lip corner (AU12)" in line]
    assert [text in lines[0] for text in ("affected", "cannot tell", "background")] == [True] * 3
    assert "&lt;script&gt;" in task["data"]["answers"]
    assert "<script>" not in task["data"]["answers"]
    (grades,) = [line for line in task["data"]["answers"].split("<tr") if "House–Brackmann" in line]
    assert re.findall(r">([^<]+)</td>", grades) == ["House–Brackmann grade", "III", "–"]
    assert (task["data"]["suggestions"], task["data"]["suggested_by"]) == ({"AU12": -0.5}, "vitau-regions/3")
    assert "-0.50" in task["data"]["suggested"]
    assert blind["data"]["suggestions"] is None


def test_named_frames_come_first_even_if_they_are_blurred():
    landmarks, _ = clip()
    sharpness = np.ones(len(landmarks))
    sharpness[[9, 2]] = 0.0
    chosen = choose_key_frames(landmarks, {"sharpness": sharpness}, count=4, named=[9, 2])
    assert (chosen[:2], len(set(chosen))) == ([9, 2], 4)
    landmarks[9] = np.nan
    assert choose_key_frames(landmarks, {}, count=4, named=[9, 2])[0] == 2


def test_captions_are_numbered_and_escaped():
    task = with_captions(build_task("p1", ["/a.jpg", "/b.jpg"], ["f1", "f2"]), ["rest 0.0 s", "<smile>"])
    assert [picture["html"].partition("<span>")[2] for picture in task["data"]["pictures"]] == [
        "1 rest 0.0 s</span></div>",
        "2 &lt;smile&gt;</span></div>",
    ]
