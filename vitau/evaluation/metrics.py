"""Metrics by person: the types from training to report, and their JSON form."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Self

from vitau.evaluation.bootstrap import Interval
from vitau.schema import AU, AUS, Protocol

DECISION_METRICS: Final = (
    *("accuracy", "balanced_accuracy", "f1", "auroc"),
    *("sensitivity", "specificity", "ppv", "npv", "mcc", "kappa", "average_precision"),
)
CALIBRATION_METRICS: Final = ("ece", "brier")


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A metric and its 95 % interval; ``None`` where the people leave it undefined."""

    value: float | None = None
    interval: Interval | None = None


UNDEFINED: Final = Estimate()


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionMetrics:
    """Metrics of one yes/no question, or means over several.

    Metrics that earlier versions did not have are ``OPTIONAL``: they are listed and stored only where they are defined.
    """

    OPTIONAL: ClassVar = frozenset({"sensitivity", "specificity", "ppv", "npv", "mcc", "kappa", "average_precision"})

    accuracy: Estimate = UNDEFINED
    balanced_accuracy: Estimate = UNDEFINED
    f1: Estimate = UNDEFINED
    auroc: Estimate = UNDEFINED
    sensitivity: Estimate = UNDEFINED
    specificity: Estimate = UNDEFINED
    ppv: Estimate = UNDEFINED
    npv: Estimate = UNDEFINED
    mcc: Estimate = UNDEFINED
    kappa: Estimate = UNDEFINED
    average_precision: Estimate = UNDEFINED

    def estimates(self) -> dict[str, Estimate]:
        """Return the estimates by name."""
        values = {own.name: getattr(self, own.name) for own in fields(self)}
        estimates = {name: value for name, value in values.items() if isinstance(value, Estimate)}
        return {name: value for name, value in estimates.items() if value != UNDEFINED or name not in self.OPTIONAL}

    def to_json(self) -> dict[str, Any]:
        """Return the stored form: counts as ``n_…``, estimates as ``name`` and ``name_interval``; absent counts are omitted."""
        counts: dict[str, Any] = {}
        estimates: dict[str, Any] = {}
        nested: dict[str, Any] = {}
        for own in fields(self):
            value = getattr(self, own.name)
            if isinstance(value, Estimate):
                if value != UNDEFINED or own.name not in self.OPTIONAL:
                    estimates[own.name] = value.value
                    estimates[f"{own.name}_interval"] = None if value.interval is None else list(value.interval)
            elif isinstance(value, DecisionMetrics):
                nested[own.name] = value.to_json()
            elif isinstance(value, Mapping):
                nested[own.name] = {str(name): metrics.to_json() for name, metrics in value.items()}
            elif value is not None:
                counts[_json_key(own.name)] = str(value) if isinstance(value, Protocol) else value
        return {**counts, **estimates, **nested}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the stored form; estimates that it lacks are undefined."""
        return cls(**_arguments(cls, document))


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionDecisionMetrics(DecisionMetrics):
    """Metrics of one region, over the people with a label for it; ``ece`` and ``brier`` are of its calibrated probability."""

    OPTIONAL: ClassVar = DecisionMetrics.OPTIONAL | {*CALIBRATION_METRICS}

    num_subjects: int | None = None
    num_affected: int | None = None
    ece: Estimate = UNDEFINED
    brier: Estimate = UNDEFINED


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics(DecisionMetrics):
    """Metrics by person on one split; ``protocol`` is how people were split."""

    protocol: Protocol | None = None
    num_subjects: int
    num_frames: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceMetrics(DecisionMetrics):
    """Metrics of recognition among the people of one source."""

    num_subjects: int | None = None
    num_palsied: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WithinSource(DecisionMetrics):
    """Metrics of recognition on the people of the sources with both cohorts, which a difference between sources cannot improve.

    The AUROC compares people of the same source only. ``by_source`` has the sources with both cohorts, of ``num_sources``.
    """

    num_sources: int
    by_source: Mapping[str, SourceMetrics]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the stored form; estimates that it lacks are undefined."""
        by_source = {name: SourceMetrics.from_json(metrics) for name, metrics in document["by_source"].items()}
        return cls(**{**_arguments(cls, document), "by_source": by_source})


