"""Movement of the two sides as reports show it: that of a person at a visit, in words and numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vitau.schema import Side, Visit
from vitau.scoring.aggregate import SideProbability

MOVEMENT_COLUMNS: Final = ("movement_asymmetry", "movement_side", "movement_side_probability")
"""Columns of tables of scores; empty where nothing is measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredSides:
    """One measure by side: a level at rest, or a movement that an exercise asks for, in distances between the eyes.

    ``ratio`` is the smaller movement over the larger one, ``None`` at rest and for tiny movements. ``detectable``: the sides
    differ by more than the smallest detectable change.
    """

    measure: str
    right: float
    left: float
    ratio: float | None = None
    detectable: bool = False

    @property
    def difference(self) -> float:
        """Right minus left."""
        return self.right - self.left


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredExercise:
    """One exercise in words, with its measures; ``confidence`` is the smallest probability of its name."""

    name: str
    confidence: float
    sides: Sequence[MeasuredSides]


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredVisit:
    """The movement of a person at one visit, or in all recordings if ``visit`` is ``None``.

    ``asymmetry``, ``side`` and ``side_probability`` are about movement: 0 is equal movement, the side is the one that moves
    less. They are ``None`` where nothing is measurable, and ``reason`` says why. ``not_performed`` are exercises in words.
    """

    visit: Visit | None = None
    asymmetry: float | None = None
    side: Side | None = None
    side_probability: float | None = None
    pattern: str | None = None
    exercises: Sequence[MeasuredExercise] = ()
    rest: Sequence[MeasuredSides] = ()
    not_performed: Sequence[str] = ()
    num_frames: int = 0
    reason: str | None = None
    notes: Sequence[str] = ()

    def groups(self) -> Iterator[tuple[str, float | None, Sequence[MeasuredSides]]]:
        """Yield the exercises with their confidence and measures, then the face at rest."""
        for exercise in self.exercises:
            yield exercise.name, exercise.confidence, exercise.sides
        if self.rest:
            yield "at rest", None, self.rest

    def agrees_with(self, predicted: SideProbability | None) -> bool | None:
        """Return whether the weaker side is the side that a model names; ``None`` if either is unknown."""
        return None if predicted is None or self.side is None else predicted.side == self.side

    def summary(self) -> dict[str, Any]:
        """Return asymmetry and side as JSON values, rounded to 4 digits."""
        values = (
            None if self.asymmetry is None else round(self.asymmetry, 4),
            None if self.side is None else self.side.value,
            None if self.side_probability is None else round(self.side_probability, 4),
        )
        return dict(zip(MOVEMENT_COLUMNS, values, strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuringMethod:
    """The method of the measurement, for the readers of a page.

    Attributes:
        landmarks: their name.
        kept: measure in words → the share of the true difference between the sides that the landmarks keep.
        num_people: number of drawn people who gave these shares.
        asymmetric_from: 9 of 10 drawn people without a palsy have a lower asymmetry.
        caveat: of the pattern of the forehead.
    """

    landmarks: str
    kept: Mapping[str, float]
    num_people: int
    asymmetric_from: float
    caveat: str


def movement_of(measured: Sequence[MeasuredVisit], visit: Visit | None = None) -> MeasuredVisit:
    """Return a person's movement at a visit, or of all recordings; without measures, one that has none.

    Args:
        measured: that of all recordings, then that of each visit if there are several.
        visit: by default all recordings; the only visit of a person has them all.
    """
    if visit is None or len(measured) == 1:
        return measured[0] if measured else MeasuredVisit()
    by_name = {own.visit.name: own for own in measured if own.visit is not None}
    return by_name.get(visit.name, MeasuredVisit(visit=visit))
