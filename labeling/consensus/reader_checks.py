"""Checks of readers: people without a palsy, and people read a second time, mixed into a queue without a word.

The answers are in the ledger like all others and make no label. A *false alarm* is an affected region of a person without a
palsy. *Test–retest κ* is Cohen's, between a reader's answer and the same reader's second answer about the same pictures.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labeling.consensus.agreement import NUM_RESAMPLES
from labeling.consensus.kappa import PairKappa, pair_kappas
from vitau.evaluation.bootstrap import Interval
from vitau.schema import AU, AUS, CheckKind, LedgerRow, Stage

_Z95 = 1.959964


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderChecks:
    """The results of the checks of one reader.

    ``false_alarms`` counts the controls with a region called affected; ``rate`` is their share with Wilson's interval, both
    ``None`` without a control. ``retest`` is κ over the regions that both answers could tell, ``None`` without a repeat.
    """

    reader: str
    num_controls: int
    false_alarms: int
    rate: float | None
    rate_interval: Interval | None
    num_repeats: int
    retest: PairKappa | None


@dataclass(slots=True)
class _Annotation:
    kind: CheckKind | None
    rows: dict[AU, LedgerRow] = field(default_factory=dict)


def reader_checks(rows: Iterable[LedgerRow], *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> list[ReaderChecks]:
    """Compute what the checks show about each reader who was checked, by name.

    Args:
        rows: the ledger, in its order.
        num_resamples: resamples of people for the interval of κ.
        seed: of the resamples.
    """
    controls: dict[str, list[Mapping[AU, LedgerRow]]] = defaultdict(list)
    repeats: dict[str, list[tuple[Mapping[AU, LedgerRow], Mapping[AU, LedgerRow]]]] = defaultdict(list)
    for (reader, _), annotations in _annotations(rows).items():
        first = None
        for annotation in annotations:
            if annotation.kind is CheckKind.CONTROL:
                controls[reader].append(annotation.rows)
            elif annotation.kind is None:
                first = annotation
            elif first is not None:
                repeats[reader].append((first.rows, annotation.rows))
    return [
        _report(reader, controls[reader], repeats[reader], num_resamples, seed)
        for reader in sorted(controls.keys() | repeats.keys())
    ]


def wilson_interval(count: int, number: int) -> Interval:
    """Compute the 95 % interval of a share (E. B. Wilson, J Am Stat Assoc 1927, 22: 209–212); it is not empty for 0 of n."""
    share, weight = count / number, _Z95**2 / number
    center, half = share + weight / 2, _Z95 * np.sqrt((share * (1 - share) + weight / 4) / number)
    low, high = (center - half) / (1 + weight), (center + half) / (1 + weight)
    return max(float(low), 0.0), min(float(high), 1.0)


def _annotations(rows: Iterable[LedgerRow]) -> Mapping[tuple[str, str], list[_Annotation]]:
    """Return the standing annotations of each reader about each person, in the order in which they were first answered."""
    found: dict[tuple[str, str], dict[str, _Annotation]] = defaultdict(dict)
    for row in rows:
        if row.stage is not Stage.READER:
            continue
        annotation = found[row.reader, row.case].setdefault(row.annotation, _Annotation(kind=row.check_kind))
        annotation.rows.pop(row.au, None)
        if not row.retracted:
            annotation.kind = row.check_kind
            annotation.rows[row.au] = row
    return {key: [annotation for annotation in theirs.values() if annotation.rows] for key, theirs in found.items()}


def _report(
    reader: str,
    controls: Sequence[Mapping[AU, LedgerRow]],
    repeats: Sequence[tuple[Mapping[AU, LedgerRow], Mapping[AU, LedgerRow]]],
    num_resamples: int,
    seed: int,
) -> ReaderChecks:
    alarms = sum(any(row.affected for row in answer.values()) for answer in controls)
    ratings = {"first": _array([first for first, _ in repeats]), "again": _array([again for _, again in repeats])}
    return ReaderChecks(
        reader=reader,
        num_controls=len(controls),
        false_alarms=alarms,
        rate=alarms / len(controls) if controls else None,
        rate_interval=wilson_interval(alarms, len(controls)) if controls else None,
        num_repeats=len(repeats),
        retest=pair_kappas(ratings, num_resamples=num_resamples, seed=seed)[0] if repeats else None,
    )


def _array(answers: Sequence[Mapping[AU, LedgerRow]]) -> NDArray[np.float64]:
    """Return answers as (S, A) float: 1 yes, 0 no, NaN if the reader cannot tell or did not answer."""
    affected = [[row.affected if (row := answer.get(au)) else None for au in AUS] for answer in answers]
    return np.array(affected, dtype=np.float64).reshape(len(affected), len(AUS))
