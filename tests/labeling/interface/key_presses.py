"""The key presses of an answer on the labeling page."""

from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from labeling.interface.hotkeys import SUBMIT_KEYS


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
