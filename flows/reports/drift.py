"""Drift page: what drifted, with the distributions of people before and now."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitau.evaluation.drift import ALPHA, MIN_EFFECT, MIN_PEOPLE, People
from vitau.pages import page_environment

MONITOR_PAGE: Final = "monitor.html"
"""File name of the page beside a report."""
BINS: Final = 24
WIDTH: Final = 240
"""Width of a histogram, px."""
HEIGHT: Final = 26
"""Height of a histogram, px."""


def render_drift_page(facts: Mapping[str, Any], before: People, now: People, *, at: str) -> str:
    """Render the drift page as a self-contained HTML page; no pseudonym is on it.

    Args:
        facts: the findings as the store keeps them: ``drifts``, ``promises``, counts, and ``unmeasured``, a sentence or none.
        before: the people that the champion was trained or tested on.
        now: the people who came since.
        at: time of the comparison, as text.
    """
    pictures = {
        (drift["measure"], drift["source"]): histograms(before, now, drift["measure"], drift["source"])
        for drift in facts["drifts"]
        if drift["kind"] == "number"
    }
    return (
        page_environment(Path(__file__).parent)
        .get_template("drift.html.j2")
        .render(
            facts=facts,
            pictures=pictures,
            at=at,
            alpha=ALPHA,
            min_people=MIN_PEOPLE,
            least_effect=MIN_EFFECT["number"],
            width=WIDTH,
            height=HEIGHT,
            synthetic="synthetic" in {*before.source, *now.source},
            alarms=[drift for drift in facts["drifts"] if drift["drifted"]],
            broken=[promise for promise in facts["promises"] if promise["broken"]],
        )
    )


def histograms(before: People, now: People, measure: str, source: str | None) -> dict[str, Any]:
    """Compute two histograms over the same range: their bars as (x, y, width, height) in px, and the ends of the range."""
    values = [
        people.numbers[measure][np.array([source in {None, own} for own in people.source], bool)] for people in (before, now)
    ]
    known = [numbers[~np.isnan(numbers)] for numbers in values]
    together = np.concatenate(known)
    low, high = float(together.min()), float(together.max())
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    return {"low": low, "high": high, "bars": [bars(np.histogram(numbers, edges)[0]) for numbers in known]}


def bars(counts: npt.NDArray[np.int64]) -> list[tuple[float, float, float, float]]:
    """Return counts as bars (x, y, width, height) in px; the highest count fills the height."""
    step, most = WIDTH / len(counts), max(1, int(counts.max()))
    heights = [HEIGHT * int(count) / most for count in counts]
    return [
        (round(index * step, 1), round(HEIGHT - height, 1), round(step - 1, 1), round(height, 1))
        for index, height in enumerate(heights)
        if height
    ]
