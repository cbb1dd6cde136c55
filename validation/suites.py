"""The suites of the three gates: each expectation with the sentence that is shown if it fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from validation.rules import NESTED
from vitau.schema import AUS, FRAME_COLUMNS, KNOWN_COHORTS, FrameLimits, Side, Split

Severity = Literal["critical", "warning"]

_PANDAS_TYPES = {"string": "str", "int32": "int32", "float32": "float32", "float64": "float64"}
_LENGTHS = {name: int(FRAME_COLUMNS[name].type.split("[")[1].rstrip("]")) for name in NESTED}


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """An expectation: its Great Expectations type and arguments, and the sentence that is shown if it fails."""

    type: str
    kwargs: Mapping[str, Any]
    otherwise: str
    severity: Severity = "critical"
    only_kept: bool = field(default=False)
    """Applies only to rows outside quarantine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """A gate: its name and its expectations, in the order in which failures are reported."""

    name: str
    expectations: tuple[Expected, ...]


def frames_suite(limits: FrameLimits | None = None) -> Suite:
    """Return gate 1, for :func:`validation.rules.frame_rows`: the table is complete, and kept rows are within the limits."""
    limits = limits or FrameLimits()
    scalars = {name: column for name, column in FRAME_COLUMNS.items() if column.type in _PANDAS_TYPES}
    return Suite(
        name="frames",
        expectations=(
            *(_exists(name) for name in (*scalars, *(f"{name}_length" for name in NESTED))),
            *(_of_type(name, _PANDAS_TYPES[column.type]) for name, column in scalars.items()),
            *(_present(name) for name, column in scalars.items() if not column.nullable),
            Expected(
                type="expect_compound_columns_to_be_unique",
                kwargs={"column_list": ["clip", "frame_index"]},
                otherwise="a frame of a clip is there twice",
            ),
            _between("index_step", 1, None, otherwise="the frames of a clip are not in increasing order"),
            _between("num_faces", 1, None, only_kept=True, otherwise="a frame without a face is not in quarantine"),
            *(_present(f"{name}_length", only_kept=True) for name in NESTED),
            *(
                _between(f"{name}_length", length, length, otherwise=f"{name} does not have {length} values")
                for name, length in _LENGTHS.items()
            ),
            *(_present(measure, only_kept=True) for measure in limits.intervals()),
            *(_between(measure, *interval, only_kept=True) for measure, interval in limits.intervals().items()),
        ),
    )


def labels_suite(agreement_min: float = 0.6) -> Suite:
    """Return gate 2, for :func:`validation.rules.label_rows`: one label per person and region, agreed on and consistent."""
    return Suite(
        name="labels",
        expectations=(
            *(_exists(name) for name in ("subject", "au", "affected", "side")),
            _present("subject"),
            Expected(
                type="expect_compound_columns_to_be_unique",
                kwargs={"column_list": ["subject", "au"]},
                otherwise="a person has two answers for one region",
            ),
            _in_set("au", [au.value for au in AUS], otherwise="an action unit is none of the 8"),
            _in_set("side", [side.value for side in Side], otherwise="a side is neither left, right nor both"),
            _in_set("known", [True], otherwise="a person with labels is not in the catalog"),
            _between("num_sides", 0, 1, otherwise="a person has two different sides"),
            _absent("contradiction", otherwise="a person has affected regions without a side, or a side without them"),
            _between("agreement", agreement_min, None, otherwise=f"the readers agree less than {agreement_min:g}"),
            _absent("surprise", severity="warning", otherwise="a person's regions do not fit the cohort"),
        ),
    )


def snapshot_suite(identity_floor: float = 0.3, class_min: int = 1, identity_warning: float = 0.6) -> Suite:
    """Return gate 3, for :func:`validation.rules.snapshot_rows`: no person is in two splits, and sources are not cohorts.

    Args:
        identity_floor: smallest distance allowed between the face embeddings of two subjects.
        class_min: smallest number of subjects per split and cohort.
        identity_warning: distance below which two subjects are to be looked at.
    """
    classes = [f"{split.value}/{cohort.value}" for split in Split for cohort in KNOWN_COHORTS]
    return Suite(
        name="snapshot",
        expectations=(
            *(_exists(name) for name in ("subject", "split", "cohort", "source")),
            _in_set("split", [split.value for split in Split], otherwise="a split is neither train, val nor test"),
            _in_set("cohort", [cohort.value for cohort in KNOWN_COHORTS], otherwise="a cohort is neither palsy nor control"),
            _between("num_splits", 1, 1, otherwise="a person is in two splits"),
            _between("num_cohorts", 1, 1, otherwise="a person is in two cohorts"),
            _between("num_answers", 1, 1, otherwise="frames of one person carry different labels"),
            Expected(
                type="expect_column_distinct_values_to_contain_set",
                kwargs={"column": "class_name", "value_set": classes},
                otherwise="a split has no person of one cohort",
            ),
            _between("class_size", class_min, None, otherwise=f"a split has fewer than {class_min} people of one cohort"),
            _between(
                "nearest_other",
                identity_floor,
                None,
                otherwise=f"two subjects have faces nearer than {identity_floor:g} and may be one person",
            ),
            _between(
                "nearest_other",
                identity_warning,
                None,
                severity="warning",
                otherwise=f"two subjects have faces nearer than {identity_warning:g}; `labels lookalikes --page` shows them",
            ),
            _between(
                "source_cohorts",
                2,
                None,
                severity="warning",
                otherwise="a source has only patients or only controls, and a model may learn the source instead of the palsy",
            ),
        ),
    )


def _exists(column: str) -> Expected:
    return Expected(type="expect_column_to_exist", kwargs={"column": column}, otherwise=f"column {column} is missing")


def _of_type(column: str, pandas_type: str) -> Expected:
    return Expected(
        type="expect_column_values_to_be_of_type",
        kwargs={"column": column, "type_": pandas_type},
        otherwise=f"column {column} is not {pandas_type}",
    )


def _present(column: str, *, only_kept: bool = False) -> Expected:
    return Expected(
        type="expect_column_values_to_not_be_null",
        kwargs={"column": column},
        only_kept=only_kept,
        otherwise=f"{column.removesuffix('_length')} is missing"
        + (" in a frame that is not in quarantine" if only_kept else ""),
    )


def _absent(column: str, *, otherwise: str, severity: Severity = "critical") -> Expected:
    return Expected(type="expect_column_values_to_be_null", kwargs={"column": column}, otherwise=otherwise, severity=severity)


def _in_set(column: str, values: list[Any], *, otherwise: str) -> Expected:
    return Expected(
        type="expect_column_values_to_be_in_set", kwargs={"column": column, "value_set": values}, otherwise=otherwise
    )


def _between(
    column: str,
    low: float | None,
    high: float | None,
    *,
    otherwise: str | None = None,
    severity: Severity = "critical",
    only_kept: bool = False,
) -> Expected:
    limits = " and ".join(f"{word} {limit:g}" for word, limit in (("below", low), ("above", high)) if limit is not None)
    return Expected(
        type="expect_column_values_to_be_between",
        kwargs={"column": column, "min_value": low, "max_value": high},
        severity=severity,
        only_kept=only_kept,
        otherwise=otherwise or f"{column} is {limits.replace(' and ', ' or ')} in a frame that is not in quarantine",
    )
