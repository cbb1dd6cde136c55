"""Splits and protocols: assign people to training, validation and test once, and divide people or frames into folds."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from vitau.schema import Cohort, Split

FRACTIONS: Final[Mapping[Split, float]] = MappingProxyType({Split.TRAIN: 0.69, Split.VAL: 0.12, Split.TEST: 0.19})
"""With 160 people, half of them palsied, the splits have 110, 20 and 30."""

NUM_CONTROL_FOLDS: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """One division of people into two disjoint sets."""

    train: frozenset[str]
    test: frozenset[str]


def assign(
    cohorts: Mapping[str, str],
    *,
    existing: Mapping[str, Split] | None = None,
    seed: int = 0,
    fractions: Mapping[Split, float] = FRACTIONS,
    spread: Mapping[str, float] | None = None,
) -> dict[str, Split]:
    """Return a split for every person; a person who has a split keeps it.

    Each cohort is divided by ``fractions`` on its own, to the nearest person. Within a cohort the new people are sorted by
    ``spread`` and dealt out evenly, so that each split covers the whole range. The order of ``cohorts`` does not matter.

    Args:
        cohorts: pseudonym → cohort, of everyone who needs a split.
        existing: pseudonym → split, of people already assigned; people who are not in ``cohorts`` are ignored.
        seed: breaks ties of ``spread``.
        fractions: share of each split; they add up to 1.
        spread: pseudonym → a number to balance within a cohort, such as the number of affected regions; 0 where missing.

    Raises:
        ValueError: the fractions do not add up to 1.
    """
    if not np.isclose(sum(fractions.values()), 1) or min(fractions.values()) < 0:
        raise ValueError(f"the split fractions {dict(fractions)} must be at least 0 and add up to 1")
    result = {person: Split(split) for person, split in (existing or {}).items() if person in cohorts}
    for cohort in sorted(set(cohorts.values())):
        people = [person for person in cohorts if cohorts[person] == cohort]
        taken = Counter(result[person] for person in people if person in result)
        new = [person for person in people if person not in result]
        new.sort(key=lambda person: ((spread or {}).get(person, 0.0), _shuffle_key(seed, person)))
        result |= dict(zip(new, _deal(_num_free(len(people), taken, fractions)), strict=True))
    return {person: result[person] for person in sorted(result)}


def lopo(cohorts: Mapping[str, str], *, seed: int = 0, num_control_folds: int = NUM_CONTROL_FOLDS) -> Iterator[Fold]:
    """Yield leave-one-person-out folds: YFP's own protocol, with the controls in subject-independent folds.

    Each fold tests one palsied person and one fold of controls. A control is tested several times: average its scores.

    Raises:
        ValueError: no person is palsied, or there are fewer controls than folds.
    """
    order = sorted(cohorts, key=lambda person: _shuffle_key(seed, person))
    palsied = [person for person in order if cohorts[person] == Cohort.PALSY]
    controls = [person for person in order if cohorts[person] != Cohort.PALSY]
    if not palsied or len(controls) < num_control_folds:
        raise ValueError(
            f"leave-one-person-out needs a palsied person and {num_control_folds} controls, "
            f"there are {len(palsied)} and {len(controls)}"
        )
    for turn, person in enumerate(palsied):
        test = frozenset([person, *controls[turn % num_control_folds :: num_control_folds]])
        yield Fold(train=frozenset(cohorts) - test, test=test)


def frames(
    num_frames: int, *, seed: int = 0, num_folds: int = 5
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yield folds of frames regardless of the person: the paper's protocol, in which test people were seen in training.

    Yields:
        (train, test) row numbers, int64, ascending; each frame is tested once.
    """
    fold_N = np.random.default_rng(seed).permutation(num_frames) % num_folds
    for fold in range(num_folds):
        yield np.flatnonzero(fold_N != fold), np.flatnonzero(fold_N == fold)


def _shuffle_key(seed: int, person: str) -> str:
    return sha256(f"{seed}:{person}".encode()).hexdigest()


def _num_free(num_people: int, taken: Counter[Split], fractions: Mapping[Split, float]) -> dict[Split, int]:
    """Compute the free places per split: the nearest whole numbers to the fractions, less the places taken."""
    exact = {split: share * num_people for split, share in fractions.items()}
    places = {split: int(share) for split, share in exact.items()}
    by_remainder = sorted(exact, key=lambda split: (places[split] - exact[split], split))
    for split in by_remainder[: num_people - sum(places.values())]:
        places[split] += 1
    free = {split: max(0, number - taken[split]) for split, number in places.items()}
    while sum(free.values()) > num_people - taken.total():  # another split keeps more people than its share
        free[max(free, key=lambda split: (free[split], split))] -= 1
    return free


def _deal(free: Mapping[Split, int]) -> list[Split]:
    """Return the free places in an order in which each split is spread evenly."""
    places = [((turn + 0.5) / number, split) for split, number in free.items() for turn in range(number)]
    return [split for _, split in sorted(places)]
