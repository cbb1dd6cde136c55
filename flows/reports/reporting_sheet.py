"""Collect the facts of a model's reporting sheet (TRIPOD+AI) from snapshot, catalog, ledger and training."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.annotation.consensus import resolve_consensus
from flows.annotation.person_labels import first_labels
from flows.erasure.living import load_living
from flows.execution.clip_worker import frames_version
from flows.promotion.looks import count_looks
from flows.workspace import Workspace
from labeling.consensus.agreement import WITH_SUGGESTION, agreement_report
from labeling.consensus.standing_answers import standing_answers
from vitau.catalog.catalog import Training
from vitau.evaluation.bootstrap import format_estimate
from vitau.evaluation.measure import NUM_RESAMPLES
from vitau.evaluation.metrics import (
    CALIBRATION_METRICS,
    DECISION_METRICS,
    UNDEFINED,
    Estimate,
    PalsyMetrics,
    RegionMetrics,
    WithinSource,
    evidence_words,
)
from vitau.evaluation.training_result import TrainingResult
from vitau.media.frames import FrameRecipe
from vitau.registry.tripod import Fact, counted, render
from vitau.schema import AUS, CROP_SIZE, Clip, FrameLimits, Protocol, Side, Split
from vitau.training.recipes import find_recipe

REGION_WORDS: Final = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "mcc": "MCC",
    "kappa": "Cohen's κ",
    "ece": "calibration error",
}
"""Metrics of a region beside AUROC and accuracy; models of before have none of them."""
OUTPUTS: Final = {
    "palsy": "probability of a palsy, 0 to 1; palsied at or above the threshold",
    "regions": "per region a heatmap and its mean less the region's threshold; affected above 0",
    "sides": "probability that the right is the affected side, and one for each side of each region",
}


def build_reporting_sheet(
    workspace: Workspace, name: str, recipe: str, snapshot: str, result: TrainingResult, recognition: Training | None
) -> str:
    """Collect what is recorded about a finished training and render it as a sheet."""
    rows = load_living(workspace, snapshot).rows
    facts = [
        *data_facts(workspace, rows, snapshot),
        *label_facts(workspace, rows, result.ledger_offset),
        *model_facts(recipe, result, recognition),
        *test_facts(result),
        *evidence_facts(workspace, snapshot, result),
    ]
    return render(name, facts, synthetic=result.synthetic)


def data_facts(workspace: Workspace, rows: pa.Table, digest: str) -> Iterator[Fact]:
    """Yield facts about the data: people, clips and frames by source and split, exclusions, licenses and consent."""
    frozen, known = f"snapshot {digest[:12]}", "catalog, clips"
    people = _people(rows)
    used = set(pc.unique(rows["clip"]).to_pylist())
    clips = [clip for clip in workspace.catalog.clips() if clip.sha256 in used]
    by_source = Counter(person["source"] for person in people.values())
    yield Fact(item="5a", about="people by source", value=counted(by_source.items()), where=frozen)
    yield Fact(item="5a", about="clips by source", value=counted(Counter(c.source for c in clips).items()), where=known)
    yield Fact(item="5a", about="drawn clips", value=f"{sum(clip.synthetic for clip in clips)} of {len(clips)}", where=known)
    yield Fact(item="5b", about="dates of the recordings", value=None)
    keys = rows.group_by(["clip", "frames_key"]).aggregate([])
    yield from preparation_facts(workspace, dict(zip(keys["clip"].to_pylist(), keys["frames_key"].to_pylist(), strict=True)))
    in_splits = Counter((person["split"], person["cohort"]) for person in people.values())
    frames = Counter(rows["split"].to_pylist())
    for split in Split:
        own = [clip for clip in clips if people.get(clip.subject, {}).get("split") == split]
        value = (
            f"{sum(n for (part, _), n in in_splits.items() if part == split)} people, {len(own)} clips, {frames[split]} frames"
        )
        yield Fact(item="12a", about=f"split {split}", value=value, where=frozen)
    yield Fact(item="12a", about="people in two splits", value="0; refused when the snapshot is frozen and read", where=frozen)
    cohorts = ((f"{split} {cohort}", count) for (split, cohort), count in in_splits.items())
    yield Fact(item="13", about="people by split and cohort", value=counted(cohorts), where=frozen)
    yield from people_facts(people, frozen)
    yield Fact(item="17", about="consent of the clips", value=_noted(clips, "consent"), where=known)
    yield Fact(item="18e", about="licences of the clips", value=_noted(clips, "licence"), where=known)


def preparation_facts(workspace: Workspace, keys: Mapping[str, str]) -> Iterator[Fact]:
    """Yield facts about the preparation of frames: how they were made, which were left out, and how many.

    Frames that were made by another version of the code are not described.

    Args:
        workspace: The catalog.
        keys: Digest of a clip → key of its frame table.
    """
    recipe, limits, version = FrameRecipe(), FrameLimits(), frames_version()
    tables = [table for table in workspace.catalog.frame_tables(version) if keys.get(table.clip) == table.key]
    known = len(tables) == len(keys)
    refused: Counter[str] = Counter()
    for table in tables:
        refused.update(table.quarantined)
    where = f"catalog, frame tables {version}"
    made = f"{recipe.rate_fps:g} frames a second; aligned crops of {CROP_SIZE} px by dlib's 68 landmarks"
    yield Fact(item="7", about="preprocessing", value=made if known else None, where=where)
    shown = ", ".join(f"{name} {value:g}" for name, value in asdict(limits).items())
    yield Fact(item="6b", about="what a frame must be (gate 1)", value=shown if known else None, where=where)
    seen = f"{sum(table.num_frames for table in tables)} sampled, {sum(table.num_faces for table in tables)} with a face"
    yield Fact(item="20a", about="frames of the clips", value=seen if known else None, where=where)
    reasons = counted(refused.items()) or "none"
    yield Fact(item="11", about="frames left out, by first reason", value=reasons if known else None, where=where)
    left_out = workspace.catalog.skipped()
    yield Fact(item="20a", about="items of the sources left out", value=str(len(left_out)), where="catalog, skipped")
    num_people = len(workspace.catalog.subjects())
    yield Fact(item="20a", about="people known when it was registered", value=str(num_people), where="catalog, subjects")


def people_facts(people: Mapping[str, Mapping[str, Any]], where: str) -> Iterator[Fact]:
    """Yield facts about the people of each split from their labels; age, sex and skin tone are not recorded."""
    for split in Split:
        own = [person for person in people.values() if person["split"] == split and person["cohort"] == "palsy"]
        sides = counted(Counter(person["side"] or "none" for person in own).items())
        yield Fact(item="20b", about=f"{split}: palsied people by affected side", value=sides, where=where)
        affected = counted((au, sum(person[au] is True for person in own)) for au in AUS) if own else None
        yield Fact(item="20c", about=f"{split}: palsied people by affected region", value=affected, where=where)
        sources = counted(Counter(person["source"] for person in people.values() if person["split"] == split).items())
        yield Fact(item="16", about=f"{split}: people by source", value=sources, where=where)
    unknown = sum(person[au] is None for person in people.values() for au in AUS)
    yield Fact(
        item="11", about="regions of people without a label", value=f"{unknown} of {len(AUS) * len(people)}", where=where
    )
    yield Fact(item="20b", about="age, sex, skin, cause and grade of the palsy", value=None)


def label_facts(workspace: Workspace, rows: pa.Table, offset: int | None) -> Iterator[Fact]:
    """Yield facts about readers and agreement, and whether today's rule reproduces the labels of the snapshot."""
    ledger, people, counts = workspace.newest_answers_at(offset), _people(rows), workspace.catalog.count_answers(upto=offset)
    where, standing = f"label ledger up to offset {offset}", standing_answers(ledger)
    yield Fact(item="8a", about="answers by stage", value=counted(counts.by_stage.items()), where=where)
    readers = sorted({reader for answers in standing.blind.values() for reader in answers})
    yield Fact(item="8b", about="blind readers, by pseudonym", value=", ".join(readers) or None, where=where)
    yield Fact(item="8b", about="qualifications of the readers", value=None)
    yield Fact(item="8c", about="people read blind by two or more", value=_read_twice(standing.blind), where=where)
    yield Fact(item="8c", about="people ruled on by the adjudicator", value=str(len(standing.rulings)), where=where)
    if len(readers) > 1:
        agreement = agreement_report(standing, readers)
        overall = agreement.overall
        alpha = format_metric(Estimate(value=overall.alpha, interval=overall.alpha_interval))
        raw = format_metric(Estimate(value=overall.raw, interval=overall.raw_interval))
        yield Fact(item="8b", about="Krippendorff's α, 95 % interval over people", value=alpha, where=where)
        yield Fact(item="8b", about="raw agreement, 95 % interval over people", value=raw, where=where)
        for name, part in agreement.by_suggestion.items() if agreement.by_suggestion[WITH_SUGGESTION].num_pairs else ():
            alpha = format_metric(Estimate(value=part.alpha, interval=part.alpha_interval)) or "undefined"
            value = f"{alpha}, {part.num_pairs} pairs of answers"
            yield Fact(item="8c", about=f"Krippendorff's α of answers {name}", value=value, where=where)
    tested = {subject for subject, row in people.items() if row["split"] == Split.TEST}
    for about, shown in (("a model's score", counts.suggested), ("measures of the landmarks", counts.measured)):
        num_tested = sum(number for subject, number in shown.items() if subject in tested)
        value = f"{sum(shown.values())} of {sum(counts.by_stage.values())}, {num_tested} of them about test people"
        yield Fact(item="8c", about=f"answers with {about} on the page", value=value, where=where)
    rule = workspace.settings.consensus_rule
    frozen = {name: (row["side"], *(row[au] for au in AUS)) for name, row in people.items() if row["cohort"] == "palsy"}
    agreed = {
        person: (_side(label.side), *map(label.affected.get, AUS))
        for person, label in first_labels(workspace, resolve_consensus(workspace, ledger).labels).items()
    }
    same = sum(agreed.get(subject) == answer for subject, answer in frozen.items())
    value = f"{rule}; applied again it gives the frozen labels of {same} of {len(frozen)} palsied people"
    yield Fact(item="8a", about="consensus rule", value=value, where=f"settings, and {where}")


