"""Hotkeys are unique, do not collide with Label Studio's, and a typical answer needs few of them."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.interface.answer import Answer, to_result
from labeling.interface.config import label_config
from labeling.interface.hotkeys import FRAME_BACK_KEY, FRAME_ON_KEY, NEXT_KEYS, PLAY_KEYS, PREVIOUS_KEYS, SUBMIT_KEYS
from tests.labeling.interface.key_presses import key_presses
from vitau.schema import AU, AUS, Side

# Label Studio 1.23.2: the keymap of its editor and of its data manager, read from its front end; a tool's H is the plain key h
KEYMAP = """
ctrl+b ctrl+p alt+a alt+d left right alt+left alt+right shift+left shift+right shift+alt+left shift+alt+right ctrl+enter
ctrl+space ctrl+z ctrl+shift+z ctrl+backspace enter alt+r alt+h ctrl+h alt+l alt+m u escape backspace alt+. ctrl+d delete
ctrl+alt+space ctrl+alt+left ctrl+alt+right shift+ctrl+alt+left shift+ctrl+alt+right ctrl+left ctrl+right ctrl+plus h shift+1
shift+2 ctrl+minus o e m k w p r shift+r v b [ ] ctrl+down ctrl+up ctrl+shift+a shift+up shift+down shift+.
"""
LABEL_STUDIO = frozenset(KEYMAP.split())


def keys(config: str) -> list[str]:
    page = ET.fromstring(config)  # noqa: S314 — our own text
    return [element.get("hotkey") for kind in ("Choice", "Label") for element in page.iter(kind)]


@pytest.mark.parametrize(("adjudication", "severity"), [(False, False), (True, False), (False, True)])
def test_no_two_choices_share_a_key_and_none_is_label_studios(adjudication, severity):
    ours = keys(label_config(adjudication=adjudication, severity=severity))
    assert len(ours) == 8 + 8 + 8 + 4 + 6 + 2 + 8 + severity * 8 * (3 + 2)
    assert None not in ours
    assert len(set(ours)) == len(ours)
    assert not set(ours) & LABEL_STUDIO


def test_submitting_paging_and_playing_have_a_default_key_and_a_unique_second_one():
    asked = keys(label_config(severity=True))
    pairs = (SUBMIT_KEYS, NEXT_KEYS, PREVIOUS_KEYS, PLAY_KEYS)
    ours = [key for pair in pairs for key in pair] + [FRAME_BACK_KEY, FRAME_ON_KEY]
    assert len(set(ours)) == len(ours)
    assert not set(ours) & set(asked)
    assert [pair[0] in LABEL_STUDIO for pair in pairs] == [True] * 4
    assert [pair[1] in LABEL_STUDIO for pair in pairs] == [False] * 4
    assert {FRAME_BACK_KEY, FRAME_ON_KEY} < LABEL_STUDIO


def answer_of(*regions: AU, side: Side | None = None, **more: object) -> Answer:
    return Answer(affected={au: au in regions for au in AUS}, side=side, **more)


def test_a_typical_palsy_needs_seven_presses():
    typical = answer_of(AU.AU1, AU.AU2, AU.AU6, AU.AU12, AU.AU25, side=Side.LEFT)
    pressed = key_presses(label_config(), to_result(typical))
    assert pressed == ["1", "2", "4", "6", "7", "z", "ctrl+enter"]
    assert sum(len(re.split(r"\+", chord)) for chord in pressed) == 8  # the fingers that go down, each key of a chord counted
    assert len(pressed) <= 12


@given(st.fixed_dictionaries({au: st.sampled_from([True, False, None]) for au in AUS}), st.sampled_from([None, 1, 6]))
def test_every_answer_can_be_entered_by_key(affected, grade):
    side = Side.RIGHT if any(affected.values()) else None
    answer = Answer(affected=affected, side=side, grade=grade)
    pressed = key_presses(label_config(), to_result(answer))
    assert len(pressed) == sum(choice is not False for choice in affected.values()) + 2 + (grade is not None)


def test_a_choice_without_a_hotkey_is_an_error():
    with pytest.raises(ValueError, match="no key on the page chooses AU7 of regions"):
        key_presses(label_config(), [{"from_name": "regions", "value": {"choices": ["AU7"]}}])
