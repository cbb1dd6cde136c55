"""The tables of the program ``python -m vitau.asymmetry``: judgements in Markdown, and answers about one person."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from vitau.asymmetry.explaining.pointing import Pointing
from vitau.asymmetry.explaining.words import sentences
from vitau.asymmetry.judge import Judgement
from vitau.asymmetry.model import AsymmetryModel
from vitau.evaluation.bootstrap import format_estimate
from vitau.evaluation.crossvalidation.pooled import Pooled
from vitau.measures.geometry import Floats
from vitau.schema import AUS, REGION_NAMES, Side

ABLATION: Final[Mapping[str, Sequence[str]]] = {
    "movement": ("movement",),
    "rest": ("rest",),
    "texture": ("texture",),
    "gradient": ("gradient",),
    "movement and rest": ("movement", "rest"),
    "movement and texture": ("movement", "texture"),
    "movement, rest and texture": ("movement", "rest", "texture"),
    "movement, rest and gradient": ("movement", "rest", "gradient"),
    "all four": ("movement", "rest", "texture", "gradient"),
}
"""Kinds of features by the name of their row."""


def table_lines(rows: Mapping[str, Judgement], heading: str = "weights from") -> Iterator[str]:
    """Yield a table of judgements in Markdown, by the names of its rows: values with 95 % intervals over people."""
    first = next(iter(rows.values()))
    yield f"{first.palsy.num_people} people, {first.palsy.num_palsied} palsied"
    yield ""
    names = ("recognition, AUROC", "recognition, accuracy", "side", "regions, mean AUROC", *AUS)
    yield f"| {heading} | {' | '.join(names)} |"
    yield "|---|" + "---|" * len(names)
    for name, judgement in rows.items():
        regions = judgement.regions
        cells = [
            _cell(judgement.palsy, "auroc"),
            _cell(judgement.palsy, "accuracy"),
            _cell(judgement.side, "accuracy"),
            _cell(regions, "auroc"),
            *("-" if regions is None else _value(regions.by_question[au]["auroc"].value) for au in AUS),
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def pointing_line(name: str, pointing: Pointing | None) -> str:
    """Return a sentence about where the largest contributions lie."""
    if pointing is None:
        return f"{name}: nobody has one affected side and a labeled region"
    return (
        f"{name}: the place that contributes most lies at an affected region of {pointing.num_people} palsied people in "
        f"{format_estimate(pointing.share, pointing.interval)}; by chance {pointing.chance:.3f}"
    )


def judgement_record(judgement: Judgement, pointing: Pointing | None = None) -> dict[str, Any]:
    """Return a judgement as JSON values: per question the AUROC and the accuracy, each with its interval over people."""
    pooled = {"recognition": judgement.palsy, "side": judgement.side, "regions": judgement.regions}
    record: dict[str, Any] = {name: _metrics(own) for name, own in pooled.items() if own is not None}
    if judgement.regions is not None:
        record["by_region"] = {str(au): judgement.regions.by_question[au]["auroc"].value for au in AUS}
    return record if pointing is None else record | {"pointing": asdict(pointing)}


def answer_lines(name: str, model: AsymmetryModel, feature_F: Floats) -> Iterator[str]:
    """Yield the answers about one person in words."""
    answers = model.answer(feature_F[None])
    right = float(answers.right_P[0])
    side = Side.RIGHT if right >= 0.5 else Side.LEFT
    yield f"{name}\tpalsy {answers.palsy_P[0]:.0%}\t{side} moves less, {max(right, 1 - right):.0%}"
    affected = [f"{REGION_NAMES[au]} {probability:.0%}" for au, probability in zip(AUS, answers.affected_PA[0], strict=True)]
    yield "\tregions, if there is a palsy: " + ", ".join(affected)
    for sentence in sentences(model.explain(feature_F)):
        yield f"\t{sentence}"


def answer_record(name: str, model: AsymmetryModel, feature_F: Floats) -> dict[str, Any]:
    """Return the answers about one person as JSON values, with all contributions in log-odds."""
    answers = model.answer(feature_F[None])
    right = float(answers.right_P[0])
    contributions = [
        {"kind": one.feature.kind, "place": one.feature.place, "side": str(one.side), "log_odds": round(one.log_odds, 4)}
        for one in model.explain(feature_F)
    ]
    return {
        "clip": name,
        "palsy": round(float(answers.palsy_P[0]), 4),
        "side": str(Side.RIGHT if right >= 0.5 else Side.LEFT),
        "side_probability": round(max(right, 1 - right), 4),
        "regions": {str(au): round(float(value), 4) for au, value in zip(AUS, answers.affected_PA[0], strict=True)},
        "bias": round(model.palsy.bias, 4),
        "contributions": contributions,
    }


def _metrics(pooled: Pooled) -> dict[str, Any]:
    found = {name: asdict(pooled.metrics[name]) for name in ("auroc", "accuracy")}
    return {"people": pooled.num_people, "palsied": pooled.num_palsied, **found}


def _cell(pooled: Pooled | None, metric: str) -> str:
    if pooled is None:
        return "-"
    estimate = pooled.metrics[metric]
    return format_estimate(estimate.value, estimate.interval)


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
