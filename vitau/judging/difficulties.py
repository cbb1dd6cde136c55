"""The people of the benchmark and its three difficulties: severity, pose, light, noise, resolution, sharpness, compression.

Everything that makes a picture harder is defined here, and nowhere else.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from vitau.media.synthetic.cohort import encode_clip
from vitau.media.synthetic.drawing import FRAME_SIZE, draw_frame
from vitau.media.synthetic.people import TASKS, Person, draw_person
from vitau.media.synthetic.values import Image, Pose, Style
from vitau.schema import AUS
from vitau.training.pretraining.draw_worker import population

NUM_PEOPLE: Final = 300
POPULATION: Final = "benchmark"
"""Name of the population: its seed is above that of every cohort, so that nobody of it is ever trained on."""
FPS: Final = 6
FRAMES_PER_TASK: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Difficulty:
    """The conditions in which a person is recorded.

    Attributes:
        severity: range of the severity of a palsy, of 0 to 1.
        effort: share of the person's effort in the exercises.
        turn: factor of the turn of the head.
        hardness: factor of the hardness of the light.
        exposure: factor of the brightness of the picture.
        noise: standard deviation of further noise, gray levels of 255.
        blur_px: further blur of the camera.
        size: width and height of a frame.
        crf: strength of the compression of H.264; 18 is hardly visible.
    """

    name: str
    severity: tuple[float, float]
    effort: float = 1.0
    turn: float = 1.0
    hardness: float = 1.0
    exposure: float = 1.0
    noise: float = 0.0
    blur_px: float = 0.0
    size: tuple[int, int] = FRAME_SIZE
    crf: int = 18


EASY: Final = Difficulty(name="easy", severity=(0.75, 1.0), turn=0.6, hardness=0.8)
MEDIUM: Final = Difficulty(name="medium", severity=(0.5, 0.9), hardness=1.1, noise=3.0, crf=23)
HARD: Final = Difficulty(
    name="hard",
    severity=(0.4, 0.65),
    effort=0.75,
    turn=1.8,
    hardness=1.4,
    exposure=0.75,
    noise=6.0,
    blur_px=0.5,
    size=(480, 360),
    crf=27,
)
DIFFICULTIES: Final = (EASY, MEDIUM, HARD)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One clip to judge: a person, by number, in a style; the difficulty follows from the number."""

    index: int
    style: Style

    @property
    def name(self) -> str:
        """Name in files."""
        return f"{self.style}-{self.index + 1:04d}"

    @property
    def difficulty(self) -> Difficulty:
        """Difficulty of the person; one of two neighbors has a palsy, so pairs share it."""
        return DIFFICULTIES[self.index // 2 % len(DIFFICULTIES)]

    def person(self) -> Person:
        """Draw the person with the difficulty's severity, effort, pose, light and camera."""
        return hardened(draw_person(population(POPULATION), self.index), self.difficulty)


def hardened(person: Person, difficulty: Difficulty) -> Person:
    """Return a person under a difficulty; looks, affected regions and sides stay."""
    low, high = difficulty.severity
    severity = low + (person.severity - 0.4) / 0.6 * (high - low) if person.palsied else 0.0
    lost = (0.25 + 0.75 * severity) / (0.25 + 0.75 * person.severity)
    pose, camera, light = person.pose, person.camera, person.light
    return replace(
        person,
        severity=severity,
        weak=np.where(person.weak > 0, np.clip(person.weak * lost, 0.4, 1), 0.0),
        effort=person.effort * difficulty.effort,
        pose=Pose(yaw_deg=pose.yaw_deg * difficulty.turn, pitch_deg=pose.pitch_deg * difficulty.turn, roll_deg=pose.roll_deg),
        light=replace(light, hardness=light.hardness * difficulty.hardness),
        camera=replace(camera, blur_px=camera.blur_px + difficulty.blur_px),
    )


def write_case(case: Case, path: Path) -> Person:
    """Write the clip of a case and return its person."""
    person, difficulty = case.person(), case.difficulty
    encode_clip(path, _images(case, person, difficulty), FPS, size=difficulty.size, crf=difficulty.crf)
    return person


def _images(case: Case, person: Person, difficulty: Difficulty) -> Iterator[Image]:
    """Draw all tasks from onset to apex; the movements are the same in every style."""
    rng, sensor = (np.random.default_rng([person.seed, person.index, stream]) for stream in (4, 8))
    for task in TASKS:
        for number in range(FRAMES_PER_TASK):
            amount = (number + 1) / FRAMES_PER_TASK + rng.uniform(-0.1, 0.0)
            image = draw_frame(person, task, float(amount), rng, difficulty.size, style=case.style).image
            noise = sensor.standard_normal(image.shape, np.float32) * difficulty.noise
            yield cv2.convertScaleAbs(np.maximum(image * difficulty.exposure + noise, 0))


def truth_of(person: Person) -> dict[str, Any]:
    """Return the truth about a person as JSON values."""
    side = None if person.side is None else person.side.value
    return {"palsied": person.palsied, "side": side, "affected": [au.value for au in AUS if au in person.affected]}
