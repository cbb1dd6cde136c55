"""Fixtures: the crops of one drawn palsied person, and people with made-up features whose labels follow them."""

import numpy as np
import pytest

from vitau.asymmetry.features import FEATURES, People
from vitau.data.dataset import SIDES, Crops
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import TASKS, Person, draw_person
from vitau.schema import AUS, CROP_SIZE, Split


def crops_of(people: list[Person], size: int = CROP_SIZE) -> Crops:
    """Return a frame of each task of drawn people."""
    rows = [(person, draw_crop(person, task, 1.0, np.random.default_rng([person.index, number]), size))
            for person in people for number, task in enumerate(TASKS)]  # fmt: skip
    affected_NA = np.array([[au in person.affected for au in AUS] for person, _ in rows])
    side_N2 = np.array([[person.side is side for side in SIDES] for person, _ in rows])
    return Crops(
        pixels_MSS3=np.stack([frame.image for _, frame in rows]),
        row_N=np.arange(len(rows)),
        landmarks_NL2=np.stack([(frame.landmarks + 0.5) * (CROP_SIZE / size) - 0.5 for _, frame in rows]).astype(np.float32),
        palsied_N=np.array([person.palsied for person, _ in rows]),
        affected_NA=affected_NA,
        known_NA=np.ones_like(affected_NA),
        sided_NA2=affected_NA[..., None] & side_N2[:, None],
        subject_N=np.array([person.subject for person, _ in rows]),
        split_N=np.full(len(rows), str(Split.TRAIN)),
    )


@pytest.fixture(scope="session")
def palsied_crops() -> Crops:
    """Seven frames of a drawn person with a severe palsy of all regions."""
    everything = (person for index in range(1000) if len((person := draw_person(71, index, palsied=True)).affected) == len(AUS))
    return crops_of([next(person for person in everything if person.severity > 0.8)])


@pytest.fixture
def made_up_people() -> People:
    """40 people, half palsied: all features of a palsied person have the sign of the side, and noise."""
    rng = np.random.default_rng(3)
    palsied = np.arange(40) % 2 == 0
    side = np.where(palsied, rng.choice([-1, 1], 40), 0)
    affected = (rng.random((40, len(AUS))) < 0.5) & palsied[:, None]
    features = rng.normal(0, 0.5, (40, len(FEATURES))) + side[:, None] * 1.0
    return People(
        subject_P=np.array([f"p{number:02}" for number in range(40)]),
        feature_PF=features,
        palsied_P=palsied,
        side_P=side,
        affected_PA=affected,
        known_PA=np.ones_like(affected),
    )
