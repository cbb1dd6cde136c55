"""Aggregation of the scores of frames to the score of a person, with its uncertainty."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitau.evaluation.bootstrap import Interval, percentile_interval, resample_weights
from vitau.schema import AU, AUS

NUM_RESAMPLES: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionScore:
    """One region of one person: mean score of the analyzed frames with its 95 % interval, −1 to 1, affected above 0.

    ``share_affected`` is the share of analyzed frames with a score above 0, 0 to 1.
    """

    score: float
    interval: Interval | None
    affected: bool
    share_affected: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectScore:
    """The score of one person.

    ``palsy_score`` is the mean over the frames with its 95 % interval; ``uncertain``: the interval contains the threshold.
    ``regions`` is empty if the regions were not analyzed, which does not mean unaffected. ``right_side`` is the mean
    probability that the person's right side is affected, ``None`` without a sided model.
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

    def summary(self) -> dict[str, Any]:
        """Return the score as JSON values, rounded to 4 digits."""
        regions = {
            au.value: {
                "score": round(region.score, 4),
                "interval": _rounded(region.interval),
                "affected": region.affected,
                "share_affected": round(region.share_affected, 4),
            }
            for au, region in self.regions.items()
        }
        return {
            "palsy_score": round(self.palsy_score, 4),
            "interval": _rounded(self.interval),
            "threshold": self.threshold,
            "palsied": self.palsied,
            "uncertain": self.uncertain,
            "num_frames": self.num_frames,
            "num_analysed": self.num_analysed,
            "regions": regions,
            "right_side": None if self.right_side is None else round(self.right_side, 4),
        }


def aggregate(table: pa.Table, threshold: float, *, analyse_all: bool = False, seed: int = 0) -> SubjectScore | None:
    """Aggregate the frames of one person: means, and 95 % intervals from a bootstrap over the frames.

    The interval describes the uncertainty from the choice of frames, not how often the model is wrong about people. It is
    rather too narrow, because frames of one recording resemble each other. A person without a recognized palsy has no regions
    unless ``analyse_all``, although single frames may have been analyzed.

    Args:
        table: rows of ``SCORE_COLUMNS``, all of one person.
        threshold: threshold of recognition, chosen on validation people.
        analyse_all: include the regions of people without a recognized palsy.
        seed: seed of the bootstrap.

    Returns:
        The score, or ``None`` if the table is empty.
    """
    if not table.num_rows:
        return None
    palsy_N = table["palsy_score"].to_numpy().astype(np.float64)
    score = float(palsy_N.mean())
    interval = _interval(palsy_N[:, None], seed)[0]
    analysed_N = table["analysed"].to_numpy().astype(bool)
    region_NA = np.column_stack([table[au].to_numpy() for au in AUS]).astype(np.float64)[analysed_N]
    right_N = table["right_side"].drop_null().to_numpy()
    analyzed = len(region_NA) > 0 and (score >= threshold or analyse_all)
    return SubjectScore(
        palsy_score=score,
        interval=interval,
        threshold=float(threshold),
        palsied=score >= threshold,
        uncertain=interval is not None and interval[0] < threshold <= interval[1],
        num_frames=table.num_rows,
        num_analysed=int(analysed_N.sum()),
        regions=_regions(region_NA, seed) if analyzed else {},
        right_side=float(right_N.mean()) if analyzed and len(right_N) else None,
    )


def _regions(region_NA: NDArray[np.float64], seed: int) -> dict[AU, RegionScore]:
    mean_A, share_A, intervals = region_NA.mean(0), (region_NA > 0).mean(0), _interval(region_NA, seed)
    return {
        au: RegionScore(score=float(mean), interval=interval, affected=bool(mean > 0), share_affected=float(share))
        for au, mean, share, interval in zip(AUS, mean_A, share_A, intervals, strict=True)
    }


def _interval(value_NK: NDArray[np.float64], seed: int) -> list[Interval | None]:
    """Compute per column the 2.5 and 97.5 % quantiles of the mean over resampled rows, with multinomial weights."""
    count, num_columns = value_NK.shape
    if count < 2:
        return [None] * num_columns
    mean_RK = resample_weights(count, NUM_RESAMPLES, seed) / count @ value_NK
    return [percentile_interval(mean_R) for mean_R in mean_RK.T]


def _rounded(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [round(end, 4) for end in interval]
