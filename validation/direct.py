"""Evaluate a suite with pandas alone: the same expectations as Great Expectations decides, in milliseconds.

Gate 1 judges each clip with it when the clip is done. Great Expectations takes seconds, so it judges and documents batches.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pandas as pd
from pandas.api.types import is_object_dtype, is_string_dtype

from validation.suites import Expected, Suite


def failures(rows: pd.DataFrame, suite: Suite) -> list[str]:
    """Return the sentence of each critical expectation that fails, with the number of its rows.

    Args:
        rows: a table of :mod:`validation.rules`, with the column ``quarantine``.
        suite: with the kinds of expectations that gate 1 has.

    Raises:
        ValueError: another kind of expectation.
    """
    kept = rows[rows["quarantine"].isna()]
    sentences = []
    for expected in suite.expectations:
        if expected.severity == "critical":
            num_failing = _num_failing(kept if expected.only_kept else rows, expected)
            if num_failing:
                sentences.append(f"{expected.otherwise} ({num_failing} of {len(rows)} rows)")
    return sentences


def _num_failing(rows: pd.DataFrame, expected: Expected) -> int:
    count = _COUNTS.get(expected.type)
    if count is None:
        raise ValueError(f"no direct check of {expected.type}: add it to validation/direct.py")
    column = expected.kwargs.get("column")
    if column is not None and column not in rows:
        return max(len(rows), 1)
    return int(count(rows, expected.kwargs))


def _of_other_type(rows: pd.DataFrame, kwargs: Mapping[str, Any]) -> int:
    values = rows[kwargs["column"]]
    if kwargs["type_"] == "str":
        if is_string_dtype(values) and not is_object_dtype(values):
            return 0
        return sum(not isinstance(value, str) for value in values.dropna())
    return 0 if str(values.dtype) == kwargs["type_"] else max(len(values), 1)


def _outside(rows: pd.DataFrame, kwargs: Mapping[str, Any]) -> int:
    values = rows[kwargs["column"]].dropna()
    low, high = kwargs["min_value"], kwargs["max_value"]
    within = pd.Series(data=True, index=values.index)
    if low is not None:
        within &= values >= low
    if high is not None:
        within &= values <= high
    return int((~within).sum())


_COUNTS: Final[Mapping[str, Callable[[pd.DataFrame, Mapping[str, Any]], Any]]] = {
    "expect_column_to_exist": lambda _rows, _kwargs: 0,
    "expect_column_values_to_be_of_type": _of_other_type,
    "expect_column_values_to_not_be_null": lambda rows, kwargs: rows[kwargs["column"]].isna().sum(),
    "expect_compound_columns_to_be_unique": lambda rows, kwargs: rows.duplicated(kwargs["column_list"], keep=False).sum(),
    "expect_column_values_to_be_between": _outside,
}
