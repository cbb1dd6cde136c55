"""Drawn people with their features: what the first weights are learned from."""

from collections.abc import Callable
from typing import Final

import numpy as np

from vitau.asymmetry.features import People, measure_features
from vitau.measures.geometry import Floats
from vitau.media.crops import from_jpeg, to_jpeg
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import TASKS, Person, draw_person
from vitau.media.synthetic.values import Style
from vitau.schema import AUS, CROP_SIZE, Side

FRAMES_PER_TASK: Final = 2
_ERROR: Final = 2.5
"""Standard deviation of the error of a point before its refinement, px of a crop of 256 px: once per person and per frame."""
_SIGNS: Final = {Side.RIGHT: 1, Side.LEFT: -1}


def draw_people(
    num_people: int, seed: int, progress: Callable[[int, int], None] | None = None, *, style: Style = Style.PAINTED
) -> People:
    """Draw people in all tasks and measure them; half of them have a palsy.

    Crops are encoded as those of recordings are. Their points have errors, and are then refined.

    Args:
        num_people: how many.
        seed: identifies the population.
        progress: called with (drawn, all).
        style: how they are drawn.

    Raises:
        ValueError: fewer than one person, or a negative seed.
    """
    if num_people < 1 or seed < 0:
        raise ValueError(f"{num_people} people of seed {seed} cannot be drawn; give 1 or more, and a seed of 0 or more")
    people, features = [], []
    for index in range(num_people):
        people.append(draw_person(seed, index))
        features.append(_measure(people[-1], style))
        if progress is not None:
            progress(index + 1, num_people)
    return People(
        subject_P=np.array([person.subject for person in people]),
        feature_PF=np.stack(features),
        palsied_P=np.array([person.palsied for person in people]),
        side_P=np.array([0 if person.side is None else _SIGNS[person.side] for person in people]),
        affected_PA=np.array([[au in person.affected for au in AUS] for person in people]),
        known_PA=np.ones((num_people, len(AUS)), bool),
    )


def _measure(person: Person, style: Style) -> Floats:
    rng, error = (np.random.default_rng([person.seed, person.index, stream]) for stream in (4, 9))
    amounts = [(number + 1) / FRAMES_PER_TASK for number in range(FRAMES_PER_TASK)]
    drawn = [draw_crop(person, task, amount, rng, CROP_SIZE, style=style) for task in TASKS for amount in amounts]
    points_NK2 = np.stack([frame.landmarks for frame in drawn])
    points_NK2 += error.normal(0, _ERROR, points_NK2.shape) + error.normal(0, _ERROR, points_NK2.shape[1:])
    return measure_features(np.stack([from_jpeg(to_jpeg(frame.image)) for frame in drawn]), points_NK2)
