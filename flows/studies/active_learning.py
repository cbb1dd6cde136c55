"""Study of active learning on drawn people: how many labels each order of labeling needs for a target AUROC."""

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from labeling.sampling.landmark_shapes import movement, upright
from labeling.sampling.simulation import ORDERS, Array, Curve, Population, Saving, principal_components, savings, simulate
from vitau.evaluation.measure import region_metrics
from vitau.media.synthetic.drawing import draw_landmarks
from vitau.media.synthetic.people import TASKS, draw_person
from vitau.processes import parallel_map
from vitau.schema import AUS, MIRROR, NUM_LANDMARKS

COMPONENTS: Final = 40
FIRST: Final = 10
BATCH: Final = 10
SCATTER: Final = 0.01
"""Standard deviation of a landmark, in distances between the eyes."""
MIRRORED: Final = np.array([(one, other) for one, other in enumerate(MIRROR) if one < other])
"""The pairs of landmarks that mirror each other."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """Result of a simulation: the AUROC with all labels, and the number of labels of every order for each target."""

    populations: int
    people: int
    held_out: int
    seed: int
    auroc_of_all: float
    savings: list[Saving]


def run(
    targets: list[float], *, populations: int, people: int, held_out: int, seed: int, num_processes: int | None = None
) -> Replayed:
    """Draw populations, simulate every order in each, and summarize.

    Args:
        targets: mean AUROCs over the regions.
        populations: number of populations, each of other people.
        people: to label in each.
        held_out: more people in each, for the AUROC.
        seed: of the populations.
        num_processes: populations at a time; one per core by default.
    """
    one = partial(replay_population, people=people, held_out=held_out)
    curves = list(parallel_map(one, range(seed, seed + populations), num_processes))
    return Replayed(
        populations=populations,
        people=people,
        held_out=held_out,
        seed=seed,
        auroc_of_all=float(np.mean([population[0].auroc[-1] for population in curves])),
        savings=[saving for target in targets for saving in savings(curves, target)],
    )


def replay_population(seed: int, *, people: int, held_out: int) -> list[Curve]:
    """Draw one population and simulate every order in it."""
    drawn = draw_population(seed, people, held_out)
    return [simulate(drawn, order, auroc=mean_auroc, first=FIRST, batch=BATCH, seed=seed) for order in ORDERS]


def draw_population(seed: int, people: int, held_out: int) -> Population:
    """Draw palsied people in every facial task, and compute features of their landmarks, with noise like dlib's."""
    features, movements, truths = [], [], []
    for index in range(people + held_out):
        person, rng = draw_person(seed, index, palsied=True), np.random.default_rng([seed, index, 9])
        frames = [draw_landmarks(person, task, float(rng.uniform(0.8, 1.0)), rng) for task in TASKS]
        points = np.stack(frames) + rng.normal(0, SCATTER, (len(TASKS), NUM_LANDMARKS, 2))
        features.append(movement_asymmetry(points))
        movements.append(movement(points))
        truths.append([au in person.affected for au in AUS])
    feature_SD = np.stack(features)
    feature_SD /= np.maximum(feature_SD[:people].std(axis=0), 1e-12)
    feature_SD, rest_TD = principal_components(feature_SD[:people], feature_SD[people:], COMPONENTS)
    return Population(
        feature_SD=feature_SD,
        movement_SM=np.stack(movements[:people]),
        truth_SA=np.array(truths[:people]),
        held_out_feature_TD=rest_TD,
        held_out_truth_TA=np.array(truths[people:]),
    )


def movement_asymmetry(landmarks: Array) -> Array:
    """Compute how differently the halves of a face move in each task: (tasks × pairs × 2,), in distances between the eyes.

    Args:
        landmarks: (1 + tasks, 68, 2) of one person, the first at rest.
    """
    points = upright(landmarks)
    moved = points[1:] - points[:1]
    one, other = moved[:, MIRRORED[:, 0]], moved[:, MIRRORED[:, 1]]
    return np.abs(one - other * (-1, 1)).ravel()


def mean_auroc(truth_TA: NDArray[np.bool_], probability_TA: Array) -> float:
    """Compute the mean AUROC over the regions; one row per person."""
    names = [f"{number:06}" for number in range(len(truth_TA))]
    auroc = region_metrics(names, truth_TA, probability_TA, threshold=0.5, num_resamples=1).auroc.value
    assert auroc is not None, "the people held out are of both classes in some region"
    return auroc