def model_facts(recipe_name: str, result: TrainingResult, recognition: Training | None) -> Iterator[Fact]:
    """Yield facts about the model: what was trained, how, from what, and its output."""
    recipe, kind = find_recipe(recipe_name), result.kind
    training, where = f"training of {recipe_name}, metrics.json", f"recipe {recipe_name}"
    yield Fact(item="1", about="kind of model", value=f"{kind}: {type(recipe.model).__name__}", where=training)
    yield Fact(
        item="9b", about="predictors", value=f"pixels, {recipe.model_input_size} px a side, RGB, in [−1, 1]", where=where
    )
    yield Fact(item="12c", about="model", value=_settings(asdict(recipe.model)), where=where)
    yield Fact(item="12c", about="training", value=_settings(asdict(recipe.train)), where=where)
    if recipe.pretrain and recipe.drawn and result.pretrained:
        pretraining = f"{_settings(asdict(recipe.drawn))}; {_settings(asdict(recipe.pretrain))}"
        yield Fact(item="12c", about="pretraining on drawn people of no data set", value=pretraining, where=where)
    weights = result.weights
    brought = ", ".join(str(digest)[:12] for digest in weights) if weights else None
    yield Fact(item="12c", about="weights it started from (sha256)", value=brought, where=training if brought else None)
    yield Fact(item="12c", about="seed", value=str(result.seed), where=training)
    yield Fact(item="12c", about="epoch kept, chosen on validation people", value=str(result.best_epoch), where=training)
    ran = result.environment
    yield Fact(item="12c", about="software and hardware", value=_settings(ran) if ran else None, where=training)
    yield Fact(item="12c", about="seconds of training", value=f"{result.seconds:g}", where=training)
    yield Fact(item="22", about="run in MLflow", value=result.run_id, where=training)
    yield Fact(item="15", about="output", value=OUTPUTS[kind], where="model.json")
    if result.threshold is not None:
        threshold = f"{result.threshold:.4f}, chosen on validation people"
        yield Fact(item="15", about="threshold", value=threshold, where=training)
    if result.calibration and result.abstention:
        band = (
            f"scores from {result.abstention['low']:.3f} to {result.abstention['high']:.3f} are uncertain, by validation people"
        )
        curve = f"log-odds × {result.calibration['scale']:.3f} {result.calibration['bias']:+.3f}, fitted on validation people"
        yield Fact(item="12f", about="calibration", value=curve, where=training)
        yield Fact(item="15", about="abstention band", value=band, where=training)
    if result.region_thresholds:
        chosen = ", ".join(f"{au}: {value:.4f}" for au, value in result.region_thresholds.items())
        yield Fact(item="15", about="thresholds of the regions", value=f"{chosen}; chosen on validation people", where=training)
    if kind == "regions":
        sides = f"{OUTPUTS['sides']}; fitted to validation people" if result.side_scales else "not predicted"
        yield Fact(item="15", about="sides", value=sides, where="model.json")
    if recognition is not None:
        name = f"{recognition.model} version {recognition.version}"
        yield Fact(item="22", about="recognition that runs first", value=name, where="catalog, trainings")
    if result.environment:
        yield Fact(item="18f", about="code", value=f"vitau {result.environment['vitau']}", where=training)


