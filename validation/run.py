"""Validate a table against a suite with Great Expectations, and write Data Docs."""

import os
import threading
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from validation.suites import Expected, Suite
from vitau.errors import GateError

KEPT = "quarantine.isna()"
"""Row condition of the expectations about rows outside quarantine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateResult:
    """The result of a gate. ``flagged`` are the positions of rows with a critical failure; ``docs`` is an index.html."""

    gate: str
    passed: bool
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    statistics: Mapping[str, int]
    flagged: frozenset[int]
    docs: Path | str | None


def check(rows: pd.DataFrame, suite: Suite, docs_dir: Path | None = None) -> GateResult:
    """Validate a table against a suite.

    Each failure is a sentence with the number of rows and an example. An expectation with severity ``warning`` does not fail
    the gate. The first call imports Great Expectations, which takes seconds.

    Args:
        rows: a table of :mod:`validation.rules`.
        suite: the expectations.
        docs_dir: folder for Data Docs; none are written by default.
    """
    rows = rows.reset_index(drop=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from imports of Great Expectations (sre_constants)
        results, docs = _validate(rows, suite, docs_dir)
    failed = [(expected, result) for expected, result in zip(suite.expectations, results, strict=True) if not result["success"]]
    critical = [(expected, result) for expected, result in failed if expected.severity == "critical"]
    return GateResult(
        gate=suite.name,
        passed=not critical,
        failures=tuple(_sentence(rows, expected, result) for expected, result in critical),
        warnings=tuple(_sentence(rows, expected, result) for expected, result in failed if expected.severity == "warning"),
        statistics={"rows": len(rows), "expectations": len(results), "failed": len(failed)},
        flagged=frozenset(row for _, result in critical for row in _unexpected_rows(result)),
        docs=docs,
    )


def load_ahead() -> None:
    """Start to import Great Expectations in a thread, for a later call of :func:`check`, while other processes work."""

    def load() -> None:
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        with suppress(Warning):  # as an error, a warning of the import ends it; then the check imports again
            import great_expectations  # noqa: F401 - slow to import

    threading.Thread(target=load, name="load-expectations", daemon=True).start()


def require(result: GateResult) -> GateResult:
    """Return the result if the gate is passed. Raises GateError with one sentence."""
    if result.passed:
        return result
    first, others = result.failures[0], len(result.failures) - 1
    more = f", and {others} more" if others else ""
    where = f", see {result.docs}" if result.docs else ""
    raise GateError(f"gate {result.gate} is not passed: {first}{more}{where}.")


def _validate(rows: pd.DataFrame, suite: Suite, docs_dir: Path | None) -> tuple[list[dict[str, Any]], Path | None]:
    """Run the suite; return its results in order and the path of the Data Docs, if any."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx  # slow to import
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.expectations.registry import get_expectation_impl

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    if docs_dir is not None:
        context.delete_data_docs_site("local_site")
        context.add_data_docs_site("vitau", _site(docs_dir))
    expectations = gx.ExpectationSuite(name=suite.name)
    for position, expected in enumerate(suite.expectations):
        condition = {"row_condition": KEPT, "condition_parser": "pandas"} if expected.only_kept else {}
        meta = {"position": position, "notes": {"format": "string", "content": [f"Otherwise: {expected.otherwise}."]}}
        implementation = get_expectation_impl(expected.type)
        expectations.add_expectation(implementation(**expected.kwargs, **condition, severity=expected.severity, meta=meta))
    batch = (
        context.data_sources.add_pandas("tables").add_dataframe_asset(suite.name).add_batch_definition_whole_dataframe("whole")
    )
    definition = gx.ValidationDefinition(name=suite.name, data=batch, suite=context.suites.add(expectations))
    validation = context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": rows}, result_format={"result_format": "COMPLETE"}
    )
    if docs_dir is not None:
        context.build_data_docs(["vitau"])
    by_position = {result.expectation_config.meta["position"]: result.to_json_dict() for result in validation.results}
    return [by_position[position] for position in range(len(suite.expectations))], docs_dir and docs_dir / "index.html"


def _site(folder: Path) -> dict[str, Any]:
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())}
    return {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": store,
    }


def _unexpected_rows(result: Mapping[str, Any]) -> list[int]:
    return list((result.get("result") or {}).get("unexpected_index_list") or [])


def _sentence(rows: pd.DataFrame, expected: Expected, result: Mapping[str, Any]) -> str:
    """Format a failure with its number of rows and the first of them; it shows pseudonyms and digests only."""
    failing = _unexpected_rows(result)
    exception = next(iter(_exceptions(result)), None)
    if exception is not None and not failing:
        return f"{expected.otherwise} (not decided: {exception})"
    if not failing:
        return expected.otherwise
    first = rows.iloc[failing[0]]
    columns = [name for name in ("subject", "clip", "frame_index", "au") if name in rows]
    named = ", ".join(f"{name} {str(first[name])[:16]}" for name in columns)
    return f"{expected.otherwise} ({len(failing)} of {len(rows)} rows, first: {named})"


def _exceptions(result: Mapping[str, Any]) -> list[str]:
    """Return the messages of exceptions inside Great Expectations, which are one level deep or one per metric."""
    info = result.get("exception_info") or {}
    infos = [info] if "raised_exception" in info else list(info.values())
    return [str(entry["exception_message"]).splitlines()[0] for entry in infos if entry.get("raised_exception")]
