"""Worker that draws a part of the people for pretraining; it does not import torch, which takes seconds."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from vitau.data.dataset import SIDES
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import TASKS, draw_person
from vitau.schema import AUS, CROP_SIZE, NUM_LANDMARKS, Side

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnPeople:
    """Number of people to draw for pretraining, of frames per person, and their size in px; they are in no cohort."""

    num_people: int
    frames_per_person: int
    size: int
    seed: str = "pretraining"


def population(name: str) -> int:
    """Return the seed of a population by its name: above 2⁶⁴, where no cohort's seed is."""
    return (1 << 64) + int.from_bytes(sha256(f"vitau {name}".encode()).digest()[:7])


def draw_chunk(drawn: DrawnPeople, people: range) -> dict[str, Array]:
    """Draw some people of a population: pixels, landmarks (px of a 256 crop), palsied and sided labels of their frames."""
    seed = population(drawn.seed)
    num_frames = len(people) * drawn.frames_per_person
    pixels = np.empty((num_frames, drawn.size, drawn.size, 3), np.uint8)
    landmarks = np.empty((num_frames, NUM_LANDMARKS, 2), np.float32)
    palsied = np.empty(num_frames, bool)
    sided = np.empty((num_frames, len(AUS), 2), bool)
    row = 0
    for index in people:
        person = draw_person(seed, index)
        rng = np.random.default_rng([seed, index, 99])
        for task in rng.permutation(len(TASKS))[np.arange(drawn.frames_per_person) % len(TASKS)]:
            drawing = draw_crop(person, TASKS[task], float(rng.uniform(0.1, 1.0)), rng, drawn.size)
            pixels[row] = drawing.image
            landmarks[row] = (drawing.landmarks + 0.5) * (CROP_SIZE / drawn.size) - 0.5
            palsied[row] = person.palsied
            sided[row] = [[au in person.affected and person.side in (side, Side.BOTH) for side in SIDES] for au in AUS]
            row += 1
    return {"pixels": pixels, "landmarks": landmarks, "palsied": palsied, "sided": sided}
