"""The policies: named limits that a challenger must keep to become champion."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """Limits that a challenger must keep.

    Attributes:
        name: Recorded with each decision.
        min_people: Least number of held-out people, palsied and others each. With fewer, an AUROC moves in steps of 1/25.
        min_left_out: Least number of people who were left out one at a time, palsied and others each. They are predicted by as
            many models, whose scores differ, so more of them are needed.
        margin_auroc: Largest loss of AUROC (of the regions, of their mean), at the lower end of the paired 95 % interval. A
            challenger must show that its loss is smaller: too few people are a reason to refuse.
        margin_balanced_accuracy: The same for balanced accuracy, which depends on the threshold that people get.
        margin_brier: Largest increase of the Brier score, unless chance alone explains it.
        margin_ece: The same for the calibration error, which is noisier.
        floor_auroc: Least AUROC of recognition, for a first model too.
        floor_region_auroc: Least mean AUROC of the regions.
        floor_au: The whole 95 % interval of no region's AUROC may lie below it; 0.5 is chance. The interval counts because
            one of eight regions falls below by chance alone if there are few people.
        floor_subgroup: Same rule for the share of correct answers within a group of people (a source, a side).
        max_brier: 0.25 is the Brier score of answering "a half" for everyone.
        max_parameters: Of both models together; 750 million are 3 GB to download.
        max_face_flops: Floating-point operations per face, both models together. The paper's two models need 0.56e12.
        max_growth: Largest ratio of the parameters to the champion's.
        max_flop_growth: Largest ratio of the operations per face to the champion's. A larger or slower model on purpose is a
            person's decision: ``promote --why``.
        accept_confounded: Whether the recordings of palsied people may differ so much from the others' that the shortcut probe
            separates them. The champion then carries a warning.
        judge_explanations: Whether the pictures that explain recognition must not be worse than chance, if they were evaluated.
    """

    name: str
    min_people: int = 5
    min_left_out: int = 8
    margin_auroc: float = 0.05
    margin_balanced_accuracy: float = 0.10
    margin_brier: float = 0.02
    margin_ece: float = 0.05
    floor_auroc: float = 0.70
    floor_region_auroc: float = 0.60
    floor_au: float = 0.50
    floor_subgroup: float = 0.50
    max_brier: float = 0.25
    max_parameters: float = 750e6
    max_face_flops: float = 1e12
    max_growth: float = 2.0
    max_flop_growth: float = 2.0
    accept_confounded: bool = False
    judge_explanations: bool = True


PATIENTS: Final = Policy(name="patients")
"""The default. The first models of the demo pass it."""

CONFOUNDED_SOURCES: Final = replace(PATIENTS, name="confounded-sources", accept_confounded=True)
"""For studies whose palsied people and controls come from different sources, such as web video and laboratory recordings."""

POLICIES: Final[Mapping[str, Policy]] = MappingProxyType({policy.name: policy for policy in (PATIENTS, CONFOUNDED_SOURCES)})
"""The policies that ``VITAU_POLICY`` can choose, by name."""


def find_policy(name: str) -> Policy:
    """Return a policy by its name.

    Raises:
        ValueError: there is no such policy.
    """
    if name not in POLICIES:
        raise ValueError(f"there is no promotion policy {name!r}: set VITAU_POLICY to one of {', '.join(POLICIES)}")
    return POLICIES[name]


SMOKE: Final = Policy(
    name="smoke",
    min_people=1,
    min_left_out=1,
    margin_auroc=1.0,
    margin_balanced_accuracy=1.0,
    margin_brier=1.0,
    margin_ece=1.0,
    floor_auroc=0.0,
    floor_region_auroc=0.0,
    floor_au=0.0,
    floor_subgroup=0.0,
    max_brier=1.0,
    max_flop_growth=100.0,
    judge_explanations=False,
)
"""For recipes that learn nothing and only show that all parts fit. It never applies to a champion that was really trained,
and no setting chooses it. Like every policy it checks the shortcut probe, which is about the recordings and not the model."""

SMOKE_CONFOUNDED: Final = replace(SMOKE, name="smoke-confounded-sources", accept_confounded=True)
"""The same where the settings accept confounded sources."""
