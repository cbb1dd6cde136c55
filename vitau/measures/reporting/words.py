"""Names and numbers of measures for people: short labels, units, and formats."""

from collections.abc import Mapping
from typing import Final

from vitau.measures.results import Measure, Task
from vitau.schema import Side

MEASURE_WORDS: Final[Mapping[str, str]] = {
    "brow_height": "brow height",
    "lid_gap": "lid gap",
    "upper_margin_reflex": "upper margin reflex distance",
    "lower_margin_reflex": "lower margin reflex distance",
    "nasal_wing_height": "height of the nasal wing",
    "lip_corner_height": "height of the lip corner",
    "lip_corner_lateral": "lateral position of the lip corner",
    "upper_lip_height": "height of the upper lip",
    "lower_lip_height": "height of the lower lip",
    "philtrum_deviation": "deviation of the philtrum",
    "mouth_opening": "gap between the lips",
    "dental_show": "dental show",
    "chin_height": "height of the chin",
}
SHORT_TASKS: Final[Mapping[Task, str]] = {
    Task.REST: "rest",
    Task.BROW_RAISE: "brows",
    Task.EYE_CLOSURE: "eyes",
    Task.EYE_CLOSURE_TIGHT: "eyes tight",
    Task.SNARL: "nose",
    Task.SMILE: "smile",
    Task.LIP_PUCKER: "pucker",
    Task.LOWER_TEETH: "teeth",
    Task.JAW_OPENING: "jaw",
}
"""Exercises where there is little space."""
MAIN_MEASURES: Final[Mapping[Task, str]] = {
    Task.REST: "lip_corner_height",
    Task.BROW_RAISE: "brow_height",
    Task.EYE_CLOSURE: "lid_gap",
    Task.EYE_CLOSURE_TIGHT: "lid_gap",
    Task.SNARL: "nasal_wing_height",
    Task.SMILE: "lip_corner_height",
    Task.LIP_PUCKER: "lip_corner_lateral",
    Task.LOWER_TEETH: "lower_lip_height",
    Task.JAW_OPENING: "lower_lip_height",
}
"""The measure that shows an exercise best in one curve."""
RIGHT_RGB: Final = (240, 128, 60)
LEFT_RGB: Final = (86, 156, 240)
"""Colors of the person's two sides in pictures, as in the pages and in the drawing of the documents."""
SIDE_COLORS: Final = {Side.RIGHT: RIGHT_RGB, Side.LEFT: LEFT_RGB}
STATEMENT: Final = "For research only. Not a medical device."
NOT_MEASURED: Final = "–"


def measure_words(name: str) -> str:
    """Return the label of a measure."""
    return MEASURE_WORDS.get(name, name.replace("_", " "))


def number(value: float | None, digits: int = 3) -> str:
    """Format a number with a minus sign instead of a hyphen, or a dash if there is none."""
    if value is None:
        return NOT_MEASURED
    text = f"{value:.{digits}f}"
    return (text[1:] if float(text) == 0 else text).replace("-", "−") if text.startswith("-") else text


def signed(value: float | None, digits: int = 3) -> str:
    """Format a change with its sign; one that rounds to 0 has none."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 and float(f"{value:.{digits}f}") else text


def percent(share: float | None) -> str:
    """Format a share of 1 as a percentage that does not break over two lines."""
    return NOT_MEASURED if share is None else f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def span(start_s: float | None, end_s: float | None) -> str:
    """Format a time range in s."""
    return NOT_MEASURED if start_s is None or end_s is None else f"{start_s:.1f}–{end_s:.1f}\N{NO-BREAK SPACE}s"


def exceeds(measure: Measure) -> bool:
    """Return whether the sides differ by more than the smallest detectable change."""
    return (
        measure.difference is not None
        and measure.smallest_detectable_change is not None
        and abs(measure.difference) > measure.smallest_detectable_change
    )
