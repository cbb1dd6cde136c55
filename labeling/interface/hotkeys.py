"""The keys of the labelling page, none of which Label Studio uses itself, and what an answer costs in key presses.

The affected regions are numbered as in the picture of the regions (and work on the number pad); "cannot tell" is Shift with
the row of ``a``, evidence is Shift with the row of ``q`` without ``r``, both in the order of the regions. Side, grade and the
picture's fate lie under the left hand.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from xml.etree import ElementTree as ET

from vitau.schema import AUS

AFFECTED_KEYS: Final = dict(zip(AUS, "12345678", strict=True))
UNCLEAR_KEYS: Final = dict(zip(AUS, (f"shift+{key}" for key in "asdfghjk"), strict=True))
EVIDENCE_KEYS: Final = dict(zip(AUS, (f"shift+{key}" for key in "qwetyuio"), strict=True))
SIDE_KEYS: Final = {"left": "z", "right": "x", "both": "c", "none": "n"}
GRADE_KEYS: Final = dict(zip(range(1, 7), "asdfgj", strict=True))
FRAME_KEYS: Final = {"usable": "y", "unusable": "t"}

SUBMIT_KEYS: Final = ("ctrl+enter", "shift+space")
NEXT_KEYS: Final = ("ctrl+right", "space")
PREVIOUS_KEYS: Final = ("ctrl+left", "shift+tab")
"""Label Studio's own, which every account has, and the one for the left hand, which `labeling.label_studio.accounts` gives."""


def key_presses(config: str, result: Iterable[Mapping[str, Any]]) -> list[str]:
    """What a reader presses on the page of ``config`` to answer ``result``, the submission included; a chord is one press.

    Pictures are not paged: only what is chosen by key and belongs to no single picture is counted.

    Raises:
        ValueError: a choice that the page does not offer by key.
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
