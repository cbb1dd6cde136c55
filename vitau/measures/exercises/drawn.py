"""Movements of drawn people, whose exercises are known: what the model that names exercises learns from."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vitau.measures.exercises.features import first_levels, movement_features, rest_levels
from vitau.measures.geometry import SIDES, Floats, measure_points
from vitau.measures.results import Task
from vitau.media.synthetic.people import Person, draw_person
from vitau.media.synthetic.shape import shape_face
from vitau.media.synthetic.values import Expression
from vitau.schema import AU, AUS, Side

CLASSES: Final = (*(task.value for task in Task), "other")
"""The names that the model gives; ``other`` is a frown, a wink or a lopsided mouth, and is no exercise."""

_GAINS: Final = {
    "brow_height": (0.4, 1.15),
    "inner_brow_height": (0.4, 1.15),
    "lid_gap": (0.5, 1.15),
    "lower_margin_reflex": (0.4, 1.15),
}
_GAIN: Final = (0.75, 1.15)
# landmarks flatten some movements, and each backend does it in its own way
_NOISE: Final = {
    "brow_height": 0.012,
    "inner_brow_height": 0.02,
    "lid_gap": 0.007,
    "lip_corner_height": 0.008,
    "lip_corner_lateral": 0.010,
    "nasal_wing_lift": 0.008,
    "upper_lip_height": 0.013,
    "lower_lip_height": 0.016,
    "lower_margin_reflex": 0.006,
    "mouth_opening": 0.023,
    "chin_height": 0.017,
}
"""Standard deviation of the error of refined landmarks on drawn people, in distances between the eyes."""
_PULL: Final = (0.0, 0.2)
"""Range of the share of a lid's fall by which the refined points of its brow fall too; on drawn people about 0.06."""
_CARE: Final = (0.4, 1.6)
"""Range of a person's factor of this error: cameras differ, and landmarks that are not refined err more."""
_BLINKS: Final = 0.02
"""Share of the frames of an exercise in which the eyes also close, for a moment or with the effort."""
_ONSET: Final = 0.3
"""Effort below which a frame counts as rest."""