def test_facts(result: TrainingResult) -> Iterator[Fact]:
    """Yield the metrics on test people with their intervals, and the protocol."""
    test, where = result.test, "training, metrics.json, test"
    yield Fact(item="12a", about="protocol", value=str(result.protocol), where="training, metrics.json")
    yield Fact(item="26", about="synthetic", value=str(result.synthetic).lower(), where="training, metrics.json")
    yield from shortcut_facts(result)
    if test is None:
        yield Fact(item="23a", about="performance on test people", value=None)
        return
    how = f"by person; 95 % intervals from {NUM_RESAMPLES} resamples of people"
    yield Fact(
        item="12e", about="measures", value=f"{', '.join((*DECISION_METRICS, *CALIBRATION_METRICS))}; {how}", where=where
    )
    events = f", {test.num_palsied} palsied" if isinstance(test, PalsyMetrics) else ", all palsied"
    yield Fact(item="21", about="test people", value=f"{test.num_subjects}{events}, {test.num_frames} frames", where=where)
    yield Fact(item="26", about="test people", value=str(test.num_subjects), where=where)
    estimates = test.estimates()
    for name in (*DECISION_METRICS, *CALIBRATION_METRICS):
        about = f"{name}, calibration" if name in CALIBRATION_METRICS else name
        value = format_metric(estimates.get(name, UNDEFINED))
        yield Fact(item="23a", about=about, value=value, where=where if value else None)
    if isinstance(test, RegionMetrics):
        yield from region_facts(test, where)
    if isinstance(test, PalsyMetrics) and test.within_source is not None:
        yield from source_facts(test.within_source, where)
    yield Fact(item="23b", about="performance by side, sex, skin", value=None)
    yield Fact(item="14", about="performance by sex, skin, age", value=None)


