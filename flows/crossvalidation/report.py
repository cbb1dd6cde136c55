"""Outputs of a cross-validation: the tables and the report page, readable by their owner only."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from flows.crossvalidation.fold_worker import parquet
from flows.crossvalidation.folder import OUTPUTS
from flows.crossvalidation.results import Results
from flows.crossvalidation.study import FoldTask
from flows.crossvalidation.tables import (
    METHOD,
    METRIC_WORDS,
    PROTOCOL_WORDS,
    SHOWN,
    Facts,
    Taken,
    beside,
    counts_taken,
    csv_table,
    difference_words,
    flattery,
    markdown,
    notes,
    predictions,
    words,
)
from vitau.pages import page_environment
from vitau.schema import REGION_NAMES
from vitau.store.atomic import make_private_folders, write_atomic

TASK_WORDS: Final[Mapping[str, str]] = {
    "palsy": "recognition, palsied or not",
    "regions": "affected regions of palsied people, mean over regions",
    "side": "affected side of palsied people with one",
    "region sides": "sides of the regions of palsied people, mean over both sides of all regions",
}
PLOT: Final = 220
"""Width of the forest plot, px."""


def write_outputs(facts: Facts, rows: pa.Table, tables: Mapping[FoldTask, pa.Table], out: Path) -> None:
    """Write ``predictions.parquet``, ``table.csv``, ``table.md`` and ``report.html``, readable by their owner only."""
    make_private_folders(out)
    taken = list(counts_taken(facts.study, rows))
    contents: tuple[bytes | str, ...] = (
        parquet(predictions(rows, tables)),
        csv_table(facts),
        markdown(facts, taken),
        page(facts, taken),
    )
    for name, content in zip(OUTPUTS, contents, strict=True):
        write_atomic(out / name, content)


def page(facts: Facts, taken: Sequence[Taken]) -> str:
    """Render the report as one self-contained HTML page; no pseudonym is on it."""
    return (
        page_environment(Path(__file__).parent)
        .get_template("crossvalidation.html.j2")
        .render(
            study=facts.study,
            synthetic=facts.synthetic,
            num_erased=facts.num_erased,
            pooled=facts.results.pooled,
            differences=facts.results.differences,
            taken=taken,
            reliability_bins=facts.results.reliability,
            forest=list(forest(facts.results)),
            metric_words=METRIC_WORDS,
            protocol_words=PROTOCOL_WORDS,
            task_words=TASK_WORDS,
            region_names=REGION_NAMES,
            shown=SHOWN,
            more=("ppv", "npv", "mcc", "kappa", "average_precision", "ece", "brier"),
            size=PLOT,
            words=words,
            difference_words=difference_words,
            method=METHOD,
            beside=[sentence.replace("`", "") for sentence in beside(facts.results)],
            flattery=[sentence.replace("`", "") for sentence in flattery(facts.results)],
            notes=[note.replace("`", "") for note in notes(facts)],
        )
    )


def forest(results: Results) -> Iterator[dict[str, Any]]:
    """Yield a line of the forest plot for each task, protocol and level: AUROC and its interval, in px of 0 to ``PLOT``."""
    for row in results.pooled:
        estimate = row.metrics["auroc"]
        if estimate.value is not None:
            low, high = estimate.interval or (estimate.value, estimate.value)
            yield {
                "row": row,
                "words": words(estimate),
                "x": round(PLOT * estimate.value, 1),
                "low": round(PLOT * low, 1),
                "width": round(PLOT * (high - low), 1),
            }
