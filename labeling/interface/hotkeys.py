"""Hotkeys of the labeling page, none of which Label Studio uses itself, and the key presses of an answer.

Affected regions have the numbers of the picture of the regions; the number pad works too. "Cannot tell" is Shift with the
row of ``a``, and a mark is Shift with the row of ``q`` without ``r``, both in the order of the regions. The keys for side,
grade and unusable pictures are under the left hand.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from xml.etree import ElementTree as ET

from vitau.schema import AUS

AFFECTED_KEYS: Final = dict(zip(AUS, "12345678", strict=True))
UNCLEAR_KEYS: Final = dict(zip(AUS, (f"shift+{key}" for key in "asdfghjk"), strict=True))
MARK_KEYS: Final = dict(zip(AUS, (f"shift+{key}" for key in "qwetyuio"), strict=True))
SIDE_KEYS: Final = {"left": "z", "right": "x", "both": "c", "none": "n"}
GRADE_KEYS: Final = dict(zip(range(1, 7), "asdfgj", strict=True))
FRAME_KEYS: Final = {"usable": "y", "unusable": "t"}

SUBMIT_KEYS: Final = ("ctrl+enter", "shift+space")
NEXT_KEYS: Final = ("ctrl+right", "space")
PREVIOUS_KEYS: Final = ("ctrl+left", "shift+tab")
"""Label Studio's default key, then the key for the left hand, which ``labeling.label_studio.accounts`` sets."""


def key_presses(config: str, result: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the keys that enter ``result`` on the page of ``config`` and submit it; a chord is one press.

    Only choices about the whole person are counted, not those about single pictures.

    Raises:
        ValueError: a choice has no hotkey on the page.
    """
    page = ET.fromstring(config)  # noqa: S314 — our own text
    keys = {
        (choices.get("name"), choice.get("alias")): choice.get("hotkey")
        for choices in page.iter("Choices")
        for choice in choices.iter("Choice")
    }
    pressed = []
    for region in result:
        for choice in region["value"].get("choices", ()):
            if (key := keys.get((region["from_name"], choice))) is None:
                raise ValueError(f"no key on the page chooses {choice} of {region['from_name']}")
            pressed.append(key)
    return [*pressed, SUBMIT_KEYS[0]]
