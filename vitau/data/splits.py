"""Who trains, who validates, who tests: people are assigned once, never reshuffled; and the protocols that make folds."""

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
"""160 people, half of them palsied, become 110, 20 and 30."""

NUM_CONTROL_FOLDS: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """One division of people: nobody is in both."""

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
    """Give every person a split; those who have one keep it.

    Each cohort is divided by ``fractions`` on its own, to the nearest person. Within a cohort the new people are lined up by
    ``spread`` and dealt out evenly, so that each split sees its whole range. The order of ``cohorts`` does not matter.

    Args:
        cohorts: pseudonym → cohort, of everybody who must have a split.
        existing: pseudonym → split, of those already assigned; people who are not in ``cohorts`` are ignored.
        seed: shuffles people who are alike.
        fractions: share of each split; they add up to 1.
        spread: pseudonym → a number to balance within a cohort, such as how many regions are affected; 0 where missing.

    Raises:
        ValueError: if the fractions do not add up to 1.
    """
    if not np.isclose(sum(fractions.values()), 1) or min(fractions.values()) < 0:
        raise ValueError(f"the split fractions {dict(fractions)} must be at least 0 and add up to 1")
    result = {person: Split(split) for person, split in (existing or {}).items() if person in cohorts}
    for cohort in sorted(set(cohorts.values())):
        people = [person for person in cohorts if cohorts[person] == cohort]
        taken = Counter(result[person] for person in people if person in result)
        new = [person for person in people if person not in result]
        new.sort(key=lambda person: ((spread or {}).get(person, 0.0), _shuffle_key(seed, person)))
        result |= dict(zip(new, _deal(_room(len(people), taken, fractions)), strict=True))
    return {person: result[person] for person in sorted(result)}


def lopo(cohorts: Mapping[str, str], *, seed: int = 0, num_control_folds: int = NUM_CONTROL_FOLDS) -> Iterator[Fold]:
    """Leave one palsied person out at a time: YFP's own protocol, with the controls in subject-independent folds.

    The controls' folds take turns as the other half of the test set, so a control is tested several times: average them.

    Raises:
        ValueError: if nobody is palsied, or there are fewer controls than folds.
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
    """Divide frames, whoever is on them: the paper's protocol, in which test people were seen in training.

    Yields:
        (train, test) row numbers, int64, ascending; each frame is tested once.
    """
    fold_N = np.random.default_rng(seed).permutation(num_frames) % num_folds
    for fold in range(num_folds):
        yield np.flatnonzero(fold_N != fold), np.flatnonzero(fold_N == fold)


def _shuffle_key(seed: int, person: str) -> str:
    return sha256(f"{seed}:{person}".encode()).hexdigest()


def _room(num_people: int, taken: Counter[Split], fractions: Mapping[Split, float]) -> dict[Split, int]:
    """Count the free places per split: the nearest whole numbers to the fractions, less those already taken."""
    exact = {split: share * num_people for split, share in fractions.items()}
    room = {split: int(places) for split, places in exact.items()}
    by_remainder = sorted(exact, key=lambda split: (room[split] - exact[split], split))
    for split in by_remainder[: num_people - sum(room.values())]:
        room[split] += 1
    room = {split: max(0, places - taken[split]) for split, places in room.items()}
    while sum(room.values()) > num_people - taken.total():  # another split holds more than its share and keeps it
        room[max(room, key=lambda split: (room[split], split))] -= 1
    return room


def _deal(room: Mapping[Split, int]) -> list[Split]:
    """Lay the places in a line so that each split is spread evenly over it."""
    places = [((turn + 0.5) / number, split) for split, number in room.items() for turn in range(number)]
    return [split for _, split in sorted(places)]