def drawn_movements(num_people: int, seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return features (N, F) and the numbers of their ``CLASSES`` (N,), of frames of drawn people.

    Each person performs all exercises in random order. Measures get the noise and the flattening of landmarks. The level at
    rest is once the true one and once the first guess, as both are met in a recording.
    """
    features, labels = [], []
    for index in range(num_people):
        rng = np.random.default_rng([seed, index, 7])
        points_N, label_N = _recording(draw_person(seed, index), rng)
        columns = _as_measured(measure_points(points_N), rng)
        is_rest_N = label_N == CLASSES.index(Task.REST)
        for levels in (rest_levels(columns, is_rest_N), first_levels(columns)):
            features.append(movement_features(columns, levels))
            labels.append(label_N)
    return np.concatenate(features), np.concatenate(labels)


def _recording(person: Person, rng: Generator) -> tuple[Floats, NDArray[np.int64]]:
    """Return the points (N, 68, 2) of a recording, and the class of each frame."""
    points, labels = [], []
    for name in ["rest", *rng.permutation([*(task for task in CLASSES if task != Task.REST), "rest", "rest", "other"])]:
        num_frames = int(rng.integers(2, 5))
        sides_2 = 0.1 * rng.uniform(-1, 1, 2)
        for number in range(num_frames):
            amount = float(np.clip((number + 1) / num_frames + rng.uniform(-0.1, 0.05), 0, 1.1))
            points.append(_draw(person, str(name), amount * (1 + sides_2), rng))
            labels.append(CLASSES.index(name) if amount >= _ONSET else CLASSES.index(Task.REST))
    return np.stack(points), np.array(labels)


def _draw(person: Person, name: str, amount_2: Floats, rng: Generator) -> Floats:
    """Return the points of a person in one frame, in face units, x to the person's left."""
    effort_2 = amount_2 * rng.uniform(0.6, 1.15)
    expression = _expression(person, name, effort_2, rng)
    if name in _MOVES and rng.random() < _BLINKS:
        expression = replace(expression, close=np.maximum(expression.close, rng.uniform(0.3, 1)))
    points: Floats = np.asarray(shape_face(person.look, expression).landmarks, dtype=np.float64)
    if name == Task.LOWER_TEETH:
        points = _with_lower_teeth(points, person, effort_2, rng)
    if name == Task.SMILE:
        points = _with_raised_lip(points, person, effort_2, rng)
    # a small turn of the head moves points by their depth, which differs most between the nose and the rest
    return points * (1 + rng.normal(0, 0.01, 2)) + rng.normal(0, 0.004, 2)


def _expression(person: Person, name: str, effort_2: Floats, rng: Generator) -> Expression:
    """Return the expression of a person at some effort per side; what accompanies an exercise differs from time to time."""
    tiny = np.abs(rng.normal(0, 0.03, (6, 2)))
    calm = Expression(
        raise_in=tiny[0],
        raise_out=tiny[1],
        frown=tiny[2],
        close=np.zeros(2),
        cheek=tiny[3],
        nose=tiny[4],
        corner=tiny[5],
        part=np.zeros(2),
        pucker=0.0,
        jaw=0.0,
        gaze=rng.normal(0, 0.35, 2),
        weak=person.weak,
    )
    if name == "other":
        return _other(calm, effort_2, rng)
    return replace(calm, **_MOVES[name](effort_2, rng)) if name in _MOVES else calm


def _closure(effort_2: Floats, rng: Generator) -> dict[str, Any]:
    squeeze = rng.uniform(0, 0.5)
    return {"close": np.clip(1.25 * effort_2, 0, 1), "cheek": squeeze * effort_2, "frown": 0.7 * squeeze * effort_2}


def _tight_closure(effort_2: Floats, rng: Generator) -> dict[str, Any]:
    frown_2 = rng.uniform(0.8, 1.2) * effort_2
    return {"close": np.clip(1.4 * effort_2, 0, 1), "cheek": effort_2, "frown": frown_2, "nose": 0.25 * effort_2}


def _snarl(effort_2: Floats, rng: Generator) -> dict[str, Any]:
    frown, cheek, part = rng.uniform(0, 0.9), rng.uniform(0.2, 0.6), rng.uniform(0, 0.5)
    part_2 = part * np.clip(effort_2, 0, 1)
    return {
        "nose": effort_2,
        "frown": frown * effort_2,
        "cheek": cheek * effort_2,
        "corner": 0.1 * effort_2,
        "part": part_2,
    }


def _smile(effort_2: Floats, rng: Generator) -> dict[str, Any]:
    part = float(rng.choice([0.0, 0.9])) * rng.uniform(0.5, 1.0)
    nose, cheek = float(rng.choice([0.0, 0.3])), rng.uniform(0.2, 0.9)
    part_2 = part * np.clip(effort_2, 0, 1)
    return {"corner": effort_2, "cheek": cheek * effort_2, "part": part_2, "nose": nose * effort_2}


def _jaw(effort_2: Floats, rng: Generator) -> dict[str, Any]:
    raised_2 = rng.uniform(0, 0.15) * effort_2
    jaw = float(rng.uniform(0.6, 1.0) * effort_2.mean())
    return {"jaw": jaw, "part": np.clip(effort_2, 0, 1), "raise_in": raised_2, "raise_out": raised_2}


_MOVES: Final[Mapping[str, Callable[[Floats, Generator], dict[str, Any]]]] = {
    Task.BROW_RAISE: lambda effort_2, _: {"raise_in": effort_2, "raise_out": effort_2},
    Task.EYE_CLOSURE: _closure,
    Task.EYE_CLOSURE_TIGHT: _tight_closure,
    Task.SNARL: _snarl,
    Task.SMILE: _smile,
    Task.LIP_PUCKER: lambda effort_2, rng: {
        "pucker": float(rng.uniform(0.4, 1.1) * effort_2.mean()),
        "frown": rng.uniform(0, 0.2) * effort_2,
    },
    Task.LOWER_TEETH: lambda effort_2, rng: {"part": 0.5 * np.clip(effort_2, 0, 1), "frown": rng.uniform(0, 0.2) * effort_2},
    Task.JAW_OPENING: _jaw,
}


def _other(calm: Expression, effort_2: Floats, rng: Generator) -> Expression:
    one_side = np.eye(2)[rng.integers(2)]
    match rng.integers(3):
        case 0:
            return replace(calm, frown=effort_2)
        case 1:
            return replace(calm, close=np.clip(effort_2, 0, 1) * one_side, cheek=calm.cheek + 0.4 * effort_2 * one_side)
    return replace(calm, frown=0.7 * effort_2, cheek=0.3 * effort_2)


def _with_lower_teeth(points: Floats, person: Person, effort_2: Floats, rng: Generator) -> Floats:
    """Move lower lip and lip corners down: the drawn face has no depressors of its own."""
    weak = dict(zip(AUS, person.weak, strict=True))[AU.AU25]
    drop_2 = rng.uniform(0.09, 0.16) * effort_2 * (1 - 0.85 * weak)
    corner_2 = rng.uniform(0.1, 0.5) * drop_2
    moved = points.copy()
    for number, (inner, outer, corners) in enumerate((((67,), (59, 58), (48, 60)), ((65,), (55, 56), (54, 64)))):
        moved[[*inner, *outer], 1] += drop_2[number]
        moved[list(corners), 1] += corner_2[number]
        moved[list(corners), 0] += (-1, 1)[number] * 0.6 * corner_2[number]
    moved[[57, 66], 1] += drop_2.mean()
    return moved


def _with_raised_lip(points: Floats, person: Person, effort_2: Floats, rng: Generator) -> Floats:
    """Raise upper lip and nasal wings, as a smile of many people does, and that of the drawn face does not."""
    weak = dict(zip(AUS, person.weak, strict=True))[AU.AU12]
    lip_2, wing_2 = (rng.uniform(0, 0.07) * effort_2 * (1 - 0.9 * weak) for _ in range(2))
    moved = points.copy()
    for number, (lips, wing) in enumerate((((49, 50, 61), 31), ((52, 53, 63), 35))):
        moved[list(lips), 1] -= lip_2[number]
        moved[wing, 1] -= wing_2[number]
    moved[[51, 62], 1] -= lip_2.mean()
    moved[6:11, 1] += rng.uniform(0, 0.05) * effort_2.mean()
    return moved


def _as_measured(columns: dict[str, Floats], rng: Generator) -> dict[str, Floats]:
    care, pull = rng.uniform(*_CARE), rng.uniform(*_PULL)
    columns = columns | dict(_pulled_brow(columns, side, pull) for side in SIDES)
    gains = {
        name: rng.uniform(*_GAINS.get(name, _GAIN)) for name in dict.fromkeys(column.rsplit("_", 1)[0] for column in columns)
    }
    measured = {}
    for name, values in columns.items():
        sided = any(name.endswith(f"_{side}") for side in SIDES)
        gain = gains[name.rsplit("_", 1)[0]] if sided else 1.0
        level, noise = np.median(values), _NOISE.get(name.rsplit("_", 1)[0] if sided else name, 0.01)
        measured[name] = level + gain * (values - level) + rng.normal(0, care * noise, len(values))
    return measured


def _pulled_brow(columns: Mapping[str, Floats], side: Side, pull: float) -> tuple[str, Floats]:
    """Return the name and values of the inner brow of a side whose points fall a little where the eye closes."""
    gap_N, name = columns[f"lid_gap_{side}"], f"inner_brow_height_{side}"
    return name, columns[name] + pull * np.minimum(gap_N - np.median(gap_N), 0)
