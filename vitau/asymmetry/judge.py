"""Judgement of the model on labeled people: by other people's weights, and with one person left out at a time.

Axes: P people, A regions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from vitau.asymmetry.features import People
from vitau.asymmetry.model import DEFAULT_KINDS, Answers, AsymmetryModel, fit_model
from vitau.data.protocols import divide
from vitau.evaluation.bootstrap import Array
from vitau.evaluation.crossvalidation.pooled import OutOfFold, Pooled, evaluate
from vitau.schema import AUS, Protocol

NUM_SEEDS: Final = 5
"""Seeds of the division of controls into folds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """The metrics by person of recognition, the side and the regions within palsied people.

    ``side`` is ``None`` if nobody's side is known, ``regions`` if no palsied person has a label.
    """

    palsy: Pooled
    side: Pooled | None
    regions: Pooled | None


def judge(model: AsymmetryModel, people: People) -> Judgement:
    """Judge a model on people that it never saw.

    Raises:
        ValueError: nobody is given.
    """
    if not len(people):
        raise ValueError("nobody is left to judge the model; give people with clips that show a face")
    return _judgement([(0, 0, np.arange(len(people)), model.answer(people.feature_PF))], people, Protocol.SUBJECTS)


def leave_one_out(
    people: People,
    prior: AsymmetryModel | None = None,
    *,
    kinds: Sequence[str] = DEFAULT_KINDS,
    num_seeds: int = NUM_SEEDS,
    watch: Callable[[int, int], None] | None = None,
) -> Judgement:
    """Judge the fit by the protocol ``lopo``: everybody else trains, and answers are pooled over folds.

    Nothing is chosen on validation people, so that they train too.

    Raises:
        ValueError: there are too few people for the protocol.
    """
    found: list[_Found] = []
    for seed in range(num_seeds):
        folds = list(
            divide(
                Protocol.LOPO,
                subject_N=people.subject_P,
                palsied_N=people.palsied_P,
                split_N=np.full(len(people), ""),
                seed=seed,
            )
        )
        for number, fold in enumerate(folds):
            model = fit_model(people.where(~fold.test_N), prior, kinds=kinds)
            found.append((seed, number, np.flatnonzero(fold.test_N), model.answer(people.feature_PF[fold.test_N])))
            if watch is not None:
                watch(len(found), num_seeds * len(folds))
    return _judgement(found, people, Protocol.LOPO)


_Found: TypeAlias = tuple[int, int, Array, Answers]
"""Seed, number of the fold, rows of its test people, and answers about them."""


def _judgement(found: Sequence[_Found], people: People, protocol: Protocol) -> Judgement:
    row_M = np.concatenate([row_T for _, _, row_T, _ in found])
    palsied_M = people.palsied_P[row_M]
    answers = [answer for _, _, _, answer in found]
    side_M = people.side_P[row_M]

    def pool(task: str, truth_MK: Array, known_MK: Array, score_MK: Array) -> Pooled | None:
        kept_M = np.asarray(known_MK.any(axis=1))
        if not kept_M.any():
            return None
        pooled = OutOfFold(
            protocol=protocol,
            task=task,
            questions=tuple(map(str, AUS)) if task == "regions" else (task,),
            seed_M=np.concatenate([np.full(len(row_T), seed) for seed, _, row_T, _ in found]),
            fold_M=np.concatenate([np.full(len(row_T), fold) for _, fold, row_T, _ in found]),
            subject_M=people.subject_P[row_M],
            frame_M=row_M,
            truth_MK=truth_MK,
            known_MK=known_MK,
            score_MK=score_MK,
            threshold_M=np.full(len(row_M), 0.5),
            averages_log_odds=task == "palsy",
        )
        return evaluate(pooled.where(kept_M), "person")

    palsy = pool(
        "palsy",
        palsied_M[:, None],
        np.ones((len(row_M), 1), bool),
        np.concatenate([answer.palsy_P for answer in answers])[:, None],
    )
    assert palsy is not None, "everybody has a label of a palsy"
    one_sided_M = palsied_M & (side_M != 0)
    right_M = np.concatenate([answer.right_P for answer in answers])
    affected_MA = np.concatenate([answer.affected_PA for answer in answers])
    return Judgement(
        palsy=palsy,
        side=pool("side", (side_M > 0)[:, None], one_sided_M[:, None], right_M[:, None]),
        # a region is called affected above 0
        regions=pool("regions", people.affected_PA[row_M], people.known_PA[row_M] & palsied_M[:, None], affected_MA - 0.5),
    )
