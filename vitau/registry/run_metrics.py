"""Metrics of a run: the few that MLflow shows as numbers, and all of them as files."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

METRICS_JSON: Final = "metrics.json"
METRICS_CSV: Final = "metrics.csv"
HEADLINE: Final = (
    *("test.n_subjects", "test.auroc", "test.auroc_interval.low", "test.auroc_interval.high", "test.balanced_accuracy"),
    *("test.sensitivity", "test.specificity", "test.ece", "test.sides.accuracy"),
    *("test.cascade.sensitivity", "test.cascade.false_alarms", "shortcut_probe.auroc"),
)
"""Numbers by which versions are compared; a model has those that apply to it, about ten."""


def headline(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the headline metrics of a training's result in their stored form."""
    found = dict(flatten(metrics))
    return {name: found[name] for name in HEADLINE if name in found}


def metrics_files(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return all metrics as files, name → text: the stored form as JSON, and its numbers as CSV.

    The columns are ``metric``, the name of a nested number as ``outer.inner``, and ``value``.
    """
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("metric", "value"))
    writer.writerows(flatten(metrics))
    return {METRICS_JSON: json.dumps(metrics, indent=1) + "\n", METRICS_CSV: table.getvalue()}


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of nested values as ``outer.inner``; both ends of an interval are numbers, all else is left out."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            name = re.sub(r"[^\w\- :]", "_", key)[:80]  # names of sources are free, those of metrics are not
            yield from flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple) and len(value) == 2 and key.endswith("_interval") and None not in value:
            yield from ((f"{prefix}{key}.{end}", float(limit)) for end, limit in zip(("low", "high"), value, strict=True))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}", float(value)
