"""The card of a model: its use, lineage and test metrics on one page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from vitau.evaluation.bootstrap import format_interval
from vitau.evaluation.crossvalidation.shortcuts import ShortcutProbe
from vitau.evaluation.explanations.results import Explanations
from vitau.evaluation.metrics import CascadeMetrics, Estimate, Metrics, PalsyMetrics, RegionMetrics, metrics_from_json
from vitau.schema import Protocol

LEFT_OUT: Final = (
    "The metrics are of models by the same recipe that never saw the person: each palsied person was left out once. This model "
    "was then trained on everybody."
)
DRAWN_IN_STYLE: Final = (
    "The people of the metrics are drawn in the style of the training: `vitau benchmark --model FOLDER` judges a model in "
    "other styles too."
)
DECISION_WORDS: Final[Mapping[str, str]] = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "mcc": "MCC",
    "kappa": "Cohen's κ",
    "average_precision": "average precision",
}

WORDS: Final[Mapping[str, str]] = {
    "auroc": "auroc",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "ece": "calibration error (ECE)",
}


def model_card(
    name: str,
    metrics: Mapping[str, Any],
    lineage: Mapping[str, str],
    recognition: Mapping[str, Any] | None = None,
    remarks: Sequence[str] = (),
) -> str:
    """Render the card as Markdown: restrictions of use, lineage, and the metrics on people who were kept from the model.

    Args:
        name: of the registered model.
        metrics: stored form of the training's result.
        lineage: of the model, name → value.
        recognition: threshold, calibration and abstention band of the recognition in the bundle.
        remarks: sentences about the metrics.
    """
    lines = [f"# {name}", ""]
    if lineage.get("synthetic") == "true":
        lines += ["**Synthetic: this model was trained on drawings of faces. It must not be used for real people.**", ""]
    probe = None if metrics.get("shortcut_probe") is None else ShortcutProbe.from_json(metrics["shortcut_probe"])
    if probe is not None and probe.warning is not None:
        lines += [f"**{probe.warning}**", ""]
    lines += ["For research only; not a medical device.", ""]
    lines += [f"- {key.replace('_', ' ')}: {value}" for key, value in lineage.items()]
    if pretraining := metrics.get("pretraining"):
        lines.append(f"- pretrained on {pretraining['drawn_people']} drawn people who are in no data set")
    lines += [f"- started from weights with the sha256 {digest}" for digest in metrics.get("weights") or ()]
    lines += rule_lines(recognition or {})
    test = metrics_from_json(metrics.get("test", {}))
    if test is not None:
        lines += _metric_lines(test)
    if probe is not None:
        lines += _shortcut_lines(probe)
    if isinstance(test, PalsyMetrics):
        lines += _source_lines(test)
    if isinstance(test, RegionMetrics) and test.cascade is not None:
        lines += cascade_lines(test.cascade)
    if metrics.get("kind") == "regions":
        lines += _region_lines(metrics, test)
    lines += _explanation_lines(metrics)
    if test is not None:
        drawn = [DRAWN_IN_STYLE] if lineage.get("synthetic") == "true" else []
        lines += ["", *([LEFT_OUT] if test.protocol is Protocol.LOPO else []), *drawn, *remarks]
    lines += [
        "",
        "Faces are found with dlib's 68-point landmarks, whose training data exclude commercial use (LANDMARKS.md).",
        "",
    ]
    return "\n".join(lines)


def _metric_lines(test: PalsyMetrics | RegionMetrics) -> Iterator[str]:
    """Yield the metrics on the people who were kept from the model."""
    people = "people left out one at a time" if test.protocol is Protocol.LOPO else "test people"
    yield f"- n subjects on {people}: {test.num_subjects}"
    estimates, of = test.estimates(), f", mean of {test.mean_of}," if isinstance(test, RegionMetrics) else ""
    for metric, words in WORDS.items():
        if metric in estimates and estimates[metric].value is not None:
            yield f"- {words}{of} on {people}: {_value(estimates[metric])}"
    yield from decision_lines(test, people)


def rule_lines(recognition: Mapping[str, Any]) -> list[str]:
    """Return how recognition decides about a person, from its calibration and its abstention band, if it has them."""
    calibration, band = recognition.get("calibration"), recognition.get("abstention")
    if not calibration or not band:
        return []
    people = f"{band['palsied_people']:g} palsied and {band['other_people']:g} other validation people"
    low, high, error = band["low"], band["high"], band["error"]
    fused = recognition.get("log_odds_before_calibration")
    words = "- log-odds before: {network:.3g} × those of the network + {movement:.3g} × those of movement, which a photo lacks"
    return [
        *([words.format(**fused)] if fused else []),
        f"- a palsy is recognized from {recognition['threshold']:.3f} on, chosen on the same people",
        f"- calibration, fitted on {people}: log-odds × {calibration['scale']:.3g} {calibration['bias']:+.3g}",
        f"- uncertain from {low:.3f} to {high:.3f}: beyond, at most {error:.0%} of each class of such people are wrong",
    ]


def decision_lines(test: PalsyMetrics | RegionMetrics, people: str) -> list[str]:
    """Return what reviewers ask for about decisions, with intervals over people; nothing of a model that was tested before."""
    found = test.estimates()
    of = f", means of {test.mean_of}" if isinstance(test, RegionMetrics) else ""
    words = [f"{text} {_percent(found[name])}" for name, text in DECISION_WORDS.items() if name in found]
    return [f"- decisions about {people}{of}: {', '.join(words)}"] if words else []


def cascade_lines(cascade: CascadeMetrics) -> list[str]:
    """Return what recognition and regions find together, on palsied people and others."""
    others = cascade.num_subjects - (cascade.num_palsied or 0)
    lines = [f"- both models together, on {cascade.num_palsied} palsied people and {others} others:"]
    found = cascade.estimates()
    words = {
        "sensitivity": "mean sensitivity of the regions",
        "specificity": "mean specificity of the regions",
        "false_alarms": "others who get an affected region",
        "missed": "palsied people whose regions are not analyzed",
    }
    lines += [f"  - {text}: {_percent(found[name])}" for name, text in words.items() if name in found]
    return lines


def _percent(estimate: Estimate) -> str:
    if estimate.value is None:
        return "not defined"
    return f"{estimate.value:.3f}{format_interval(estimate.interval, digits=2)}"


def _region_lines(metrics: Mapping[str, Any], test: Metrics | None) -> Iterator[str]:
    """Yield how a region and its side are decided, and for how many test people the side is named correctly."""
    if metrics.get("region_thresholds"):
        yield "- a region is affected above its own threshold, which was chosen on validation people"
    if not metrics.get("side_scales"):
        yield "- side: not predicted"
        return
    yield "- side: named for the face and for each region, with probabilities fitted to validation people"
    sides = test.sides if isinstance(test, RegionMetrics) else None
    if sides is not None and sides.num_subjects:
        share = _value(sides.accuracy)
        yield f"- side named correctly for {sides.num_correct} of {sides.num_subjects} one-sided test people: {share}"
        yield f"- calibration error (ECE) of the side on test people: {_value(sides.ece)}"
    each = test.region_sides if isinstance(test, RegionMetrics) else None
    if each is not None and each.ece.value is not None:
        yield f"- calibration error (ECE) of the sides of regions on test people: {_value(each.ece)}"


def _explanation_lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield how true the explanations of recognition are; nothing of a model of an earlier version."""
    explanations = Explanations.from_json(metrics.get("explanations"))
    if explanations is not None:
        yield from explanations.card_lines()


