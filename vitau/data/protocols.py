"""Protocols: divide the frames of a data set into folds of training, validation and test frames.

Under ``subjects`` and ``lopo`` no person is in two parts of a fold. Under ``frames``, the paper's protocol, people are.

Axes: N frames.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from vitau.data import splits
from vitau.schema import KNOWN_COHORTS, Cohort, Protocol, Split

Array = npt.NDArray[Any]
Task = Literal["palsy", "regions"]

TASKS: Final[tuple[Task, ...]] = ("palsy", "regions")
VALIDATION_SHARE: Final = 0.15
"""Share of the training people, or frames, of a fold that choose epoch and threshold, as in the recorded splits."""
LEAST_PALSIED: Final = 3
"""Fewest palsied people: one each for training, validation and test."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FrameFold:
    """One fold: which of N frames train, validate and test, each (N,) bool; no frame is in two parts."""

    train_N: Array
    val_N: Array
    test_N: Array

    def among(self, mask_N: Array) -> "FrameFold":
        """Return the fold without the frames for which the mask is False."""
        return FrameFold(train_N=self.train_N & mask_N, val_N=self.val_N & mask_N, test_N=self.test_N & mask_N)

    def splits(self) -> Array:
        """Return the name of the split of every frame, empty for a frame that is in no part."""
        parts = [(self.train_N, Split.TRAIN), (self.val_N, Split.VAL), (self.test_N, Split.TEST)]
        return np.select([mask_N for mask_N, _ in parts], [str(split) for _, split in parts], "")


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameCounts:
    """Numbers of frames for training and test, by cohort."""

    train_palsied: int
    test_palsied: int
    train_control: int = 0
    test_control: int = 0

    def of(self, cohort: Cohort) -> tuple[int, int]:
        """Return the numbers of training and test frames of a cohort."""
        if cohort is Cohort.PALSY:
            return self.train_palsied, self.test_palsied
        return self.train_control, self.test_control


PAPER_COUNTS: Final[Mapping[Task, FrameCounts]] = MappingProxyType(
    {
        "palsy": FrameCounts(train_palsied=20_000, test_palsied=6_100, train_control=25_000, test_control=2_000),
        "regions": FrameCounts(train_palsied=13_000, test_palsied=10_000),
    }
)
"""The paper's numbers of images. Its sums do not agree with its totals of 26 000 palsied and 29 000 normal images."""


def available_counts(palsied_N: Array, wanted: FrameCounts) -> FrameCounts:
    """Return the wanted counts as far as the data has the frames.

    A cohort with too few frames is divided in the wanted ratio of training to test.
    """
    taken: dict[str, int] = {}
    for cohort, name in ((Cohort.PALSY, "palsied"), (Cohort.CONTROL, "control")):
        train, test = wanted.of(cohort)
        available = int((palsied_N == (cohort is Cohort.PALSY)).sum())
        if train + test > available:
            test = available * test // (train + test)
            train = available - test
        taken |= {f"train_{name}": train, f"test_{name}": test}
    return FrameCounts(**taken)


def divide(
    protocol: Protocol,
    *,
    subject_N: Sequence[str] | Array,
    palsied_N: Array,
    split_N: Array,
    seed: int,
    counts: FrameCounts | None = None,
) -> Iterator[FrameFold]:
    """Yield the folds of a protocol, each with inner validation frames that are disjoint from its test frames.

    * ``subjects``: one fold, the recorded splits.
    * ``lopo``: a fold per palsied person, with a fifth of the controls; see :func:`vitau.data.splits.lopo`. Some training
      people of each cohort validate.
    * ``frames``: five folds of frames whoever they show, or one with the given counts. Some training frames validate.

    Args:
        protocol: how the frames are divided.
        subject_N: pseudonyms.
        palsied_N: bool.
        split_N: names of the recorded splits.
        seed: of the order of people and frames; the recorded splits do not depend on it.
        counts: of ``frames`` only; see :func:`available_counts`.

    Raises:
        ValueError: the data has too few people for the protocol.
    """
    subject_N = np.asarray(subject_N)
    if protocol is Protocol.SUBJECTS:
        yield _recorded(palsied_N, split_N)
    elif protocol is Protocol.LOPO:
        yield from _leave_one_out(subject_N, palsied_N, seed)
    elif counts is not None:
        yield _counted(palsied_N, counts, seed)
    else:
        for number, (train, test) in enumerate(splits.frames(len(subject_N), seed=seed)):
            yield _with_validation_frames(len(subject_N), train, test, [seed, number])


