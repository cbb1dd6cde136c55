"""Eight drawn palsied people and eight drawn controls, two frames each, and checks that every region method passes."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from vitau.baselines.method import Budget, Fitted, Method
from vitau.data.dataset import Crops
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import TASKS, draw_person
from vitau.schema import AUS, CROP_SIZE, Side, Split

SIZE, FRAMES = 64, 2


@pytest.fixture(scope="session")
def drawn_people() -> Crops:
    """16 people; every region is affected in some of the first 8 and spared in others, and the last 8 are controls."""
    pixels, landmarks, people = [], [], [draw_person(11, index, palsied=index < 8) for index in range(16)]
    for person in people:
        rng = np.random.default_rng([person.index, 5])
        for task in (TASKS[1], TASKS[4])[:FRAMES]:
            drawing = draw_crop(person, task, 1.0, rng, SIZE)
            pixels.append(drawing.image)
            landmarks.append((drawing.landmarks + 0.5) * (CROP_SIZE / SIZE) - 0.5)
    affected = np.array([[au in person.affected for au in AUS] for person in people])
    assert affected[:8].any(0).all()
    assert not affected[:8].all(0).any()
    right = np.array([[person.side is Side.RIGHT, person.side is Side.LEFT] for person in people])
    return Crops(
        pixels_MSS3=np.stack(pixels),
        row_N=np.arange(16 * FRAMES),
        landmarks_NL2=np.stack(landmarks).astype(np.float32),
        palsied_N=np.repeat([person.palsied for person in people], FRAMES),
        affected_NA=np.repeat(affected, FRAMES, axis=0),
        known_NA=np.ones((16 * FRAMES, 8), bool),
        sided_NA2=np.repeat(affected[..., None] & right[:, None], FRAMES, axis=0),
        subject_N=np.repeat([person.subject for person in people], FRAMES),
        split_N=np.full(16 * FRAMES, str(Split.TRAIN)),
    )


@pytest.fixture(scope="session")
def palsied_people(drawn_people: Crops) -> Crops:
    """The 8 palsied people."""
    return drawn_people.where(drawn_people.palsied_N)


@pytest.fixture(scope="session")
def check_overfit(palsied_people: Crops) -> Callable[[Method, Budget], Fitted]:
    """A function that trains a method on the 8 palsied people, and fails unless each region's scores rank them."""

    def check(method: Method, budget: Budget) -> Fitted:
        first_frames = palsied_people.where(np.arange(8 * FRAMES) % FRAMES == 0)
        fitted = method.fit(first_frames, first_frames, replace(budget, batch_size=8, frames_per_person=1), seed=0)
        scores = fitted.predict(first_frames)
        pairs = [
            score_N[affected_N][:, None] > score_N[~affected_N]
            for score_N, affected_N in zip(scores.T, first_frames.affected_NA.T, strict=True)
        ]
        auroc = float(np.mean([pair.mean() for pair in pairs]))
        assert auroc >= 0.98, f"mean AUROC {auroc:.3f}"
        return fitted

    return check


@pytest.fixture(scope="session")
def check_one_step(drawn_people: Crops) -> Callable[[Method, Method, Budget], None]:
    """A function that trains a method for one step, and fails unless its scores are valid and differ from untrained ones.

    The second method is the same at a learning rate of 0.
    """

    def check(method: Method, still: Method, budget: Budget) -> None:
        scores = method.fit(drawn_people, drawn_people, budget, seed=3).predict(drawn_people)
        assert scores.shape == (len(drawn_people), 8)
        assert scores.dtype == np.float32
        assert ((scores >= 0) & (scores <= 1)).all()
        assert np.array_equal(scores, method.fit(drawn_people, drawn_people, budget, seed=3).predict(drawn_people))
        assert not np.allclose(scores, still.fit(drawn_people, drawn_people, budget, seed=3).predict(drawn_people), atol=1e-7)

    return check
