"""The reader's guide as Label Studio shows it: what to look at, where each region is, which keys; its pictures come along."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from labeling.interface.hotkeys import AFFECTED_KEYS, EVIDENCE_KEYS, FRAME_KEYS, GRADE_KEYS, SIDE_KEYS, UNCLEAR_KEYS
from vitau.schema import AU, AUS, REGION_NAMES

LOOK_AT: Final[Mapping[AU, str]] = {
    AU.AU1: "lines above the inner brow when it is raised",
    AU.AU2: "the outer brow: does it rise, does it droop?",
    AU.AU4: "the frown",
    AU.AU6: "eye closure, the cheek in a smile",
    AU.AU9: "the wing of the nose and the fold beside it in a snarl",
    AU.AU12: "the corner in a smile",
    AU.AU25: "lips parting, puckering",
    AU.AU26: "the jaw and chin when the mouth opens",
}
"""What shows whether a region is affected."""


def picture() -> str:
    """The picture of the regions as an address that needs no server: ``data:image/webp;base64,…``."""
    return f"data:image/webp;base64,{base64.b64encode(Path(__file__).with_name('regions.webp').read_bytes()).decode()}"


PICTURE_STYLE: Final = f"""
.vitau-map {{ width: 300px; aspect-ratio: 1; border-radius: 6px; background: url({picture()}) center / cover; }}
"""
"""A background, because Label Studio strikes such addresses out of HTML; the page's style also holds in the guide above it."""

REGIONS_PICTURE: Final = (
    '<div class="vitau-map" role="img" aria-label="A drawn face with the regions numbered 1 to 8, as their keys are"></div>'
)


def instruction() -> str:
    """The guide behind the page's instruction button, HTML, whole: it needs neither a server nor the repository."""
    rows = "".join(
        f"<tr><td><b>{AFFECTED_KEYS[au]}</b></td><td>{REGION_NAMES[au]} ({au})</td><td>{LOOK_AT[au]}</td>"
        f"<td>{UNCLEAR_KEYS[au]}</td><td>{EVIDENCE_KEYS[au]}</td></tr>"
        for au in AUS
    )
    return (
        "<p>One person, several pictures. Say once for the person which regions of the face the palsy affects, and on which "
        "side. Left and right are <b>the person's own</b>. No region and side “none” is a full answer. "
        "Mark a picture as unusable if it should not be learned from. Grade, note and boxes are optional.</p>"
        f"{REGIONS_PICTURE}"
        "<table><tr><th>key</th><th>region</th><th>what to look at</th><th>cannot tell</th><th>box</th></tr>"
        f"{rows}</table>"
        f"<p>Side: {_keys(SIDE_KEYS)}. Grade: {_keys(GRADE_KEYS)}. This picture: {_keys(FRAME_KEYS)}.</p>"
        "<p>Space shows the next picture, Shift+Tab or Ctrl+← the one before; Shift+Space or Ctrl+Enter submits. "
        "(An account that was made by hand has Ctrl+→, Ctrl+← and Ctrl+Enter.) Shift+Enter ends the note; keys rest until "
        "then. The picture above is drawn; it shows nobody.</p>"
    )


def _keys(keys: Mapping[str, str] | Mapping[int, str]) -> str:
    return ", ".join(f"{key} {name}" for name, key in keys.items())
