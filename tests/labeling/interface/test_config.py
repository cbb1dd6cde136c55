"""The page has each question once, and a stored answer is parsed back unchanged."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.interface.answer import SEVERITIES, SYNKINESES, Answer, from_result, to_result
from labeling.interface.config import INSTRUCTION, is_ours, label_config
from labeling.interface.guide import GRADE_DEFINITIONS
from labeling.interface.hotkeys import AFFECTED_KEYS, MARK_KEYS, UNCLEAR_KEYS
from vitau.errors import LabelingError
from vitau.schema import AU, AUS, Side, Stage


@st.composite
def boxes(draw: st.DrawFn) -> tuple[int, float, float, float, float]:
    """Draw a box within a picture, in millionths of it."""
    left, top = draw(st.integers(0, 999_999)), draw(st.integers(0, 999_999))
    width, height = draw(st.integers(1, 1_000_000 - left)), draw(st.integers(1, 1_000_000 - top))
    index = draw(st.integers(0, 5))
    return (index, left / 1e6, top / 1e6, width / 1e6, height / 1e6)


def draw_some(draw, regions, values):
    return {au: value for au in regions if (value := draw(st.none() | values)) is not None}


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    affected = {au: draw(st.sampled_from([True, False, None])) for au in AUS}
    marks = draw(st.dictionaries(st.sampled_from(list(AUS)), st.lists(boxes(), min_size=1, max_size=3).map(tuple), max_size=3))
    return Answer(
        affected=affected,
        side=draw(st.sampled_from(list(Side))) if any(affected.values()) else None,
        unusable=draw(st.frozensets(st.integers(0, 5))),
        note=draw(st.none() | st.text(min_size=1)),
        grade=draw(st.none() | st.integers(1, 6)),
        severity=draw_some(draw, [au for au in AUS if affected[au]], st.integers(0, 2)),
        synkinesis=draw_some(draw, AUS, st.booleans()),
        marks=marks,
    )


@given(answers())
def test_an_answer_survives_the_round_trip(answer):
    assert from_result(json.loads(json.dumps(to_result(answer))), num_pictures=6) == answer


@pytest.mark.parametrize("severity", [False, True])
@pytest.mark.parametrize("adjudication", [False, True])
def test_stored_choices_are_the_codes_of_regions_sides_and_grades(adjudication, severity):
    page = ET.fromstring(label_config(adjudication=adjudication, severity=severity))  # noqa: S314 — our own text
    aliases = {
        choices.get("name"): [choice.get("alias") for choice in choices.iter("Choice")] for choices in page.iter("Choices")
    }
    assert aliases["regions"] == aliases["unaffected"] == aliases["unclear"] == list(AUS)
    assert aliases["side"] == [*Side, "none"]
    assert aliases["grade"] == list("123456")
    asked = {name: listed for name, listed in aliases.items() if name in {*SEVERITIES, *SYNKINESES}}
    assert asked == ({name: list(AUS) for name in (*SEVERITIES, *SYNKINESES)} if severity else {})
    assert [label.get("value") for label in page.iter("Label")] == list(AUS)
    assert "Forehead, inner brow (AU1)" in [choice.get("value") for choice in page.iter("Choice")]


def test_the_picture_of_the_regions_is_embedded_and_small():
    address = re.search(r"url\((data:image/webp;base64,[^)]+)\)", label_config())
    assert address
    assert len(address[1]) < 40_000
    assert base64.b64decode(address[1].partition(",")[2])[8:12] == b"WEBP"


def test_each_grade_and_each_severity_has_its_definition_on_hover():
    page = ET.fromstring(label_config(severity=True))  # noqa: S314 — our own text
    hints = {choices.get("name"): [choice.get("hint") for choice in choices] for choices in page.iter("Choices")}
    assert hints["grade"] == list(GRADE_DEFINITIONS.values())
    assert hints["severity-2"][0] == "Forehead, inner brow (AU1): severity 2, no movement"


@pytest.mark.parametrize(("adjudication", "severity"), [(False, False), (True, False), (False, True)])
def test_a_page_is_recognized_until_it_is_changed_by_hand(adjudication, severity):
    """``ensure_project`` replaces the pages of earlier versions, and refuses one that an operator changed."""
    page = label_config(adjudication=adjudication, severity=severity)
    assert is_ours(page)
    assert is_ours(page.replace("><", ">\n<")), "Label Studio may keep other spaces"
    assert not is_ours(page.replace("Affected", "Palsied", 1))
    assert not is_ours(re.sub("vitau-page-.", "vitau-page-g", page))


def test_the_page_before_pages_had_a_version_is_recognized():
    assert is_ours(Path(__file__).with_name("earlier_page.xml").read_text())


def test_every_list_of_earlier_pages_is_still_there():
    """Label Studio refuses a page without a list in which an answer was given."""
    page = ET.fromstring(label_config())  # noqa: S314 — our own text
    names = {(kind, element.get("name")) for kind in ("Choices", "TextArea", "RectangleLabels") for element in page.iter(kind)}
    lists = ("frame", "regions", "unclear", "side", "grade")
    assert {*(("Choices", name) for name in lists), ("TextArea", "note"), ("RectangleLabels", "evidence")} <= names


@given(answers(), st.frozensets(st.sampled_from(list(AUS))), st.sampled_from(list(Side)))
def test_a_ruling_survives_the_round_trip_and_settles_nothing_else(answer, settled, side):
    affected = {au: state for au, state in answer.affected.items() if au in settled}
    severity = {au: level for au, level in answer.severity.items() if au in settled}
    ruling = replace(answer, affected=affected, severity=severity, side=side if any(affected.values()) else None)
    given = to_result(ruling, explicit=True)
    assert from_result(given, num_pictures=6, stage=Stage.ADJUDICATION, asked=settled) == ruling


def test_a_blank_region_is_no_ruling_unless_it_is_to_be_settled_and_none_is_affected():
    given = result(regions=["AU12"], side=["left"])
    assert from_result(given, stage=Stage.ADJUDICATION).affected == {AU.AU12: True}
    assert from_result(result(side=["none"]), stage=Stage.ADJUDICATION, asked=[AU.AU9]).affected == {AU.AU9: False}
    with pytest.raises(LabelingError, match="to be settled and left blank: AU9, AU25; choose “affected”, “not affected” or"):
        from_result(given, stage=Stage.ADJUDICATION, asked=[AU.AU25, AU.AU9, AU.AU12])


def test_the_adjudicator_may_settle_the_side_alone():
    answer = from_result(result(unaffected=["AU12"], side=["left"]), stage=Stage.ADJUDICATION, asked=[AU.AU12])
    assert (answer.affected, answer.side) == ({AU.AU12: False}, Side.LEFT)


def test_the_guide_on_the_page_names_every_key():
    cells = re.findall(r"<td>(?:<b>)?([^<]+)", INSTRUCTION)
    for au in AUS:
        assert [key for key in (AFFECTED_KEYS[au], UNCLEAR_KEYS[au], MARK_KEYS[au]) if key not in cells] == [], au


def test_only_the_adjudicator_sees_answers():
    assert "$answers" in label_config(adjudication=True)
    assert "$answers" not in label_config()


def result(**chosen: list[str]) -> list[dict[str, object]]:
    return [{"from_name": name, "type": "choices", "value": {"choices": choices}} for name, choices in chosen.items()]


def test_no_region_and_no_side_is_a_complete_answer():
    answer = from_result(result(side=["none"]))
    assert not any(answer.affected.values())
    assert answer.side is None


def test_a_side_without_an_affected_region_is_dropped():
    answer = from_result(result(unclear=["AU6"], side=["left"]))
    assert (answer.affected[AU.AU6], answer.side) == (None, None)


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (
            {"regions": ["AU1", "AU7"], "side": ["left"]},
            "unknown region AU7; the regions are AU1, AU2, AU4, AU6, AU9, AU12, AU25, AU26",
        ),
        ({"regions": ["AU1"]}, "the side is not answered; it must be one of left, right, both, none"),
        ({"regions": ["AU1"], "side": ["up"]}, "the side is up; it must be one of left, right, both, none"),
        (
            {"regions": ["AU12", "AU1"], "unclear": ["AU12"], "side": ["left"]},
            "AU12 are answered both “affected” and “cannot tell”; choose one of them",
        ),
        (
            {"regions": ["AU12", "AU1"], "side": ["none"]},
            "AU1, AU12 are answered “affected” but the side is “none”; correct one of them",
        ),
        (
            {"regions": ["AU1"], "unaffected": ["AU1", "AU2"], "side": ["left"]},
            "AU1 are answered both “affected” and “not affected”; choose one of them",
        ),
        (
            {"regions": ["AU1"], "side": ["left"], "severity-1": ["AU12", "AU1"]},
            "AU12 have a severity but are not “affected”; correct one of them",
        ),
        (
            {"regions": ["AU1"], "side": ["left"], "severity-0": ["AU1"], "severity-2": ["AU1"]},
            "AU1 are answered both “severity 0” and “severity 2”; choose one of them",
        ),
        (
            {"side": ["none"], "synkinesis": ["AU1"], "no-synkinesis": ["AU1"]},
            "AU1 are answered both “synkinesis” and “no synkinesis”; choose one of them",
        ),
        ({"side": ["left"]}, "the side is “left” but no region is affected; correct one of them"),
        (
            {"side": ["none"], "grade": ["7"]},
            "the House–Brackmann grade is 7; it must be one of 1, 2, 3, 4, 5, 6, or none",
        ),
        (
            {"side": ["none"], "grade": ["1", "2"]},
            "the House–Brackmann grade is 1, 2; it must be one of 1, 2, 3, 4, 5, 6, or none",
        ),
    ],
)
def test_a_contradictory_answer_is_refused_with_a_sentence(chosen, sentence):
    with pytest.raises(LabelingError) as caught:
        from_result(result(**chosen))
    assert str(caught.value) == sentence


def box(
    au: str = "AU1", index: int = 0, x: float = 10.0, y: float | None = 10.0, width: float = 20.0
) -> list[dict[str, object]]:
    place = {"x": x, "y": y, "width": width, "height": 20.0, "rectanglelabels": [au]}
    return [*result(side=["none"]), {"from_name": "evidence", "item_index": index, "value": place}]


@pytest.mark.parametrize(
    ("drawn", "sentence"),
    [
        (box(index=6), "a box of AU1 is on picture 7, and 6 were shown; answer the task again in Label Studio"),
        (box(index=-1), "a box of AU1 is on picture 0, and 6 were shown; answer the task again in Label Studio"),
        (box("AU7"), "unknown region AU7; the regions are AU1, AU2, AU4, AU6, AU9, AU12, AU25, AU26"),
        (box(x=90.0), "a box of AU1 does not lie on picture 1; draw it again in Label Studio"),
        (box(width=0.0), "a box of AU1 does not lie on picture 1; draw it again in Label Studio"),
        (box(y=None), "a box of AU1 does not lie on picture 1; draw it again in Label Studio"),
        (box(y=float("nan")), "a box of AU1 does not lie on picture 1; draw it again in Label Studio"),
        (box(width=float("nan")), "a box of AU1 does not lie on picture 1; draw it again in Label Studio"),
        (
            [*result(side=["none"]), {"from_name": "frame", "item_index": 6, "value": {"choices": ["unusable"]}}],
            "“unusable” is on picture 7, and 6 were shown; answer the task again in Label Studio",
        ),
    ],
)
def test_a_mark_outside_the_pictures_is_refused_with_a_sentence(drawn, sentence):
    with pytest.raises(LabelingError) as caught:
        from_result(drawn, num_pictures=6)
    assert str(caught.value) == sentence


def test_a_box_is_stored_as_fractions_of_its_picture():
    answer = from_result(box("AU12", index=3, x=33.3333333, width=66.6666667))
    assert answer.marks == {AU.AU12: ((3, 0.333333, 0.1, 0.666667, 0.2),)}
