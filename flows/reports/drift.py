"""The monitoring report as one HTML page: what drifted, with the people before and now drawn one above the other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitau.evaluation.drift import ALPHA, LEAST_EFFECT, MIN_PEOPLE, People

MONITOR_PAGE: Final = "monitor.html"
BINS: Final = 24
WIDTH: Final = 240
HEIGHT: Final = 26


def page(facts: Mapping[str, Any], before: People, now: People, *, at: str) -> str:
    """Render the page, which needs nothing else; no pseudonym is on it.

    Args:
        facts: what was found, as it is kept: ``drifts``, ``promises`` and counts.
        before: the people the champion was taught or tested with.
        now: those who came since.
        at: of when it is.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    pictures = {
        (each["measure"], each["source"]): drawn(before, now, each["measure"], each["source"])
        for each in facts["drifts"]
        if each["kind"] == "number"
    }
    return environment.get_template("monitor.html.j2").render(
        facts=facts,
        pictures=pictures,
        at=at,
        alpha=ALPHA,
        min_people=MIN_PEOPLE,
        least_effect=LEAST_EFFECT["number"],
        width=WIDTH,
        height=HEIGHT,
        synthetic="synthetic" in {*before.source, *now.source},
        alarms=[each for each in facts["drifts"] if each["drifted"]],
        broken=[each for each in facts["promises"] if each["broken"]],
    )


def drawn(before: People, now: People, measure: str, source: str | None) -> dict[str, Any]:
    """Two histograms over the same range: their bars as (x, y, width, height) in px, and the ends of the range."""
    values = [
        people.numbers[measure][np.array([source in {None, each} for each in people.source], bool)] for people in (before, now)
    ]
    found = [each[~np.isnan(each)] for each in values]
    together = np.concatenate(found)
    low, high = float(together.min()), float(together.max())
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    return {"low": low, "high": high, "bars": [bars(np.histogram(each, edges)[0]) for each in found]}


def bars(counts: npt.NDArray[np.int64]) -> list[tuple[float, float, float, float]]:
    """Draw counts as bars, the highest as high as the picture."""
    step, most = WIDTH / len(counts), max(1, int(counts.max()))
    heights = [HEIGHT * int(count) / most for count in counts]
    return [
        (round(place * step, 1), round(HEIGHT - height, 1), round(step - 1, 1), round(height, 1))
        for place, height in enumerate(heights)
        if height
    ]
