"""Figures of a version for its run in MLflow: ROC, reliability and confusion on the people who were held out from it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from vitau.evaluation.bootstrap import Array
from vitau.evaluation.promotion.held_out import Answers, HeldOut
from vitau.evaluation.rates import count_outcomes, reliability_bins
from vitau.pages import page_environment
from vitau.schema import AUS, REGION_NAMES, Side
from vitau.scoring.performance import roc_curve

_STYLE: Final = (
    "<style>svg{background:#fff;font:12px sans-serif} text{fill:#22262b} .head{fill:#5d6670} .axis{stroke:#bbb;fill:none} "
    ".chance{stroke:#888;stroke-dasharray:4 4} .curve{fill:none;stroke:#21609e;stroke-width:2} "
    ".point{fill:#21609e;opacity:.75}</style>"
)


def evaluation_figures(people: HeldOut, answers: Answers) -> dict[str, str]:
    """Return the figures of a version, name → SVG: of its regions if it has them, else of recognition.

    A figure that these people do not define is missing: a ROC curve of one class, reliability of scores that are no
    probabilities. People that the version cannot be tested on are left out.
    """
    return recognition_figures(people, answers) if answers.region_SA is None else region_figures(people, answers)


def recognition_figures(people: HeldOut, answers: Answers) -> dict[str, str]:
    """Return the figures of recognition."""
    tested_S = ~np.isnan(answers.palsy_S)
    truth_S, score_S = people.palsied_S[tested_S], answers.palsy_S[tested_S]
    threshold_S = np.broadcast_to(answers.threshold, answers.palsy_S.shape)[tested_S]
    if not len(truth_S):
        return {}
    outcomes = count_outcomes(truth_S, score_S >= threshold_S).sum(0)
    return {
        **_roc(truth_S, score_S, f"ROC of recognition, {len(truth_S)} people"),
        "reliability": _draw("reliability", f"Reliability, {len(truth_S)} people", bins=reliability_bins(truth_S, score_S)),
        "confusion": _draw("confusion", "Decisions about people", rows=[("palsy", outcomes.astype(int).tolist())]),
    }


def region_figures(people: HeldOut, answers: Answers) -> dict[str, str]:
    """Return the figures of the regions of palsied people; their reliability is that of the side."""
    region_SA = answers.region_SA
    assert region_SA is not None
    known_SA = people.known_SA & people.palsied_S[:, None] & ~np.isnan(region_SA)
    truth_N, score_N = people.affected_SA[known_SA], region_SA[known_SA]
    if not len(truth_N):
        return {}
    rows = []
    for number, au in enumerate(AUS):
        own_S = known_SA[:, number]
        outcomes = count_outcomes(people.affected_SA[own_S, number], region_SA[own_S, number] > 0).sum(0)
        rows.append((f"{REGION_NAMES[au]} ({au})", outcomes.astype(int).tolist()))
    return {
        **_roc(truth_N, score_N, f"ROC of regions together, {len(truth_N)} answers"),
        **_side_reliability(people, answers),
        "confusion": _draw("confusion", "Decisions about regions", rows=rows),
    }


def _side_reliability(people: HeldOut, answers: Answers) -> dict[str, str]:
    if answers.right_S is None or "side" not in people.groups:
        return {}
    side_S = np.array([str(side) for side in people.groups["side"]])
    one_sided_S = np.isin(side_S, [str(Side.RIGHT), str(Side.LEFT)]) & ~np.isnan(answers.right_S)
    if not one_sided_S.any():
        return {}
    bins = reliability_bins(side_S[one_sided_S] == str(Side.RIGHT), answers.right_S[one_sided_S])
    return {"reliability": _draw("reliability", f"Reliability of the right side, {one_sided_S.sum()} people", bins=bins)}


def _roc(truth_S: Array, score_S: Array, title: str) -> dict[str, str]:
    if truth_S.all() or not truth_S.any():
        return {}
    return {"roc": _draw("roc", title, points=roc_curve(truth_S, score_S))}


def _draw(kind: str, title: str, **values: Any) -> str:
    """Return a figure as one SVG file with its styles inside."""
    environment = page_environment(Path(__file__).parent)
    arguments: Mapping[str, Any] = {"points": None, "bins": None, "rows": None, **values}
    rendered = environment.get_template("figures.svg.j2").render(kind=kind, title=title, **arguments)
    found = re.search(r"<svg ([^>]*)>(.*)</svg>", rendered, re.DOTALL)
    assert found is not None, "the template draws one figure"
    size = 'width="480"' if kind == "confusion" else 'width="420" height="420"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {found[1]}>{_STYLE}{found[2]}</svg>\n'