def evidence_facts(workspace: Workspace, snapshot: str, result: TrainingResult) -> Iterator[Fact]:
    """Yield how often the people were looked at, and, after people were left out one at a time, what that means."""
    if result.test is None:
        return
    num_looks = count_looks(workspace, snapshot, result.protocol)
    yield Fact(item="12e", about="looks at these people", value=str(num_looks), where="catalog, looks")
    if result.protocol is Protocol.LOPO:
        use = f"{evidence_words(result.test)}; the splits were not used, and everybody trained or validated the final model"
        yield Fact(item="12a", about="evidence", value=use, where="catalog, left_out")


def shortcut_facts(result: TrainingResult) -> Iterator[Fact]:
    """Yield what the shortcut probe found: how well the cohort is predicted from how people were recorded."""
    probe, where = result.shortcut_probe, "training, metrics.json, shortcut_probe"
    if probe is None:
        return
    found = format_metric(probe.auroc)
    value = (
        f"undefined for {probe.num_palsied} of {probe.num_people} people" if found is None else f"AUROC {found}, out-of-fold"
    )
    yield Fact(item="26", about="shortcut probe: the cohort from how people were recorded", value=value, where=where)
    if probe.warning is not None:
        yield Fact(item="26", about="warning", value=f"{probe.warning} Most telling: {probe.most_telling}", where=where)


