"""Fixtures: frames of eight drawn people, four of them palsied, and of three other people to validate on."""

import numpy as np
import pytest

from vitau.data.dataset import SIDES, Crops
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import TASKS, draw_person
from vitau.schema import AUS, CROP_SIZE, Split

_SIZE = 96


def _drawn_crops(first, num_people, split):
    frames, people = [], []
    for index in range(first, first + num_people):
        person = draw_person(31, index)
        rng = np.random.default_rng([31, index])
        frames += [draw_crop(person, task, 0.9, rng, _SIZE) for task in TASKS]
        people += [person] * len(TASKS)
    affected_NA = np.array([[au in person.affected for au in AUS] for person in people])
    side_N2 = np.array([[person.side is side for side in SIDES] for person in people])
    return Crops(
        pixels_MSS3=np.stack([frame.image for frame in frames]),
        row_N=np.arange(len(frames)),
        landmarks_NL2=np.stack([frame.landmarks for frame in frames]).astype(np.float32) * (CROP_SIZE / _SIZE),
        palsied_N=np.array([person.palsied for person in people]),
        affected_NA=affected_NA,
        known_NA=np.ones_like(affected_NA),
        sided_NA2=affected_NA[..., None] & side_N2[:, None],
        subject_N=np.array([person.subject for person in people]),
        split_N=np.full(len(frames), str(split)),
        source_N=np.full(len(frames), "drawn"),
    )


@pytest.fixture(scope="session")
def eight_people() -> Crops:
    """Seven frames, one per task, of each of eight drawn people, four of them palsied; 96 px."""
    return _drawn_crops(0, 8, Split.TRAIN)


@pytest.fixture(scope="session")
def other_people() -> Crops:
    """The same of four other people, to validate on."""
    return _drawn_crops(8, 4, Split.VAL)