@dataclass(frozen=True, kw_only=True, slots=True)
class PalsyMetrics(Metrics):
    """Metrics of recognition; ``undefined_resamples`` counts the resamples without an AUROC.

    ``within_source`` is ``None`` if the people are of one source, or of none.
    """

    num_palsied: int | None = None
    threshold: float | None = None
    undefined_resamples: int | None = None
    ece: Estimate = UNDEFINED
    brier: Estimate = UNDEFINED
    within_source: WithinSource | None = None

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the stored form; estimates that it lacks are undefined."""
        within = document.get("within_source")
        nested = {"within_source": None if within is None else WithinSource.from_json(within)}
        return cls(**{**_arguments(cls, document), **nested})


@dataclass(frozen=True, kw_only=True, slots=True)
class SideMetrics(Metrics):
    """Metrics of the affected side, over people with exactly one; the positive answer is "right"."""

    num_right: int | None = None
    undefined_resamples: int | None = None
    ece: Estimate = UNDEFINED
    brier: Estimate = UNDEFINED

    @property
    def num_correct(self) -> int:
        """Number of people whose side was named correctly."""
        return round((self.accuracy.value or 0.0) * self.num_subjects)


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionSideMetrics(Metrics):
    """Metrics of both sides of every region, over all pairs of person and region whose sides are labeled.

    A side is called affected above a half. ``named`` is the share of the ``num_one_sided`` pairs with one affected side in
    which that side is the more probable one.
    """

    num_sides: int | None = None
    num_one_sided: int | None = None
    named: Estimate = UNDEFINED
    ece: Estimate = UNDEFINED
    brier: Estimate = UNDEFINED


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionMetrics(Metrics):
    """Metrics of the regions of palsied people: means over ``mean_of``, over the paper's 7 regions, and by region.

    A region in which all people are alike has no AUROC. It is left out of the mean and counted in ``regions_without_auroc``.
    ``sides`` is about the affected side of the face, ``region_sides`` about both sides of each region, of a sided model.
    ``cascade`` is of all people, with the recognition that runs first.
    ``scale`` is the slope of the logistic curve from a region's score to its probability; without it, calibration is undefined.
    """

    OPTIONAL: ClassVar = DecisionMetrics.OPTIONAL | {*CALIBRATION_METRICS}

    threshold: float | None = None
    mean_of: str = f"{len(AUS)} regions"
    regions_without_auroc: int | None = None
    scale: float | None = None
    ece: Estimate = UNDEFINED
    brier: Estimate = UNDEFINED
    mean_of_paper_7: DecisionMetrics = DecisionMetrics()
    by_au: Mapping[AU, RegionDecisionMetrics]
    sides: SideMetrics | None = None
    cascade: "CascadeMetrics | None" = None
    region_sides: RegionSideMetrics | None = None

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the stored form; estimates that it lacks are undefined."""
        sides, region_sides = document.get("sides"), document.get("region_sides")
        paper, cascade = document.get("mean_of_paper_7", {}), document.get("cascade")
        nested = {
            "mean_of_paper_7": DecisionMetrics.from_json(paper),
            "by_au": {AU(au): RegionDecisionMetrics.from_json(metrics) for au, metrics in document["by_au"].items()},
            "sides": None if sides is None else SideMetrics.from_json(sides),
            "cascade": None if cascade is None else CascadeMetrics.from_json(cascade),
            "region_sides": None if region_sides is None else RegionSideMetrics.from_json(region_sides),
        }
        return cls(**{**_arguments(cls, document), **nested})


@dataclass(frozen=True, kw_only=True, slots=True)
class CascadeMetrics(RegionMetrics):
    """Metrics of the regions of all people by recognition and region model together, see :mod:`vitau.evaluation.cascade`.

    ``false_alarms`` is the share of people without a palsy who get an affected region, ``missed`` the share of palsied people
    whose regions are not analyzed.
    """

    num_palsied: int | None = None
    false_alarms: Estimate = UNDEFINED
    missed: Estimate = UNDEFINED


def evidence_words(metrics: Metrics) -> str:
    """Return how the people of some metrics were kept from the models: "leave one person out, n = 21".

    The number is that of palsied people, where they are counted.
    """
    palsied = metrics.num_palsied if isinstance(metrics, PalsyMetrics) else None
    num = metrics.num_subjects if palsied is None else palsied
    return f"{_EVIDENCE_WORDS[metrics.protocol or Protocol.SUBJECTS]}, n = {num}"


_EVIDENCE_WORDS: Final = {
    Protocol.SUBJECTS: "people held out",
    Protocol.LOPO: "leave one person out",
    Protocol.FRAMES: "frames of people who were seen in training",
}


def metrics_from_json(document: Mapping[str, Any]) -> PalsyMetrics | RegionMetrics | None:
    """Read the stored metrics of a split, of recognition or of regions; ``None`` if the document has no metrics."""
    if "n_subjects" not in document:
        return None
    return (RegionMetrics if "by_au" in document else PalsyMetrics).from_json(document)


def _json_key(name: str) -> str:
    return name.replace("num_", "n_", 1) if name.startswith("num_") else name


def _arguments(cls: type[DecisionMetrics], document: Mapping[str, Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for own in fields(cls):
        key = _json_key(own.name)
        if own.type is Estimate:
            interval = document.get(f"{key}_interval")
            arguments[own.name] = Estimate(value=document.get(key), interval=None if interval is None else tuple(interval))
        elif key in document:
            arguments[own.name] = Protocol(document[key]) if key == "protocol" else document[key]
    return arguments
