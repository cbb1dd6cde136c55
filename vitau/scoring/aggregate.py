"""Aggregation of the scores of frames to the score of a person, with its uncertainty."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vitau.evaluation.bootstrap import Interval, percentile_interval, resample_blocks
from vitau.evaluation.decision import DecisionRule, log_odds, sigmoid
from vitau.schema import AU, AUS, Side, Visit

NUM_RESAMPLES: Final = 1000
_OF_VISIT: Final = ("palsy_score", "interval", "num_frames", "num_analysed", "right_side")
_OF_VISITED_REGION: Final = ("score", "interval", "share_affected", "right", "left")
_ROUNDED_S: Final = 1e-6  # times are rounded to this, so a frame at 2.999999 s belongs to second 3


@dataclass(frozen=True, kw_only=True, slots=True)
class SideProbability:
    """A side of the person's own and the probability that it is affected, 0 to 1."""

    side: Side
    probability: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionScore:
    """One region of one person: mean score of the analyzed frames with its 95 % interval, −1 to 1, affected above 0.

    ``share_affected`` is the share of analyzed frames with a score above 0, 0 to 1. ``right`` and ``left`` are the mean
    probabilities that this side of the region is affected, ``None`` without a sided model.
    """

    score: float
    interval: Interval | None
    affected: bool
    share_affected: float
    right: float | None = None
    left: float | None = None

    @property
    def side(self) -> SideProbability | None:
        """The side that is more probably affected; ``None`` without a sided model."""
        if self.right is None or self.left is None:
            return None
        if self.right >= self.left:
            return SideProbability(side=Side.RIGHT, probability=self.right)
        return SideProbability(side=Side.LEFT, probability=self.left)


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectScore:
    """The score of one person.

    ``palsy_score`` is the mean over the frames with its 95 % interval, by a calibrated model that of the log-odds.
    ``uncertain``: the score lies in the model's ``abstention`` band, the interval contains the threshold, or the score is
    ``without_movement``: a model with movement saw too few frames. ``regions`` is empty if the regions were not analyzed, which
    does not mean unaffected. ``right_side`` is the mean probability that the person's right side is affected, ``None`` without
    a sided model.
    """

    palsy_score: float
    interval: Interval | None
    threshold: float
    palsied: bool
    uncertain: bool
    num_frames: int
    num_analysed: int
    regions: Mapping[AU, RegionScore]
    right_side: float | None = None
    abstention: Interval | None = None
    without_movement: bool = False

    @property
    def side(self) -> SideProbability | None:
        """The more probable side of the palsy, with at least a half; ``None`` without a sided model or without analysis."""
        if self.right_side is None:
            return None
        if self.right_side >= 0.5:
            return SideProbability(side=Side.RIGHT, probability=self.right_side)
        return SideProbability(side=Side.LEFT, probability=1 - self.right_side)

    def summary(self) -> dict[str, Any]:
        """Return the score as JSON values, rounded to 4 digits."""
        regions = {
            au.value: {
                "score": round(region.score, 4),
                "interval": _rounded(region.interval),
                "affected": region.affected,
                "share_affected": round(region.share_affected, 4),
                "right": _rounded_share(region.right),
                "left": _rounded_share(region.left),
            }
            for au, region in self.regions.items()
        }
        return {
            "palsy_score": round(self.palsy_score, 4),
            "interval": _rounded(self.interval),
            "threshold": self.threshold,
            "palsied": self.palsied,
            "uncertain": self.uncertain,
            **({} if self.abstention is None else {"abstention": _rounded(self.abstention)}),
            "num_frames": self.num_frames,
            "num_analysed": self.num_analysed,
            "regions": regions,
            "side": None if self.side is None else str(self.side.side),
            "right_side": _rounded_share(self.right_side),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class VisitScore:
    """The score of a person's frames of one visit, ``None`` if none was scored. The decision is about all visits together."""

    visit: Visit
    score: SubjectScore | None

    def summary(self) -> dict[str, Any]:
        """Return the visit and its score as JSON values, rounded to 4 digits, without a decision."""
        found: dict[str, Any] = {} if self.score is None else self.score.summary()
        regions = {au: {name: region[name] for name in _OF_VISITED_REGION} for au, region in found.get("regions", {}).items()}
        return {
            "visit": self.visit.name,
            "recorded_at": self.visit.recorded_at,
            "clips": list(self.visit.clips),
            **{name: found.get(name, 0 if name.startswith("num_") else None) for name in _OF_VISIT},
            "regions": regions,
        }


def aggregate(table: pa.Table, rule: DecisionRule | float, *, analyse_all: bool = False, seed: int = 0) -> SubjectScore | None:
    """Aggregate the frames of one person: means, and 95 % intervals from a bootstrap over seconds.

    Neighboring frames resemble each other, so whole seconds of a recording are resampled. The interval describes the
    uncertainty from the choice of seconds, not how often the model is wrong about people. A person without a recognized palsy
    has no regions unless ``analyse_all``, although single frames may have been analyzed.

    Args:
        table: rows of ``SCORE_COLUMNS``, all of one person.
        rule: of recognition, chosen on validation people; a number is the threshold of a model without calibration.
        analyse_all: include the regions of people without a recognized palsy.
        seed: seed of the bootstrap.

    Returns:
        The score, or ``None`` if the table is empty.
    """
    if not table.num_rows:
        return None
    rule = rule if isinstance(rule, DecisionRule) else DecisionRule(threshold=float(rule))
    palsy_N, second_N = table["palsy_score"].to_numpy().astype(np.float64), _seconds(table)
    score = rule.combine(palsy_N)
    interval = _palsy_interval(palsy_N, second_N, rule, seed)
    analysed_N = table["analysed"].to_numpy().astype(bool)
    region_NA = np.column_stack([table[au].to_numpy() for au in AUS]).astype(np.float64)[analysed_N]
    sided_2A = [[_mean(table[f"{au}_{side}"]) for au in AUS] for side in (Side.RIGHT, Side.LEFT)]
    analyzed = len(region_NA) > 0 and (score >= rule.threshold or analyse_all)
    return SubjectScore(
        palsy_score=score,
        interval=interval,
        threshold=rule.threshold,
        palsied=score >= rule.threshold,
        uncertain=rule.is_uncertain(score, interval, table.num_rows),
        abstention=rule.abstention,
        without_movement=table.num_rows < rule.fewest_frames,
        num_frames=table.num_rows,
        num_analysed=int(analysed_N.sum()),
        regions=_regions(region_NA, sided_2A, second_N[analysed_N], seed) if analyzed else {},
        right_side=_mean(table["right_side"]) if analyzed else None,
    )


def aggregate_visits(
    table: pa.Table, visits: Iterable[Visit], rule: DecisionRule | float, *, analysed: bool
) -> list[VisitScore]:
    """Aggregate the frames of one person by visit, as :func:`aggregate` does those of all visits.

    Args:
        table: rows of ``SCORE_COLUMNS``, all of one person; ``input`` is the digest of a clip.
        visits: of this person.
        rule: of recognition.
        analysed: whether the person has region scores; then every visit has them, whatever its own score.

    Returns:
        The score of each visit, in the order of ``visits``.
    """
    scored = []
    for visit in visits:
        rows = table.filter(pc.is_in(table["input"], pa.array(visit.clips, table["input"].type)))
        score = aggregate(rows, rule, analyse_all=analysed)
        if score is not None and not analysed:
            score = replace(score, regions={}, right_side=None)
        scored.append(VisitScore(visit=visit, score=score))
    return scored


def _seconds(table: pa.Table) -> NDArray[np.int64]:
    """Return for each frame the number of its second among those of the table, (N,); seconds of two recordings differ."""
    input_N = table["input"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    second_N = np.floor(table["time_s"].to_numpy() + _ROUNDED_S).astype(np.int64)
    second_N -= second_N.min()
    _, first_G, group_N = np.unique(input_N * (second_N.max() + 1) + second_N, return_index=True, return_inverse=True)
    number_G = np.argsort(np.argsort(first_G))  # in the order of their first frames
    return number_G[group_N]


def _palsy_interval(
    palsy_N: NDArray[np.float64], second_N: NDArray[np.int64], rule: DecisionRule, seed: int
) -> Interval | None:
    """Compute the interval of the score; of a mean of log-odds, the ends are those of the log-odds as probabilities."""
    if not rule.averages_log_odds:
        return _interval(palsy_N[:, None], second_N, seed)[0]
    interval = _interval(log_odds(palsy_N)[:, None], second_N, seed)[0]
    if interval is None:
        return None
    low, high = sigmoid(np.array(interval)).tolist()
    return low, high


def _regions(
    region_NA: NDArray[np.float64], sided_2A: Sequence[Sequence[float | None]], second_N: NDArray[np.int64], seed: int
) -> dict[AU, RegionScore]:
    mean_A, share_A, intervals = region_NA.mean(0), (region_NA > 0).mean(0), _interval(region_NA, second_N, seed)
    return {
        au: RegionScore(
            score=float(mean), interval=interval, affected=bool(mean > 0), share_affected=float(share), right=right, left=left
        )
        for au, mean, share, interval, right, left in zip(AUS, mean_A, share_A, intervals, *sided_2A, strict=True)
    }


def _mean(column: pa.ChunkedArray) -> float | None:
    """Return the mean of the values that are not null; ``None`` if all are."""
    values = column.drop_null().to_numpy()
    return float(values.mean()) if len(values) else None


def _interval(value_NK: NDArray[np.float64], second_N: NDArray[np.int64], seed: int) -> list[Interval | None]:
    """Compute per column the 2.5 and 97.5 % quantiles of the mean over resampled seconds, with multinomial weights.

    A resample holds whole seconds with all their frames. One second alone has no interval.
    """
    _, group_N = np.unique(second_N, return_inverse=True)
    num_seconds = int(group_N.max()) + 1
    if num_seconds < 2:
        return [None] * value_NK.shape[1]
    sum_GK = np.stack([np.bincount(group_N, column_N) for column_N in value_NK.T], axis=1)
    count_G = np.bincount(group_N)

    def means(weight_RG: NDArray[np.float64]) -> NDArray[np.float64]:
        return (weight_RG @ sum_GK) / (weight_RG @ count_G)[:, None]

    mean_RK = np.concatenate(list(map(means, resample_blocks(num_seconds, NUM_RESAMPLES, seed))))
    return [percentile_interval(mean_R) for mean_R in mean_RK.T]


def _rounded(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [round(end, 4) for end in interval]


def _rounded_share(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
