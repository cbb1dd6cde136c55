"""Tables of a cross-validation: predictions, all metrics as CSV, and the page of tables as Markdown."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from flows.crossvalidation.results import Results
from flows.crossvalidation.study import FoldTask, Study
from flows.promotion.policies import people_needed
from vitau.data.protocols import PAPER_COUNTS
from vitau.evaluation.bootstrap import format_estimate
from vitau.evaluation.crossvalidation.pooled import Difference, Pooled, SeedEstimate
from vitau.evaluation.promotion.policy import PATIENTS
from vitau.schema import AUS, Cohort, Protocol

PROBE: Final = "shortcut probe"
"""Task of the probe in the tables."""
COLUMNS: Final = (
    *("task", "protocol", "minus", "level", "question", "metric", "value", "low", "high", "sd"),
    *("people", "palsied", "frames", "folds", "seeds", "synthetic"),
)
"""Columns of ``table.csv``; ``minus`` names the second protocol of a difference."""
METHOD: Final = (
    "Predictions are pooled over folds. A person counts once, as the mean of the frames; in brackets is the 95 % interval of a "
    "bootstrap over people, after ± the standard deviation over seeds. Epoch and threshold are chosen on validation frames of "
    "the fold, never on its test frames. Pretraining is shared by all folds and seeds."
)
SMALL: Final = PATIENTS.min_left_out
"""Palsied people below which the outputs name what more people are needed for."""
PROTOCOL_WORDS: Final[Mapping[Protocol, str]] = {
    Protocol.FRAMES: "frames are divided whoever they show: the test people were seen in training (the paper's protocol)",
    Protocol.SUBJECTS: "one hold-out of people, the recorded splits",
    Protocol.LOPO: "one palsied person is left out at a time, with a fifth of the controls",
}
TASKS_IN_SENTENCES: Final[Mapping[str, str]] = {"palsy": "recognition", "regions": "the regions"}
SHOWN: Final = ("auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "f1")
METRIC_WORDS: Final[Mapping[str, str]] = {
    "auroc": "AUROC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "mcc": "MCC",
    "kappa": "Cohen's κ",
    "average_precision": "average precision",
    "ece": "calibration error (ECE)",
    "brier": "Brier score",
    "auroc_within_source": "AUROC within source",
    "accuracy_of_paper_7": "accuracy, the paper's 7 regions",
    "auroc_of_paper_7": "AUROC, the paper's 7 regions",
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Content of the outputs: the plan, its results, and the kind of people."""

    study: Study
    results: Results
    synthetic: bool
    num_erased: int = 0


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Numbers of frames under `frames` with the paper's counts."""

    task: str
    part: str
    cohort: Cohort
    wanted: int
    taken: int


def predictions(rows: pa.Table, tables: Mapping[FoldTask, pa.Table]) -> pa.Table:
    """Return every out-of-fold prediction beside the frame's pseudonym, clip, index and labels."""
    joined = []
    for task, table in tables.items():
        frames = rows.select(["subject", "clip", "frame_index", "cohort", "side", *AUS]).take(table["row"])
        about = {"protocol": str(task.protocol), "task": task.task, "seed": task.seed, "fold": task.index}
        columns = {name: pa.array([value] * table.num_rows) for name, value in about.items()}
        columns |= {name: frames[name] for name in frames.column_names}
        columns |= {name: table[name] for name in table.column_names if name != "row"}
        joined.append(pa.table(columns))
    return pa.concat_tables(joined)


