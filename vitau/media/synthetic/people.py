"""Synthetic people: their looks, their palsy, and how they perform a task."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from vitau.media.synthetic.values import ASYMMETRY_SD, Camera, Expression, Floats, Light, Look, Pose
from vitau.schema import AU, AUS, Side

TASKS: Final = ("rest", "brow_raise", "eye_closure", "snarl", "smile", "lip_pucker", "jaw_opening")
"""The tasks of a clip, in order."""

_UPPER: Final = frozenset({AU.AU1, AU.AU2, AU.AU4, AU.AU6})
_LOWER: Final = frozenset({AU.AU9, AU.AU12, AU.AU25, AU.AU26})
_PATTERNS: Final = {"complete": 0.10, "upper": 0.14, "lower": 0.14, "mixed": 0.62}
_SKINS: Final = (
    np.array(
        [
            (230, 184, 158),
            (222, 172, 142),
            (208, 154, 118),
            (190, 134, 98),
            (158, 106, 75),
            (118, 78, 56),
            (84, 56, 43),
            (60, 41, 34),
        ]
    )
    / 255
)
_HAIRS: Final = (
    np.array(
        [
            (28, 22, 20),
            (48, 33, 25),
            (78, 52, 34),
            (122, 86, 52),
            (176, 138, 84),
            (136, 66, 36),
            (150, 148, 146),
            (215, 212, 208),
        ]
    )
    / 255
)
_IRISES: Final = np.array([(62, 38, 24), (88, 58, 34), (104, 92, 52), (78, 106, 88), (84, 118, 150), (112, 122, 130)]) / 255


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """A synthetic person.

    ``affected`` are the regions of the palsy, ``side`` and ``severity`` (0.4–1) describe it; in a control they are empty,
    ``None`` and 0. ``weak`` (8, 2) is the loss per region and side, as in :class:`Expression`. ``effort`` per task and
    ``evenness`` per task and side are habits.
    """

    seed: int
    index: int
    palsied: bool
    side: Side | None
    severity: float
    affected: frozenset[AU]
    look: Look
    light: Light
    pose: Pose
    camera: Camera
    effort: Floats
    evenness: Floats
    weak: Floats

    @property
    def subject(self) -> str:
        """Name in a manifest, unique among all populations."""
        return f"synthetic-{self.seed}-{self.index + 1:04d}"


def draw_person(seed: int, index: int, palsied: bool | None = None) -> Person:
    """Draw person number ``index`` of a seed; the result does not depend on the size of the cohort.

    Args:
        seed: identifies the population.
        index: counted from 0.
        palsied: force a palsy or a control, with the same looks; by default one of the people 2k and 2k + 1 has a palsy.
    """
    if palsied is None:
        palsied = (index % 2 == 1) == bool(np.random.default_rng([seed, index // 2, 0]).random() < 0.5)
    rng = np.random.default_rng([seed, index, 1])
    look, light = _draw_look(rng), _draw_light(rng)
    pose = Pose(yaw_deg=float(rng.normal(0, 3.5)), pitch_deg=float(rng.normal(0, 3)), roll_deg=float(rng.normal(0, 2.5)))
    camera = _draw_camera(rng)
    effort = np.clip(rng.normal(0.9, 0.14, len(TASKS)), 0.5, 1.15)
    evenness = np.clip(1 + rng.normal(0, 0.11, (len(TASKS), 2)), 0.6, 1.25)
    rng = np.random.default_rng([seed, index, 2])
    affected, side, severity = _draw_palsy(rng) if palsied else (frozenset(), None, 0.0)
    weak = np.zeros((len(AUS), 2))
    for row, au in enumerate(AUS):
        if au in affected:
            weak[row, 1 if side is Side.LEFT else 0] = np.clip((0.25 + 0.75 * severity) * rng.uniform(0.85, 1.1), 0.4, 1)
    return Person(
        seed=seed,
        index=index,
        palsied=palsied,
        side=side,
        severity=severity,
        affected=affected,
        look=look,
        light=light,
        pose=pose,
        camera=camera,
        effort=effort,
        evenness=evenness,
        weak=weak,
    )


def _draw_palsy(rng: Generator) -> tuple[frozenset[AU], Side, float]:
    kind = str(rng.choice(list(_PATTERNS), p=list(_PATTERNS.values())))
    affected = {"complete": _UPPER | _LOWER, "upper": _UPPER, "lower": _LOWER}.get(kind, frozenset())
    while not affected:
        affected = frozenset(au for au in AUS if rng.random() < 0.5)
    return affected, (Side.LEFT if rng.random() < 0.5 else Side.RIGHT), float(rng.uniform(0.4, 1.0))


def _draw_look(rng: Generator) -> Look:
    tone = rng.uniform(0, len(_SKINS) - 1)
    skin = np.array([np.interp(tone, np.arange(len(_SKINS)), channel) for channel in _SKINS.T]) * rng.normal(1, 0.015, 3)
    age = float(rng.beta(1.6, 1.8))
    dark = tone > 3.5
    gray = rng.random() < age * 0.7
    hair = _HAIRS[rng.integers(6, 8)] if gray else _HAIRS[rng.integers(0, 2 if dark else 6)]
    iris = _IRISES[rng.integers(0, 2 if dark else 6)]
    woman = rng.random() < 0.5
    bald = not woman and rng.random() < 0.12 + 0.25 * age
    made_up = float(woman and rng.random() < 0.5)
    lip = skin * np.array([0.93, 0.70, 0.72]) * (1 - 0.06 * made_up) + np.array([0.05, 0, 0.01]) * (1 + made_up)
    asymmetry: dict[str, Floats] = {name: rng.normal(0, sd, 2) for name, sd in ASYMMETRY_SD.items()}
    return Look(
        skin=np.clip(skin, 0, 1),
        hair=np.clip(hair * rng.normal(1, 0.08), 0, 1),
        iris=iris,
        lip=np.clip(lip, 0, 1),
        shirt=rng.uniform(0.08, 0.9, 3),
        age=age,
        head_half=float(rng.normal(1.09, 0.045)),
        chin_v=float(rng.normal(1.75, 0.07)),
        jaw_power=float(rng.uniform(0.66, 0.92)),
        skull_v=float(rng.normal(1.62, 0.06)),
        eye_u=float(rng.normal(0.5, 0.018)),
        eye_half=float(rng.normal(0.235, 0.014)),
        eye_open=float(np.clip(rng.normal(0.105, 0.015), 0.07, 0.14)),
        eye_tilt=float(rng.normal(0.015, 0.016)),
        lid_fold=float(rng.uniform(0.01, 0.05)),
        brow_v=float(rng.normal(-0.33, 0.035)),
        brow_arch=float(rng.uniform(0.02, 0.10)),
        brow_half=float(rng.uniform(0.032, 0.062) * (0.8 if woman else 1.1)),
        brow_ink=float(rng.uniform(0.65, 0.95)),
        nose_v=float(rng.normal(0.70, 0.045)),
        nose_half=float(np.clip(rng.normal(0.27, 0.03), 0.21, 0.34)),
        nose_height=float(rng.uniform(0.75, 1.25)),
        mouth_v=float(rng.normal(1.09, 0.04)),
        mouth_half=float(rng.normal(0.40, 0.03)),
        mouth_curve=float(rng.normal(0.025, 0.02)),
        upper_lip=float(np.clip(rng.normal(0.085, 0.02), 0.045, 0.13)),
        lower_lip=float(np.clip(rng.normal(0.115, 0.022), 0.06, 0.17)),
        cheek=float(rng.uniform(0.35, 0.75)),
        hairline_v=-9.0 if bald else float(rng.normal(-1.08, 0.09)),
        hair_volume=float(rng.uniform(0.03, 0.10) + 0.08 * woman),
        hair_length=float(rng.uniform(0.5, 1.2) if woman and rng.random() < 0.75 else 0.1),
        stubble=float(0 if woman else max(0, rng.normal(0.25, 0.35))),
        freckles=float(max(0, rng.normal(0, 0.5))),
        makeup=made_up,
        neck_half=float(rng.normal(0.72 - 0.08 * woman, 0.04)),
        grain=int(rng.integers(0, 1 << 30)),
        asymmetry=asymmetry,
    )


def _draw_light(rng: Generator) -> Light:
    direction = np.array([rng.normal(0, 0.42), rng.normal(-0.35, 0.25), 1.0])
    warm = rng.normal(0.01, 0.025)
    tint = np.array([1 + warm, 1.0, 1 - warm]) * rng.uniform(0.84, 1.06)
    return Light(direction=direction / np.linalg.norm(direction), hardness=float(rng.uniform(0.55, 1.15)), tint=tint)


def _draw_camera(rng: Generator) -> Camera:
    return Camera(
        zoom=float(rng.uniform(66, 88)),
        position=(float(320 + rng.normal(0, 28)), float(218 + rng.normal(0, 10))),
        noise=float(rng.uniform(0.004, 0.022)),
        blur_px=float(rng.uniform(0.2, 0.9)),
        background=int(rng.integers(1 << 30)),
    )


def act(person: Person, task: str, amount: float, rng: Generator) -> Expression:
    """Return the expression of a person in a task, with random blinks, winks and asymmetric habits."""
    number = TASKS.index(task)
    a = amount * person.effort[number] * person.evenness[number]
    tiny = np.abs(rng.normal(0, 0.03, (6, 2)))
    part = {"smile": 0.9, "jaw_opening": 1.0, "snarl": 0.35}.get(task, 0.0)
    rates = {
        "brow_raise": {"raise_in": 1.0, "raise_out": 1.0},
        "eye_closure": {"close": 1.25, "cheek": 0.35, "frown": 0.25},
        "snarl": {"nose": 1.0, "frown": 0.8, "cheek": 0.5, "corner": 0.1},
        "smile": {"corner": 1.0, "cheek": 0.75},
        "lip_pucker": {"frown": 0.15},
        "jaw_opening": {"raise_in": 0.1, "raise_out": 0.1},
    }.get(task, {})
    moves = {
        name: rates.get(name, 0.0) * a + tiny[row]
        for row, name in enumerate(("raise_in", "raise_out", "frown", "cheek", "nose", "corner"))
    }
    close = rates.get("close", 0.0) * a
    chance = rng.random()
    if chance < 0.06:
        close = np.maximum(close, rng.uniform(0.3, 1))
    elif chance < 0.09:
        winking = int(rng.integers(2))
        close, moves["cheek"] = close.astype(float), moves["cheek"].copy()
        close = close + np.zeros(2)
        close[winking], moves["cheek"][winking] = max(close[winking], rng.uniform(0.5, 1)), moves["cheek"][winking] + 0.4
    elif chance < 0.14:
        moves["corner"] = moves["corner"] + rng.uniform(0.1, 0.45) * np.eye(2)[rng.integers(2)]
    return Expression(
        close=np.clip(close, 0, 1),
        part=part * np.clip(a, 0, 1),
        pucker=float(a.mean()) if task == "lip_pucker" else 0.0,
        jaw=float(a.mean()) if task == "jaw_opening" else 0.0,
        gaze=rng.normal(0, 0.35, 2),
        weak=person.weak,
        **moves,
    )
