"""Geometry of drawn people for the training patches, with proportions and movements that vary more than people's."""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.random import Generator

from vitau.measures.landmarks.refinement.patches import Region
from vitau.measures.landmarks.training.grid import Floats, clip
from vitau.media.synthetic.people import TASKS, act, draw_person
from vitau.media.synthetic.shape import Shape, shape_face
from vitau.media.synthetic.values import Expression, Look

_PALSIED: Final = 0.67
_WILD: Final = 0.8
_WIDER: Final = {
    "eye_open": (0.06, 0.17),
    "eye_half": (0.17, 0.27),
    "lid_fold": (0.0, 0.09),
    "brow_v": (-0.46, -0.22),
    "brow_arch": (-0.02, 0.13),
    "brow_half": (0.018, 0.075),
    "nose_v": (0.55, 0.80),
    "nose_half": (0.18, 0.36),
    "mouth_v": (0.92, 1.20),
    "mouth_half": (0.28, 0.50),
    "upper_lip": (0.03, 0.14),
    "lower_lip": (0.04, 0.18),
}
"""Ranges of the proportions of wild looks, face units."""
_MOVES: Final = ("raise_in", "raise_out", "frown", "nose", "corner", "part", "cheek")


@dataclass(frozen=True, kw_only=True, slots=True)
class HalfFace:
    """A drawn face seen from one side: ``side`` 0 is the person's right, and outwards is towards negative u."""

    look: Look
    shape: Shape
    side: int

    @property
    def flip(self) -> float:
        """The factor of u that mirrors a left side."""
        return 1.0 - 2.0 * self.side

    def points(self, region: Region) -> Floats:
        """Return the landmarks of a region on this side, in its order, as on a right side: (K, 2), face units."""
        points: Floats = self.shape.landmarks[list(region.points_of(self.side))] * (self.flip, 1)
        return points


def draw_half_face(rng: Generator, seed: int, index: int) -> HalfFace:
    """Draw one side of a person in the middle of a task."""
    person = draw_person(seed, index, palsied=bool(rng.random() < _PALSIED))
    look = _widen(rng, person.look) if rng.random() < _WILD else person.look
    expression = act(person, str(rng.choice(TASKS)), float(rng.uniform(0, 1)), rng)
    return HalfFace(look=look, shape=shape_face(look, _exaggerate(rng, expression)), side=int(rng.integers(2)))


def _widen(rng: Generator, look: Look) -> Look:
    asymmetry = {name: pair * rng.uniform(0.5, 2.5) for name, pair in look.asymmetry.items()}
    proportions: dict[str, Any] = {name: float(rng.uniform(*bounds)) for name, bounds in _WIDER.items()}
    tilt, smile = float(rng.normal(0.015, 0.03)), float(rng.normal(0.02, 0.04))
    return replace(look, asymmetry=asymmetry, eye_tilt=tilt, mouth_curve=smile, **proportions)


def _exaggerate(rng: Generator, expression: Expression) -> Expression:
    close = expression.close
    if rng.random() < 0.35:
        pair = np.array([1.0, rng.uniform(0, 1)])[:: int(rng.choice([1, -1]))]
        close = clip(rng.uniform(0, 1.1) * pair, 0, 1)
    elif rng.random() < 0.3:
        close = np.ones(2)
    more: dict[str, Any] = {}
    if rng.random() < 0.4:
        for name in _MOVES:
            if rng.random() < 0.4:
                more[name] = getattr(expression, name) + rng.uniform(0, 1, 2) * rng.uniform(0, 1)
    return replace(expression, weak=clip(expression.weak * rng.uniform(0.4, 1.3), 0, 1), close=close, **more)