def _recorded(palsied_N: Array, split_N: Array) -> FrameFold:
    fold = FrameFold(**{f"{split}_N": split_N == str(split) for split in Split})
    for split, mask_N in (("train", fold.train_N), ("val", fold.val_N), ("test", fold.test_N)):
        if len(set(palsied_N[mask_N].tolist())) < 2:
            raise ValueError(
                f"protocol subjects uses the recorded splits, and {split} lacks palsied people or controls: "
                "label more people, or choose protocol lopo"
            )
    return fold


def _leave_one_out(subject_N: Array, palsied_N: Array, seed: int) -> Iterator[FrameFold]:
    cohorts = _cohorts(subject_N, palsied_N)
    num_palsied = sum(cohort is Cohort.PALSY for cohort in cohorts.values())
    if num_palsied < LEAST_PALSIED:
        raise ValueError(
            f"protocol lopo leaves out one palsied person and validates on another: it needs {LEAST_PALSIED}, "
            f"there are {num_palsied}"
        )
    for turn, fold in enumerate(splits.lopo(cohorts, seed=seed)):
        validation = validation_people(fold.train, cohorts, seed=seed, turn=turn)
        yield FrameFold(
            train_N=np.isin(subject_N, sorted(fold.train - validation)),
            val_N=np.isin(subject_N, sorted(validation)),
            test_N=np.isin(subject_N, sorted(fold.test)),
        )


def everybody(subject_N: Sequence[str] | Array, palsied_N: Array, seed: int) -> FrameFold:
    """Return the fold of a refit after ``lopo``: everybody trains or validates, as in the folds, and nobody tests."""
    subject_N = np.asarray(subject_N)
    cohorts = _cohorts(subject_N, palsied_N)
    validation = validation_people(cohorts, cohorts, seed=seed, turn=len(cohorts))  # a turn that no fold has
    val_N = np.isin(subject_N, sorted(validation))
    return FrameFold(train_N=~val_N, val_N=val_N, test_N=np.zeros(len(subject_N), bool))


def validation_people(people: Collection[str], cohorts: Mapping[str, Cohort], *, seed: int, turn: int) -> frozenset[str]:
    """Return the training people of a fold that validate: the same share of each cohort, at least one person."""
    chosen: set[str] = set()
    for cohort in KNOWN_COHORTS:
        order = sorted(person for person in people if cohorts[person] is cohort)
        order.sort(key=lambda person: sha256(f"validation:{seed}:{turn}:{person}".encode()).hexdigest())
        chosen |= set(order[: max(1, round(VALIDATION_SHARE * len(order)))])
    return frozenset(chosen)


def _cohorts(subject_N: Array, palsied_N: Array) -> dict[str, Cohort]:
    return {
        str(subject): Cohort.PALSY if palsied else Cohort.CONTROL
        for subject, palsied in zip(subject_N.tolist(), palsied_N.tolist(), strict=True)
    }


def _counted(palsied_N: Array, counts: FrameCounts, seed: int) -> FrameFold:
    rng, train, test = np.random.default_rng(seed), [], []
    for cohort in KNOWN_COHORTS:
        rows = rng.permutation(np.flatnonzero(palsied_N == (cohort is Cohort.PALSY)))
        num_train, num_test = counts.of(cohort)
        train.append(rows[:num_train])
        test.append(rows[num_train : num_train + num_test])
    return _with_validation_frames(len(palsied_N), np.concatenate(train), np.concatenate(test), [seed])


def _with_validation_frames(num_frames: int, train: Array, test: Array, seed: Sequence[int]) -> FrameFold:
    shuffled = np.random.default_rng([*seed, 1]).permutation(train)
    num_val = round(VALIDATION_SHARE * len(train))

    def mask(rows: Array) -> Array:
        mask_N = np.zeros(num_frames, bool)
        mask_N[rows] = True
        return mask_N

    return FrameFold(train_N=mask(shuffled[num_val:]), val_N=mask(shuffled[:num_val]), test_N=mask(test))