def _shortcut_lines(probe: ShortcutProbe) -> Iterator[str]:
    """Yield the line about the shortcut probe, which stands beside the AUROC of the model."""
    about = f"{probe.num_palsied} palsied people and {probe.num_people - probe.num_palsied} others"
    if probe.auroc.value is None:
        yield f"- shortcut probe: undefined for {about}; 5 of each are needed"
        return
    yield f"- shortcut probe, auroc of the cohort from how people were recorded ({about}, out-of-fold): {_value(probe.auroc)}"
    yield f"- nuisance columns that say most alone: {probe.most_telling or 'none'}"


def _source_lines(test: PalsyMetrics) -> Iterator[str]:
    """Yield the lines about the metrics within sources; none for people of one source."""
    within = test.within_source
    if within is None:
        return
    if not within.by_source:
        yield f"- auroc within a source: undefined, none of {within.num_sources} sources has both cohorts"
        return
    yield f"- auroc within sources with both cohorts: {_value(within.auroc)}"
    for source, own in within.by_source.items():
        yield f"- auroc within {source} ({own.num_palsied} palsied of {own.num_subjects} people): {_value(own.auroc)}"


def _value(estimate: Estimate) -> str:
    if estimate.value is None:
        return "undefined"
    ends = estimate.interval
    interval = "" if ends is None else f" (95 % interval over people {ends[0]:.2f} to {ends[1]:.2f})"
    return f"{estimate.value:.4g}{interval}"
