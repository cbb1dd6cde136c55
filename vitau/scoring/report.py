"""The report: one HTML page for clinicians with decisions, uncertainty, regions, pictures, and skipped files."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import vitau
from vitau.asymmetry.explaining.fused import movement_words
from vitau.evaluation.explanations.results import HEATMAPS, NAMES, OF_RECOGNITION, REGION_GRADCAM, Explanations
from vitau.evaluation.metrics import PalsyMetrics, RegionMetrics, evidence_words
from vitau.pages import data_uri, page_environment
from vitau.schema import AU, AUS, REASON_WORDS, REGION_NAMES, Side, Skipped
from vitau.scoring.aggregate import SideProbability, SubjectScore, VisitScore
from vitau.scoring.movement import MeasuredVisit, MeasuringMethod
from vitau.scoring.overlays import COLORS, FACE, PICTURES, REGIONS
from vitau.scoring.performance import Performance
from vitau.store.atomic import write_atomic

METRIC_WORDS: Final[Mapping[str, str]] = {
    "auroc": "AUROC",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "f1": "F1",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "positive predictive value",
    "npv": "negative predictive value",
    "mcc": "Matthews correlation (MCC)",
    "kappa": "Cohen’s κ with the labels",
    "average_precision": "average precision",
    "ece": "calibration error (ECE)",
    "brier": "Brier score",
}
CASCADE_WORDS: Final[Mapping[str, str]] = {
    "sensitivity": "sensitivity, mean of regions",
    "specificity": "specificity, mean of regions",
    "false_alarms": "others who get an affected region",
    "missed": "palsied people whose regions are not analyzed",
}
MAX_LISTED: Final = 6
"""Number of people to look at in the summary; the table has them all."""
MANY_REGIONS: Final = 3
"""Regions unlike the readers from which on a person deserves a look: one or two differ in many people."""
PICTURE_WORDS: Final[Mapping[str, str]] = {
    FACE: "the face as it was scored",
    **{picture: NAMES[explanation] for picture, explanation in PICTURES.items()},
    REGIONS: "heatmaps of the affected regions",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedModel:
    """A model in the report: ``card`` is its ``model.json``, ``metrics`` are those of its test people, if known.

    ``version`` and ``run`` are those of the registry, ``digest`` is its :func:`vitau.registry.bundle.folder_digest`.
    ``explanations`` is how true those of recognition are, if that was evaluated.
    """

    name: str
    version: int | None = None
    run: str | None = None
    digest: str
    card: Mapping[str, Any]
    metrics: PalsyMetrics | RegionMetrics | None = None
    explanations: Explanations | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyFrame:
    """One frame with its palsy score and its overlays by name (JPEG)."""

    label: str
    palsy_score: float
    overlays: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedSubject:
    """One person; ``score`` is None if no frame could be scored.

    ``left_out`` counts unused frames by reason, ``notes`` are sentences about the input. ``affected`` and ``side`` are the
    consensus of the readers, if there is one: ``settled`` if it needed the adjudicator, ``unclear`` are the regions that
    nobody could tell. ``palsied`` is what is known about the person. ``visits`` are in the order of time, empty if no visit is
    stated. ``measured`` is the movement: of all recordings, then of each visit if there are several. It is empty where nobody
    was to be measured.
    ``contributions`` are those of movement to the score: empty if there were too few frames, ``None`` without a fused model.
    """

    name: str
    score: SubjectScore | None
    key_frames: Sequence[KeyFrame] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    affected: Mapping[AU, bool] | None = None
    side: Side | None = None
    settled: bool = False
    unclear: frozenset[AU] = frozenset()
    palsied: bool | None = None
    visits: Sequence[VisitScore] = ()
    measured: Sequence[MeasuredVisit] = ()
    contributions: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The content of the page. ``lineage`` names the origin of models and scores, ``skipped`` what was not scored.

    ``warnings`` are those of the models. ``related`` are other pages: title → address relative to this page. ``performance`` is
    known of labeled people. ``measuring`` is how movement was measured, if it was.
    """

    title: str
    synthetic: bool
    models: Sequence[ReportedModel]
    subjects: Sequence[ReportedSubject]
    skipped: Sequence[Skipped] = ()
    lineage: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    related: Mapping[str, str] = field(default_factory=dict)
    performance: Performance | None = None
    measuring: MeasuringMethod | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A person of the page with the number of the card, from 1, and the reasons to look at the person."""

    number: int
    subject: ReportedSubject
    reasons: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """People who are listed together; the cards of a ``folded`` group are closed."""

    title: str
    entries: Sequence[Entry]
    folded: bool = False


def render(report: Report) -> str:
    """Render the report as a self-contained HTML page."""
    known = [model.explanations for model in report.models if model.explanations is not None]
    explanations = max(known, key=lambda found: len(found.by_name), default=None)  # a region model's include its recognition's
    environment = page_environment(Path(__file__).parent)
    environment.filters.update(data_uri=data_uri, number=number, percent=percent)
    return environment.get_template("report.html.j2").render(
        report=report,
        groups=group_people(report.subjects),
        max_listed=MAX_LISTED,
        known=any(subject.palsied is not None or subject.affected is not None for subject in report.subjects),
        synthetic=report.synthetic,
        aus=AUS,
        region_names=REGION_NAMES,
        reason_words=REASON_WORDS,
        metric_words=METRIC_WORDS,
        cascade_words=CASCADE_WORDS,
        evidence=evidence_words,
        picture_words=picture_words(explanations),
        explanation_names=NAMES,
        of_recognition=OF_RECOGNITION,
        combined=any(subject.contributions for subject in report.subjects),
        explanations=explanations,
        region_cam=None if explanations is None else explanations.by_name.get(REGION_GRADCAM),
        colors={au: "#{:02x}{:02x}{:02x}".format(*color) for au, color in COLORS.items()},
        region_scale=region_scale(report.subjects),
        palsied=sum(subject.score.palsied for subject in report.subjects if subject.score),
        uncertain=sum(subject.score.uncertain for subject in report.subjects if subject.score),
        scored=sum(subject.score is not None for subject in report.subjects),
        side_words=side_words,
        contribution_words=movement_words,
        sided=any(subject.score.right_side is not None for subject in report.subjects if subject.score),
        num_frames=sum(subject.score.num_frames for subject in report.subjects if subject.score),
        read=any(subject.affected is not None for subject in report.subjects),
        date=dt.datetime.now(tz=dt.UTC).date().isoformat(),
        version=vitau.__version__,
    )


def write_report(report: Report, path: Path) -> Path:
    """Write the page atomically. Raises StoreError."""
    write_atomic(path, render(report))
    return path


def picture_words(explanations: Explanations | None) -> dict[str, str]:
    """Return the words for the pictures by name, in the order of the page.

    An explanation that is not better than chance follows the others, and its words say so.
    """
    words = dict(PICTURE_WORDS)
    for picture, name in {**PICTURES, REGIONS: HEATMAPS}.items():
        own = None if explanations is None else explanations.by_name.get(name)
        if own is not None and not own.beats_chance:
            words[picture] = f"{words.pop(picture)} (not better than chance)"
    return words


def group_people(subjects: Sequence[ReportedSubject]) -> list[Group]:
    """Group people in the order of the page: those to look at, with most reasons first, then the palsied, then the others."""
    found = [(subject, reasons_to_look(subject)) for subject in subjects]
    look = sorted((pair for pair in found if pair[1]), key=urgency)
    palsied = [pair for pair in found if not pair[1] and pair[0].score and pair[0].score.palsied]
    others = [pair for pair in found if not pair[1] and not (pair[0].score and pair[0].score.palsied)]
    groups, number = [], 0
    for title, pairs in (("To look at", look), ("Palsy recognized", palsied), ("No palsy recognized", others)):
        entries = [Entry(number=number + i, subject=own, reasons=reasons) for i, (own, reasons) in enumerate(pairs, 1)]
        groups.append(Group(title=title, entries=entries, folded=pairs is others))
        number += len(entries)
    return groups


def urgency(found: tuple[ReportedSubject, Sequence[str]]) -> tuple[bool, bool, int, str]:
    """Return the key that sorts people to look at: wrong decisions, then uncertain ones, then by their differing regions."""
    subject, _ = found
    return (
        not contradicts(subject),
        not (subject.score is not None and subject.score.uncertain),
        -len(differing_regions(subject)),
        subject.name,
    )


def reasons_to_look(subject: ReportedSubject) -> list[str]:
    """Return why a person deserves a look: an uncertain decision, or one unlike what the readers or the manifest say."""
    if subject.score is None:
        return ["no frame could be scored"]
    reasons = []
    if contradicts(subject):
        reasons.append("not recognized, although palsied" if subject.palsied else "recognized, although not palsied")
    if subject.score.uncertain:
        reasons.append("the decision is uncertain")
    side = subject.score.side
    if side is not None and subject.side in {Side.RIGHT, Side.LEFT} and side.side != subject.side:
        reasons.append(f"the readers say that the {subject.side} side is affected")
    regions = differing_regions(subject)
    if len(regions) >= MANY_REGIONS:
        reasons.append(f"{len(regions)} regions unlike the readers: {', '.join(regions)}")
    return reasons


def contradicts(subject: ReportedSubject) -> bool:
    """Return whether the decision about a person is not what is known."""
    return subject.score is not None and subject.palsied is not None and subject.score.palsied != subject.palsied


def differing_regions(subject: ReportedSubject) -> list[AU]:
    """Return the analyzed regions about which the model and the readers differ."""
    regions = {} if subject.score is None else subject.score.regions
    return [au for au, affected in (subject.affected or {}).items() if au in regions and regions[au].affected != affected]


def region_scale(subjects: Sequence[ReportedSubject]) -> float:
    """Return the largest region score of the page, the scale of all bars."""
    regions = [region for subject in subjects if subject.score for region in subject.score.regions.values()]
    return max([0.01, *(abs(end) for region in regions for end in (region.score, *(region.interval or ())))])


def side_words(side: SideProbability) -> str:
    """Format a side with its probability: "right, 93 %"."""
    return f"{side.side}, {percent(side.probability)}"


def percent(share: float) -> str:
    """Format a share of 1 as a percentage that does not break over two lines."""
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def number(value: float, digits: int = 2) -> str:
    """Format a number with a minus sign instead of a hyphen."""
    return f"{value:.{digits}f}".replace("-", "−")
