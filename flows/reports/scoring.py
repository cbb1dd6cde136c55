"""Scoring report: gather its content from the catalog and the store."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from flows.annotation.consensus import resolve_consensus
from flows.annotation.person_labels import first_labels
from flows.erasure.living import load_living
from flows.execution.clip_worker import frames_version
from flows.promotion.looks import count_looks, looks_sentence, note_look
from flows.promotion.registered_models import PALSY, REGIONS, bundled
from flows.promotion.retrain_trigger import versions_to_retrain
from flows.reports.movement import add_movement, measuring_method
from flows.reports.performance import held_out_performance
from flows.workspace import Workspace
from labeling.consensus.standing_answers import StandingAnswers, standing_answers
from vitau.catalog.catalog import ScoredSubject
from vitau.data.parquet import read_table
from vitau.evaluation.decision import DecisionRule
from vitau.evaluation.explanations.results import Explanations
from vitau.evaluation.metrics import metrics_from_json
from vitau.schema import AU, AUS, Clip, Cohort, Protocol, RegionLabels, Skipped, Split, Visit, group_visits
from vitau.scoring.aggregate import aggregate, aggregate_visits
from vitau.scoring.predict import Predictor
from vitau.scoring.report import KeyFrame, Report, ReportedModel, ReportedSubject

TITLES: Final = {
    Protocol.SUBJECTS: "Facial palsy: people held out from training",
    Protocol.LOPO: "Facial palsy: people of a small study",
    Protocol.FRAMES: "Facial palsy: people who were seen in training",
}
TRAINED_ON_EVERYBODY: Final = (
    "A model of this page was trained on everybody, also on these people: their scores show what it does, and are too good. "
    "Its metrics below are of models by the same recipe that never saw the person."
)


@dataclass(frozen=True, kw_only=True)
class Known:
    """Facts that are known about a person.

    Attributes:
        palsied: By the manifest, as in the snapshot.
        label: Consensus of the readers.
        settled: Whether the label needed the adjudicator.
        unclear: Regions that were asked and that nobody could tell.
    """

    palsied: bool | None = None
    label: RegionLabels | None = None
    settled: bool = False
    unclear: frozenset[AU] = frozenset()


def build_report(workspace: Workspace, predictor: Predictor, digest: str, snapshot: str) -> Report:
    """Gather the people of a snapshot's test split who have a score by the model with this digest."""
    living = load_living(workspace, snapshot)
    rows = living.rows
    splits = dict(zip(rows["subject"].to_pylist(), rows["split"].to_pylist(), strict=True))
    known = known_people(workspace, rows)
    left_out, visits = quarantined(workspace), stated_visits(workspace)
    scores = [score for score in workspace.catalog.scores(digest) if splits.get(score.subject) == Split.TEST]
    trained = bundled(workspace, digest)
    versions = {f"{own.model}/{own.version}" for own in trained}
    protocol = max((own.protocol for own in trained), key=(Protocol.SUBJECTS, Protocol.LOPO, Protocol.FRAMES).index)
    note_look(workspace, snapshot=snapshot, protocol=protocol, model=REGIONS, digest=digest, purpose="report")
    marked = ", ".join(sorted(versions & versions_to_retrain(workspace)))
    subjects = [
        reported_subject(
            workspace,
            score,
            predictor.rule,
            known.get(score.subject, Known()),
            left_out[score.subject],
            visits.get(score.subject, ()),
        )
        for score in scores
    ]
    return Report(
        title=TITLES[protocol],
        synthetic=predictor.synthetic,
        warnings=predictor.warnings,
        models=reported_models(workspace, predictor, digest),
        subjects=add_movement(workspace, subjects),
        measuring=measuring_method(),
        performance=held_out_performance(workspace, rows, subjects, scores) if protocol is Protocol.SUBJECTS else None,
        notes=[
            *([TRAINED_ON_EVERYBODY] if protocol is Protocol.LOPO else []),
            looks_sentence(count_looks(workspace, snapshot, protocol)),
        ],
        skipped=unscored(workspace, splits, {score.subject for score in scores}),
        lineage={
            "snapshot": snapshot,
            "labels at ledger offset": str(predictor.card["ledger_offset"]),
            "model digest": digest,
            "store": workspace.store.uri,
            **({"erased people, left out": str(living.num_erased)} if living.num_erased else {}),
            **({"retrain, because they learned from erased people": marked} if marked else {}),
        },
    )


