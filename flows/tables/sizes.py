"""The sizes of tables: how many people are drawn for one, and how much every method may train."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from vitau.baselines.method import Budget
from vitau.schema import Split


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnCohort:
    """The drawn people of a table, half of them palsied; a change of it makes other people.

    Attributes:
        num_train: people who train; even, because people are drawn in pairs of a palsied one and a control.
        num_val: people who choose epochs and thresholds; even.
        num_test: people who are tested; even.
        frames_per_task: frames from onset to apex of each of the seven tasks of a person's clip.
    """

    num_train: int
    num_val: int
    num_test: int
    frames_per_task: int

    @property
    def num_people(self) -> int:
        """Number of all people."""
        return self.num_train + self.num_val + self.num_test

    def split(self, index: int) -> Split:
        """Return the split of the person with a number, counted from 0."""
        if index < self.num_train:
            return Split.TRAIN
        return Split.VAL if index < self.num_train + self.num_val else Split.TEST


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSize:
    """The size of a table.

    Attributes:
        drawn: people that are drawn where no snapshot is given.
        budget: of every method.
        recipes: first part of the names of ViTAU's region recipes.
        drawn_people: drawn people that pretrain ViTAU's rows in Tables 3 and 4, and one row of Table 2; 0 for fresh weights.
    """

    drawn: DrawnCohort
    budget: Budget
    recipes: str
    drawn_people: int = 0


SIZES: Final[Mapping[str, TableSize]] = MappingProxyType(
    {
        "smoke": TableSize(
            drawn=DrawnCohort(num_train=8, num_val=8, num_test=8, frames_per_task=1),
            budget=Budget(epochs=1, image_px=64, width=0.0625, frames_per_person=1, lr_factor=10.0),
            recipes="tiny",
        ),
        "tiny": TableSize(
            drawn=DrawnCohort(num_train=240, num_val=60, num_test=100, frames_per_task=1),
            budget=Budget(epochs=10, image_px=64, width=0.125, frames_per_person=2, lr_factor=10.0),
            recipes="tiny",
            drawn_people=3000,
        ),
        "paper": TableSize(
            drawn=DrawnCohort(num_train=200, num_val=60, num_test=140, frames_per_task=4),
            budget=Budget(epochs=15, batch_size=16, frames_per_person=16),
            recipes="paper",
        ),
    }
)
"""``smoke`` shows that the parts fit together; ``tiny`` is for two cores; ``paper`` has the articles' networks."""