def csv_table(facts: Facts) -> str:
    """Return every metric as a line of CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in facts.results.pooled:
        for question, metrics in {"": row.metrics, **row.by_question}.items():
            for metric, estimate in metrics.items():
                writer.writerow({**_line(row, estimate, facts), "question": question, "metric": metric})
    if facts.results.probe is not None:
        probe = facts.results.probe
        auroc = _numbers(probe.auroc.value, probe.auroc.interval)
        counts = {"people": probe.num_people, "palsied": probe.num_palsied, "synthetic": str(facts.synthetic).lower()}
        writer.writerow({"task": PROBE, "level": "person", "metric": "auroc", **auroc, **counts})
    for difference in facts.results.differences:
        writer.writerow(
            {
                "task": difference.task,
                "protocol": difference.protocol,
                "minus": difference.other,
                "level": difference.level,
                "metric": difference.metric,
                **_numbers(difference.value, difference.interval),
                "people": difference.num_people,
                "seeds": facts.study.num_seeds,
                "synthetic": str(facts.synthetic).lower(),
            }
        )
    return out.getvalue()


def markdown(facts: Facts, taken: Sequence[Taken]) -> str:
    """Return the page with the tables as Markdown."""
    people = "synthetic people" if facts.synthetic else "people"
    shown = [METRIC_WORDS[name] for name in SHOWN]
    seeds = "1 seed" if facts.study.num_seeds == 1 else f"{facts.study.num_seeds} seeds"
    lines = [
        f"# Cross-validation of {' and '.join(recipe.name for recipe in facts.study.recipes.values())} on {people}",
        "",
        f"Snapshot `{facts.study.snapshot}`{' (synthetic)' * facts.synthetic}, {seeds}. {METHOD}",
        "",
        *(f"* `{protocol}`: {PROTOCOL_WORDS[protocol]}." for protocol in facts.study.protocols),
        "",
        *(line for note in notes(facts) for line in (note, "")),
        *_markdown_table(
            ["Task", "Protocol", "Level", "People", "Folds", *shown],
            [
                [
                    *(row.task, f"`{row.protocol}`", row.level, str(row.num_people), str(row.num_folds)),
                    *(words(row.metrics.get(name)) for name in SHOWN),
                ]
                for row in facts.results.pooled
            ],
        ),
    ]
    lines += ["", *(line for sentence in beside(facts.results) for line in (sentence, ""))][:-1]
    if facts.results.differences:
        lines += ["", "## How much a protocol flatters", ""]
        lines += [
            *(f"* {sentence}" for sentence in flattery(facts.results)),
            "",
            "The first protocol minus the second, on the people that both tested:",
            "",
        ]
        lines += _markdown_table(
            ["Task", "Difference", "Level", "People", "Metric", "Value"],
            [
                [
                    *(row.task, f"`{row.protocol}` − `{row.other}`", row.level, str(row.num_people)),
                    *(METRIC_WORDS[row.metric], difference_words(row)),
                ]
                for row in facts.results.differences
            ],
        )
    if taken:
        lines += ["", "Images of protocol `frames`, the paper's counts and what the data has:", ""]
        lines += _markdown_table(
            ["Task", "Part", "Cohort", "Paper", "Here", ""],
            [
                [
                    row.task,
                    row.part,
                    row.cohort,
                    f"{row.wanted:,}",
                    f"{row.taken:,}",
                    "" if row.taken == row.wanted else "fewer",
                ]
                for row in taken
            ],
        )
    return "\n".join(lines) + "\n"


def beside(results: Results) -> Iterator[str]:
    """Yield the sentences below the table: the shortcut probe, and recognition within sources."""
    probe = results.probe
    if probe is not None:
        auroc = format_estimate(probe.auroc.value, probe.auroc.interval, undefined="undefined")
        yield (
            f"Shortcut probe, which predicts the cohort of a person from how other people were recorded: AUROC {auroc} on "
            f"{probe.num_palsied} palsied people and {probe.num_people - probe.num_palsied} others"
            + (f"; alone, {probe.most_telling}." if probe.most_telling else ".")
        )
    for row in results.pooled:
        within = row.metrics.get("auroc_within_source")
        if within is not None:
            found = "undefined, no source has both cohorts" if within.value is None else words(within)
            yield f"Recognition within sources with both cohorts, `{row.protocol}`: AUROC {found}."


def flattery(results: Results) -> Iterator[str]:
    """Yield by how much `frames` flatters each task, against each protocol that keeps people apart."""
    found = {
        (row.task, row.other, row.level, row.metric): row for row in results.differences if row.protocol is Protocol.FRAMES
    }
    for task, other in dict.fromkeys((task, other) for task, other, _, _ in found):
        auroc = found[task, other, "person", "auroc"]
        shown = "; ".join(
            f"{METRIC_WORDS[metric]} {difference_words(found[task, other, 'person', metric])} by person, "
            f"{difference_words(found[task, other, 'frame', metric])} by frame"
            for metric in ("auroc", "accuracy")
        )
        if auroc.interval is None:
            opinion = "that `frames` flatters cannot be shown"
        elif auroc.interval[0] > 0:
            opinion = "`frames` flatters"
        else:
            opinion = "it is not shown that `frames` flatters"
        people = f"{auroc.num_people} {'person' if auroc.num_people == 1 else 'people'}"
        yield f"{TASKS_IN_SENTENCES[task].capitalize()}, {people}: {opinion}. `frames` minus `{other}`: {shown}."


def notes(facts: Facts) -> list[str]:
    """Return what limits the numbers, as sentences."""
    warning = facts.results.probe.warning if facts.results.probe is not None else None
    found = [] if warning is None else [warning]
    tested = [row for row in facts.results.pooled if (row.task, row.level) == ("palsy", "person")]
    num_palsied = max((row.num_palsied for row in tested), default=SMALL)
    if num_palsied < SMALL:
        found.append(f"At most {num_palsied} palsied people are tested. {people_needed()}")
    if Protocol.FRAMES in facts.study.protocols:
        found.append("`frames` tests people that the model was trained on: its numbers promise nothing about new people.")
    return found


def counts_taken(study: Study, rows: pa.Table) -> Iterator[Taken]:
    """Yield the paper's counts beside those that were taken; none without ``paper_counts``."""
    for task in study.recipes if study.paper_counts else ():
        counts = study.counts(Protocol.FRAMES, task, rows)
        assert counts is not None, "the plan asks for the paper's counts"
        for cohort in Cohort:
            for part, wanted, taken in zip(("train", "test"), PAPER_COUNTS[task].of(cohort), counts.of(cohort), strict=True):
                if wanted:
                    yield Taken(task=task, part=part, cohort=cohort, wanted=wanted, taken=taken)


