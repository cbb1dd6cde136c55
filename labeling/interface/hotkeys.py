"""Hotkeys of the labeling page, none of which Label Studio uses itself.

Affected regions have the numbers of the picture of the regions; the number pad works too. "Cannot tell" is Shift with the row
of ``a``, "not affected" Shift with the row of ``z`` and ``l``, a mark Shift with the row of ``q`` without ``r``. All are in
the order of the regions. The keys for side, grade and unusable pictures are under the left hand.
"""

from typing import Final

from vitau.schema import AUS

AFFECTED_KEYS: Final = dict(zip(AUS, "12345678", strict=True))
UNCLEAR_KEYS: Final = dict(zip(AUS, (f"shift+{key}" for key in "asdfghjk"), strict=True))
UNAFFECTED_KEYS: Final = dict(zip(AUS, (f"shift+{key}" for key in "zxcvbnml"), strict=True))
MARK_KEYS: Final = dict(zip(AUS, (f"shift+{key}" for key in "qwetyuio"), strict=True))
SIDE_KEYS: Final = {"left": "z", "right": "x", "both": "c", "none": "n"}
GRADE_KEYS: Final = dict(zip(range(1, 7), "asdfgj", strict=True))
FRAME_KEYS: Final = {"usable": "y", "unusable": "t"}

SPARE_KEYS: Final = tuple(
    tuple(f"{held}+{key}" for key in row)
    for held in ("alt+shift", "ctrl+alt+shift")
    for row in ("12345678", "qwertyui", "asdfghjk")
)
"""Keys of severity and synkinesis, by list and region. Without them, Label Studio would assign single letters."""

SUBMIT_KEYS: Final = ("ctrl+enter", "shift+space")
NEXT_KEYS: Final = ("ctrl+right", "space")
PREVIOUS_KEYS: Final = ("ctrl+left", "shift+tab")
PLAY_KEYS: Final = ("ctrl+alt+space", "alt+up")
"""Label Studio's default key, then the key for the left hand, which ``labeling.label_studio.accounts`` sets."""

FRAME_BACK_KEY: Final = "alt+left"
FRAME_ON_KEY: Final = "alt+right"
"""Label Studio's keys for the frame before and the frame after in the clip."""