def reported_models(workspace: Workspace, predictor: Predictor, digest: str) -> list[ReportedModel]:
    """Return both models of the bundle with this digest: version, model card, and metrics on their own test people."""
    trained = {training.model: training for training in bundled(workspace, digest)}
    cards: dict[str, dict[str, Any]] = {PALSY: predictor.recognition_card, REGIONS: predictor.card}
    return [
        ReportedModel(
            name=name,
            version=trained[name].version,
            run=trained[name].run_id,
            digest=trained[name].model_digest,
            card=card,
            metrics=metrics_from_json(trained[name].metrics.get("test", {})),
            explanations=Explanations.from_json(trained[name].metrics.get("explanations")),
        )
        for name, card in cards.items()
        if name in trained
    ]


def reported_subject(
    workspace: Workspace,
    score: ScoredSubject,
    rule: DecisionRule,
    known: Known,
    left_out: Mapping[str, int],
    visits: Sequence[Visit],
) -> ReportedSubject:
    """Gather one person: score, also by visit, overlays, unused frames, and the consensus of the readers."""
    frames = read_table(workspace.store, score.key)
    found = aggregate(frames, rule)
    return ReportedSubject(
        name=score.subject,
        score=found,
        visits=aggregate_visits(frames, visits, rule, analysed=found is not None and bool(found.regions)),
        key_frames=[
            KeyFrame(
                label=frame["label"],
                palsy_score=frame["palsy_score"],
                overlays={name: workspace.store.get(key) for name, key in frame["pictures"].items()},
            )
            for frame in score.summary["key_frames"]
        ],
        left_out=left_out,
        affected=None if known.label is None else {AU(au): affected for au, affected in known.label.affected.items()},
        side=None if known.label is None else known.label.side,
        settled=known.settled,
        unclear=known.unclear,
        palsied=known.palsied,
        contributions=score.summary.get("movement"),
    )


def known_people(workspace: Workspace, rows: pa.Table) -> dict[str, Known]:
    """Return what is known about the people of a snapshot: their cohorts, and the labels with their origin."""
    ledger, _ = workspace.newest_answers()
    settled, standing = set(resolve_consensus(workspace, ledger).adjudicated), standing_answers(ledger)
    labels = first_labels(workspace, workspace.catalog.labels())
    case_of = {subject: label.case for subject, label in labels.items()}
    cohorts = dict(zip(rows["subject"].to_pylist(), rows["cohort"].to_pylist(), strict=True))
    return {
        subject: Known(
            palsied=cohort == Cohort.PALSY,
            label=labels.get(subject),
            settled=case_of.get(subject) in settled,
            unclear=asked_regions(standing, case_of.get(subject) or str(subject))
            - frozenset(labels[subject].affected if subject in labels else ()),
        )
        for subject, cohort in cohorts.items()
    }


def asked_regions(standing: StandingAnswers, subject: str) -> frozenset[AU]:
    """Return the regions that readers or the adjudicator answered about a person."""
    answers = [*standing.blind.get(subject, {}).values(), standing.rulings.get(subject, {})]
    return frozenset(au for au in AUS if any(au in answer for answer in answers))


def stated_visits(workspace: Workspace) -> dict[str, list[Visit]]:
    """Return the visits of everyone with a clip whose visit is stated, in the order of time."""
    owned: dict[str, list[Clip]] = defaultdict(list)
    for clip in workspace.catalog.clips():
        owned[clip.subject].append(clip)
    return {subject: group_visits(clips) for subject, clips in owned.items() if any(clip.visit is not None for clip in clips)}


def quarantined(workspace: Workspace) -> dict[str, Counter[str]]:
    """Count the quarantined frames of every person by reason."""
    owners = {clip.sha256: clip.subject for clip in workspace.catalog.clips()}
    counts: dict[str, Counter[str]] = {subject.pseudonym: Counter() for subject in workspace.catalog.subjects()}
    for table in workspace.catalog.frame_tables(frames_version()):
        counts[owners[table.clip]].update(table.quarantined)
    return counts


def unscored(workspace: Workspace, splits: Mapping[str, str], scored: set[str]) -> list[Skipped]:
    """List people of the test split without a score, people without labels, and skipped recordings, with their reasons."""
    assigned = workspace.catalog.splits()
    recorded = {subject for subject, split in assigned.items() if split is Split.TEST}
    people = [
        Skipped(item=subject, reason="no usable frame" if subject not in splits else "not scored yet")
        for subject in sorted(recorded - scored)
    ]
    unlabeled = [
        Skipped(item=subject.pseudonym, reason="the readers have not agreed on labels yet")
        for subject in workspace.catalog.subjects()
        if subject.pseudonym not in assigned and subject.cohort is not Cohort.UNKNOWN
    ]
    return people + unlabeled + workspace.catalog.skipped()
