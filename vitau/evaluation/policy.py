"""The limits that a challenger must keep, by name: each says what it asks and why it stands where it does."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The limits that a challenger must keep, by name.

    Attributes:
        name: under which records keep it.
        min_people: least number of held-out people, palsied and others each. With fewer, an AUROC moves in steps of 1/25.
        margin_auroc: how much AUROC (of the regions, the mean) may be lost, at the lower end of the paired 95 % interval. That
            the loss is smaller must be shown: a challenger of whom too little is known stays one.
        margin_balanced_accuracy: the same for balanced accuracy, which hangs on the threshold that people get.
        margin_brier: how much worse the Brier score may be, unless chance alone explains the difference.
        margin_ece: the same for the calibration error, which is noisier.
        floor_auroc: least AUROC of recognition, asked of a first model too.
        floor_region_auroc: least mean AUROC of the regions.
        floor_au: no region's AUROC may lie below it with its whole 95 % interval: 0.5 is chance. The whole interval, because of
            eight regions and a few people one falls below by chance alone.
        floor_subgroup: no group of people (a source, a side …) may be answered rightly less often, with the whole interval.
        max_brier: 0.25 is the Brier score of saying “a half” about everybody.
        max_size_mb: of the weights; a person on a slow line fetches them.
        max_face_ms: per face, on the machine that judges.
        max_growth: how many times larger than the champion.
        max_slowdown: how many times slower than the champion, measured in turns on the same faces. Twice, because a busy
            machine measures badly. Larger or slower on purpose is a person's decision: `promote --why`.
    """

    name: str
    min_people: int = 5
    margin_auroc: float = 0.05
    margin_balanced_accuracy: float = 0.10
    margin_brier: float = 0.02
    margin_ece: float = 0.05
    floor_auroc: float = 0.70
    floor_region_auroc: float = 0.60
    floor_au: float = 0.50
    floor_subgroup: float = 0.50
    max_brier: float = 0.25
    max_size_mb: float = 3000.0
    max_face_ms: float = 5000.0
    max_growth: float = 2.0
    max_slowdown: float = 2.0


PATIENTS: Final = Policy(name="patients")
"""The default. The demo's first models pass it: 0.978 and 0.815 are the lowest AUROCs of seven runs."""

SMOKE: Final = Policy(
    name="smoke",
    min_people=1,
    margin_auroc=1.0,
    margin_balanced_accuracy=1.0,
    margin_brier=1.0,
    margin_ece=1.0,
    floor_auroc=0.0,
    floor_region_auroc=0.0,
    floor_au=0.0,
    floor_subgroup=0.0,
    max_brier=1.0,
    max_slowdown=100.0,
)
"""For recipes that learn nothing and only show that all parts fit; it is never asked about a champion that learnt something."""

POLICIES: Final[Mapping[str, Policy]] = MappingProxyType({policy.name: policy for policy in (PATIENTS, SMOKE)})
