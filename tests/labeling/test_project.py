"""The page asks everything once, and what it stores is read back as it was said."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.project import Answer, from_result, label_config, to_result
from vitau.errors import LabelingError
from vitau.schema import AU, AUS, Side


@st.composite
def said(draw: st.DrawFn) -> Answer:
    affected = {au: draw(st.sampled_from([True, False, None])) for au in AUS}
    side = draw(st.sampled_from(list(Side))) if any(affected.values()) else None
    note = draw(st.none() | st.text(min_size=1))
    return Answer(affected=affected, side=side, unusable=draw(st.frozensets(st.integers(0, 5))), note=note)


@given(said())
def test_an_answer_survives_the_round_trip(answer):
    assert from_result(to_result(answer)) == answer


@pytest.mark.parametrize("adjudication", [False, True])
def test_every_region_has_a_name_and_a_key_of_its_own(adjudication):
    page = ET.fromstring(label_config(adjudication=adjudication))  # noqa: S314 — our own text
    aliases = {
        choices.get("name"): [choice.get("alias") for choice in choices.iter("Choice")] for choices in page.iter("Choices")
    }
    assert aliases["regions"] == aliases["unclear"] == list(AUS)
    assert aliases["side"] == [*Side, "none"]
    keys = [choice.get("hotkey") for choice in page.iter("Choice")]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert "Forehead, inner brow (AU1)" in [choice.get("value") for choice in page.iter("Choice")]


def test_only_the_adjudicator_sees_answers():
    assert "$answers" in label_config(adjudication=True)
    assert "$answers" not in label_config()


def result(**chosen: list[str]) -> list[dict[str, object]]:
    return [{"from_name": name, "type": "choices", "value": {"choices": choices}} for name, choices in chosen.items()]


def test_no_region_and_no_side_is_a_full_answer():
    answer = from_result(result(side=["none"]))
    assert not any(answer.affected.values())
    assert answer.side is None


def test_a_side_without_a_region_that_is_surely_affected_is_not_kept():
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
            "AU12 are answered both “affected” and “cannot tell”; choose one of them in Label Studio",
        ),
        (
            {"regions": ["AU12", "AU1"], "side": ["none"]},
            "AU1, AU12 are answered “affected” but the side is “none”; correct one of them in Label Studio",
        ),
        ({"side": ["left"]}, "the side is “left” but no region is affected; correct one of them in Label Studio"),
    ],
)
def test_an_answer_that_contradicts_itself_is_refused_in_a_sentence(chosen, sentence):
    with pytest.raises(LabelingError) as caught:
        from_result(result(**chosen))
    assert str(caught.value) == sentence