def source_facts(within: WithinSource, where: str) -> Iterator[Fact]:
    """Yield the performance of recognition within the sources with both cohorts."""
    value = format_metric(within.auroc) or f"undefined: none of {within.num_sources} sources has both cohorts"
    yield Fact(item="23b", about="AUROC within sources with both cohorts", value=value, where=where)
    for source, own in within.by_source.items():
        value = f"AUROC {format_metric(own.auroc)}; {own.num_palsied} palsied of {own.num_subjects} people"
        yield Fact(item="23b", about=f"source {source}", value=value, where=where)


def region_facts(test: RegionMetrics, where: str) -> Iterator[Fact]:
    """Yield the performance of each region and of the affected side."""
    for au, own in test.by_au.items():
        auroc = format_metric(own.auroc) or "undefined"
        found = own.estimates()
        more = [f", {words} {format_metric(found[name])}" for name, words in REGION_WORDS.items() if name in found]
        value = f"AUROC {auroc}, accuracy {format_metric(own.accuracy)}{''.join(more)}"
        value += f"; {own.num_affected} of {own.num_subjects} affected"
        yield Fact(item="23a", about=au, value=value, where=where)
    if test.sides is not None:
        accuracy = format_metric(test.sides.accuracy)
        yield Fact(item="23a", about="accuracy of the affected side", value=accuracy, where=where if accuracy else None)
    if test.cascade is not None:
        people = f"both models, {test.cascade.num_palsied} of {test.cascade.num_subjects} people palsied"
        for name, estimate in test.cascade.estimates().items():
            if estimate.value is not None:
                about = f"{people}: {name.replace('_', ' ')}"
                yield Fact(item="23a", about=about, value=format_metric(estimate), where=where)
    for about, sides in (("the affected side", test.sides), ("the sides of regions", test.region_sides)):
        ece = None if sides is None else format_metric(sides.ece)
        if ece:
            yield Fact(item="23a", about=f"ece, calibration of {about}", value=ece, where=where)


def format_metric(metric: Estimate) -> str | None:
    """Return a metric with its interval, ``None`` where it is undefined."""
    return None if metric.value is None else format_estimate(metric.value, metric.interval)


def _people(rows: pa.Table) -> dict[str, Mapping[str, Any]]:
    """Return the last row of each person, by pseudonym: the facts about a person are the same in all rows."""
    code_N = rows["subject"].combine_chunks().dictionary_encode().indices.to_numpy()
    _, back_P = np.unique(code_N[::-1], return_index=True)
    last = rows.select(["subject", "source", "cohort", "split", "side", *AUS]).take(np.sort(rows.num_rows - 1 - back_P))
    return {row["subject"]: row for row in last.to_pylist()}


def _noted(clips: Sequence[Clip], what: str) -> str | None:
    """Count the notes of the manifests about the clips; ``None`` if no clip has one."""
    notes = Counter(getattr(clip, what) for clip in clips)
    if set(notes) <= {None}:
        return None
    return counted((note or "not noted", count) for note, count in notes.items())


def _read_twice(blind: Mapping[str, Mapping[str, Any]]) -> str:
    return f"{sum(len(answers) > 1 for answers in blind.values())} of {len(blind)}"


def _side(side: Side | None) -> str | None:
    return None if side is None else side.value


def _settings(values: Mapping[str, Any]) -> str:
    """Return settings as ``name value``, nested ones in parentheses."""
    parts = (
        f"{name} ({_settings(value)})" if isinstance(value, Mapping) else f"{name} {value}" for name, value in values.items()
    )
    return ", ".join(parts)
