"""The labeling guide on the page: what to look at, where each region is, and the hotkeys; pictures are embedded."""

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from labeling.interface.hotkeys import (
    AFFECTED_KEYS,
    FRAME_KEYS,
    GRADE_KEYS,
    MARK_KEYS,
    SIDE_KEYS,
    UNAFFECTED_KEYS,
    UNCLEAR_KEYS,
)
from vitau.schema import AU, AUS, REGION_NAMES

LOOK_AT: Final[Mapping[AU, str]] = {
    AU.AU1: "lines above the inner brow when it is raised",
    AU.AU2: "the outer brow: does it rise, does it droop?",
    AU.AU4: "lines between the brows in a snarl: does one brow come down less?",
    AU.AU6: "eye closure, the cheek in a smile",
    AU.AU9: "the wing of the nose and the fold beside it in a snarl",
    AU.AU12: "the corner in a smile",
    AU.AU25: "lips parting, puckering",
    AU.AU26: "the jaw and chin when the mouth opens",
}
"""Region → the signs that it is affected. Part of the page's configuration: see ``label_config`` before a change."""

GRADE_DEFINITIONS: Final[Mapping[int, str]] = {
    1: "normal: all parts of the face move normally",
    2: "mild: weak only on close inspection; even at rest; the eye closes with little effort; forehead moderate to good",
    3: "moderate: an obvious difference that does not disfigure; the eye closes with effort; forehead slight to moderate",
    4: "moderately severe: disfiguring when moving, even at rest; the eye does not close completely; no forehead movement",
    5: "severe: hardly any movement; uneven at rest; the eye does not close completely; no forehead movement",
    6: "total: no movement",
}
"""Grade → its definition in short: House and Brackmann, Otolaryngol Head Neck Surg 1985, 93: 146–147."""

SEVERITY_DEFINITIONS: Final = (
    "slight: seen only beside the other side",
    "clear: moves less than the other side, seen at once",
    "no movement",
)
"""Definition of each severity of an affected region, 0 to 2."""


def picture() -> str:
    """Return the picture of the regions as a data URL: ``data:image/webp;base64,…``."""
    return f"data:image/webp;base64,{base64.b64encode(Path(__file__).with_name('regions.webp').read_bytes()).decode()}"


MARK_COLORS: Final[Mapping[AU, str]] = dict(
    zip(AUS, ("#f0c83c", "#5ac8f0", "#fa825a", "#8cdc78", "#e678dc", "#ffeb8c", "#5a8cfa", "#c8c8c8"), strict=True)
)
"""Region → the color of its boxes, which it also has in the picture of the regions."""

THEIR_SIDES: Final = '<div class="vitau-their"><span>their right ◂</span><span>▸ their left</span></div>'
"""The person's own sides, above a picture: their right is at its left."""

PICTURE_STYLE: Final = f"""
.vitau-map {{ width: 300px; aspect-ratio: 1; border-radius: 6px; background: url({picture()}) center / cover; }}
"""
"""A background, because Label Studio removes data URLs from HTML. The guide uses the page's style too."""

REGIONS_PICTURE: Final = (
    '<div class="vitau-map" role="img" aria-label="A drawn face with the regions numbered 1 to 8, as their keys are"></div>'
)


def instruction() -> str:
    """Build the guide, HTML without external resources."""
    rows = "".join(
        f"<tr><td><b>{AFFECTED_KEYS[au]}</b></td><td>{REGION_NAMES[au]} ({au})</td><td>{LOOK_AT[au]}</td>"
        f"<td>{UNAFFECTED_KEYS[au]}</td><td>{UNCLEAR_KEYS[au]}</td><td>{MARK_KEYS[au]}</td></tr>"
        for au in AUS
    )
    return (
        "<p>The page shows one person in several pictures. Answer once for the person: which regions of the face does the "
        "palsy affect, and on which side? Left and right are <b>the person's own</b>. A region that you leave blank is not "
        "affected. If none is, press n (none affected); that is a complete answer. A red line shows what contradicts itself. "
        "Mark a picture as unusable if a model should not learn from it. Grade, note and boxes are optional. So are severity "
        "and synkinesis (a region moves along with another one), if the page asks for them.</p>"
        f"{THEIR_SIDES}{REGIONS_PICTURE}"
        "<table><tr><th>key</th><th>region</th><th>what to look at</th><th>not affected</th><th>cannot tell</th><th>box</th>"
        f"</tr>{rows}</table>"
        f"<p>Severity: {_listed(enumerate(SEVERITY_DEFINITIONS))}. Grade: {_listed(GRADE_DEFINITIONS.items())}.</p>"
        f"<p>Side: {_keys(SIDE_KEYS)}. Grade: {_keys(GRADE_KEYS)}. This picture: {_keys(FRAME_KEYS)}.</p>"
        "<p>Space shows the next picture, Shift+Tab or Ctrl+← the previous one. Shift+Space or Ctrl+Enter submits the answer. "
        "In the clip, Alt+↑ plays and pauses, Alt+→ shows the next frame and Alt+← the one before; the wheel ⚙ slows it down. "
        "(An account that was created by hand has only Ctrl+→, Ctrl+←, Ctrl+Enter and Ctrl+Alt+Space.) While you write a note, "
        "the other keys do nothing; Shift+Enter ends the note. The picture above is a drawing, not a real person.</p>"
    )


def _listed(definitions: Iterable[tuple[int, str]]) -> str:
    return "; ".join(f"{number} {text.replace(';', ',')}" for number, text in definitions)


def _keys(keys: Mapping[str, str] | Mapping[int, str]) -> str:
    return ", ".join(f"{key} {name}" for name, key in keys.items())