def words(estimate: SeedEstimate | None) -> str:
    """Return ``value [low, high] ± sd``."""
    if estimate is None:
        return "–"
    sd = "" if estimate.sd is None else f" ± {estimate.sd:.3f}"
    return format_estimate(estimate.value, estimate.interval, undefined="–") + sd


def difference_words(difference: Difference) -> str:
    """Return ``+value [low, high]``."""
    return format_estimate(difference.value, difference.interval, sign="+", undefined="–")


def summary_rows(results: Results) -> Iterator[list[str]]:
    """Yield the lines of the table that the command prints; the last is the shortcut probe."""
    for row in results.pooled:
        yield [
            row.task,
            str(row.protocol),
            row.level,
            str(row.num_people),
            *(words(row.metrics.get(name)) for name in SHOWN[:3]),
        ]
    if results.probe is not None:
        auroc = format_estimate(results.probe.auroc.value, results.probe.auroc.interval, undefined="–")
        yield [PROBE, "–", "person", str(results.probe.num_people), auroc, "–", "–"]


def _line(row: Pooled, estimate: SeedEstimate, facts: Facts) -> dict[str, Any]:
    return {
        "task": row.task,
        "protocol": row.protocol,
        "level": row.level,
        **_numbers(estimate.value, estimate.interval),
        "sd": "" if estimate.sd is None else f"{estimate.sd:.6f}",
        "people": row.num_people,
        "palsied": row.num_palsied,
        "frames": row.num_frames,
        "folds": row.num_folds,
        "seeds": row.num_seeds,
        "synthetic": str(facts.synthetic).lower(),
    }


def _numbers(value: float | None, interval: tuple[float, float] | None) -> dict[str, str]:
    low, high = interval or (None, None)
    return {
        name: "" if number is None else f"{number:.6f}" for name, number in (("value", value), ("low", low), ("high", high))
    }


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]
