"""Evaluation of a model's explanations on people whose affected regions are known: are they true?"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vitau.data.dataset import Crops
from vitau.evaluation.bootstrap import ratio
from vitau.evaluation.explanations.results import ExplanationMetrics, Explanations
from vitau.models.heatmaps import peaks, sided_peaks
from vitau.models.inputs import to_input
from vitau.models.vit import PalsyViT, build_vit
from vitau.schema import CROP_SIZE
from vitau.scoring.explanations.explain import EXPLAIN, resized
from vitau.scoring.explanations.mirror import palsy_evidence

# N frame, B image, C channel, H row, W column, L landmark (68), A region (8), P peak, K step of a curve, S person

Array = npt.NDArray[Any]
Box = tuple[float, float, float, float]

MAX_PEOPLE: Final = 30
FRAMES_PER_PERSON: Final = 2
RADIUS: Final = 30.0
"""Distance in px of the crop up to which a maximum points at a peak."""
NUM_STEPS: Final = 10
"""Steps of a deletion or insertion curve, each a tenth of the pixels."""


def evaluate_explanations(
    model: PalsyViT, crops: Crops, *, marks: Mapping[int, Sequence[Box]] | None = None, seen_in_training: bool = False
) -> Explanations | None:
    """Evaluate every explanation on a few frames of palsied people with a known affected region.

    The cost is bounded: at most 30 people, evenly spaced by pseudonym, and 2 frames of each.

    Args:
        model: recognition, in evaluation mode.
        crops: frames with landmarks and labels; healthy people and people without known regions are left out.
        marks: boxes that readers drew, by row of ``crops``; marked frames of a person are chosen first.
        seen_in_training: whether the model learned from these people.

    Returns:
        The results; ``None`` without any such person.
    """
    marks = marks or {}
    row_N = chosen_rows(crops, marks)
    if not len(row_N):
        return None
    device = next(model.parameters()).device
    some = crops.where(row_N)
    crop_NCHW = to_input(torch.from_numpy(some.pixels(slice(None))).to(device), model.input_size)
    truth = truth_of(some, row_N, marks)
    random_model = randomized(model)
    by_name = {}
    for name, explain in EXPLAIN.items():
        map_NHW = explain(model, crop_NCHW)
        values = measure_maps(resized(map_NHW, CROP_SIZE).cpu().numpy(), truth)
        values |= curves(model, crop_NCHW, resized(map_NHW, model.input_size))
        random_NHW = resized(explain(random_model, crop_NCHW), CROP_SIZE).cpu().numpy()
        values["randomized"] = measure_maps(random_NHW, truth)["pointing"]
        by_name[name] = ExplanationMetrics.of_people(by_person(values, some.subject_N))
    people = len(set(some.subject_N.tolist()))
    return Explanations(num_people=people, num_frames=len(row_N), seen_in_training=seen_in_training, by_name=by_name)


def chosen_rows(crops: Crops, marked: Collection[int] = ()) -> Array:
    """Return the rows of the frames that are evaluated, in order: of each person's marked frames if there are any."""
    usable_N = crops.palsied_N & (crops.affected_NA & crops.known_NA).any(1)
    people = sorted(set(crops.subject_N[usable_N].tolist()))
    rows: list[int] = []
    for position in _evenly_spaced(len(people), MAX_PEOPLE):
        own = np.flatnonzero(usable_N & (crops.subject_N == people[position]))
        own = own[np.isin(own, list(marked))] if np.isin(own, list(marked)).any() else own
        rows += own[_evenly_spaced(len(own), FRAMES_PER_PERSON)].tolist()
    return np.array(sorted(rows), dtype=np.int64)


def measure_maps(map_NHW: Array, truth: Mapping[str, Array]) -> dict[str, Array]:
    """Measure maps of the crop's size against the truth of the frames; values (N,) by field, NaN where undefined.

    A map of zeros points nowhere.
    """
    num, side = len(map_NHW), map_NHW.shape[-1]
    flat_N = map_NHW.reshape(num, -1).argmax(1)
    shown_N = map_NHW.max((1, 2)) > 0
    frame_N = np.arange(num)
    at = frame_N, flat_N // side, flat_N % side
    face_NHW, near_NHW, near_side_NHW = truth["face"], truth["affected"], truth["affected_side"]
    one_sided_N = near_side_NHW.any((1, 2))
    area_N = face_NHW.mean((1, 2))
    marked_NHW = truth.get("marks", np.zeros((num, 1, 1), dtype=bool))
    marked_N = marked_NHW.any((1, 2))
    hit_N = marked_NHW[at] if marked_N.any() else marked_N
    return {
        "marks": np.where(marked_N, hit_N & shown_N, np.nan),
        "marks_chance": np.where(marked_N, marked_NHW.mean((1, 2)), np.nan),
        "pointing": (near_NHW[at] & shown_N).astype(float),
        "chance": near_NHW.mean((1, 2)),
        "chance_on_face": ratio((near_NHW & face_NHW).mean((1, 2)), area_N),
        "affected_side": np.where(one_sided_N, near_side_NHW[at] & shown_N, np.nan),
        "face_mass": ratio((map_NHW * face_NHW).sum((1, 2)), map_NHW.sum((1, 2))),
        "face_area": area_N,
        "empty": (~shown_N).astype(float),
    }


def curves(model: PalsyViT, crop_NCHW: Tensor, map_NHW: Tensor, seed: int = 0) -> dict[str, Array]:
    """Compare deletion and insertion in the order of the maps with random order; (N,), positive where the map is better.

    A deleted pixel becomes the mean of itself and its mirror pixel: what is left is a symmetric face, which is still a face.
    Blurred or gray pixels on one side are asymmetric, and so a sign of a palsy themselves.
    """
    generator = torch.Generator().manual_seed(seed)
    random_NHW = torch.rand(map_NHW.shape, generator=generator).to(map_NHW)
    tie_NHW = random_NHW * map_NHW.amax((1, 2), keepdim=True).clamp(min=1e-6) * 1e-6  # pixels of equal value in random order
    symmetric_NCHW = (crop_NCHW + crop_NCHW.flip(-1)) / 2
    own_2N = _mean_evidence(model, crop_NCHW, symmetric_NCHW, map_NHW + tie_NHW)
    random_2N = _mean_evidence(model, crop_NCHW, symmetric_NCHW, random_NHW)
    return {"deletion": random_2N[0] - own_2N[0], "insertion": own_2N[1] - random_2N[1]}


def _mean_evidence(model: PalsyViT, crop_NCHW: Tensor, without_NCHW: Tensor, order_NHW: Tensor) -> Array:
    """Return the mean evidence along both curves (2, N): deletion, insertion."""
    flat_NP = order_NHW.flatten(1)
    rank_N1HW = flat_NP.argsort(1, descending=True).argsort(1).view(order_NHW.shape)[:, None]
    steps = [round(step / NUM_STEPS * flat_NP.shape[1]) for step in range(NUM_STEPS + 1)]
    with torch.inference_mode():
        deleted_KN = [palsy_evidence(model, torch.where(rank_N1HW < step, without_NCHW, crop_NCHW)) for step in steps]
        inserted_KN = [palsy_evidence(model, torch.where(rank_N1HW < step, crop_NCHW, without_NCHW)) for step in steps]
    return np.stack([torch.stack(curve).mean(0).double().cpu().numpy() for curve in (deleted_KN, inserted_KN)])


def randomized(model: PalsyViT, seed: int = 0) -> PalsyViT:
    """Return a model of the same architecture with fresh random weights."""
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build_vit(model.config)
        torch.nn.init.normal_(fresh.vit.head.weight, std=0.02)  # timm starts some heads at 0, which explains nothing
    return fresh.to(device).eval()


def truth_of(crops: Crops, row_N: Array, marks: Mapping[int, Sequence[Box]]) -> dict[str, Array]:
    """Return masks (N, 256, 256) bool: the face, the surroundings of affected regions, those on the affected side, and marks.

    ``row_N`` are the rows by which ``marks`` names the frames.
    """
    landmarks_NL2 = torch.from_numpy(crops.landmarks_NL2)
    affected_NA = crops.affected_NA & crops.known_NA
    either_NAP2, sided_NAP2 = peaks(landmarks_NL2).numpy(), sided_peaks(landmarks_NL2).numpy()
    one_sided_N = crops.sided_NA2.any(1).sum(1) == 1
    return {
        "marks": np.stack([boxes_mask(marks.get(row, ())) for row in row_N.tolist()]),
        "face": np.stack([hull(landmarks_L2) for landmarks_L2 in crops.landmarks_NL2]),
        "affected": np.stack([near(peak[own]) for peak, own in zip(either_NAP2, affected_NA, strict=True)]),
        "affected_side": np.stack(
            [near(peak[own & one_sided]) for peak, own, one_sided in zip(sided_NAP2, crops.sided_NA2, one_sided_N, strict=True)]
        ),
    }


def hull(landmarks_L2: Array) -> Array:
    """Return the mask (256, 256) of the convex hull of 68 points."""
    mask = np.zeros((CROP_SIZE, CROP_SIZE), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(landmarks_L2.round().astype(np.int32)), 1)
    return mask.astype(bool)


def near(point_2: Array) -> Array:
    """Return the mask of pixels within the radius of any of the points (…, 2)."""
    row_HW, column_HW = np.mgrid[:CROP_SIZE, :CROP_SIZE]
    mask = np.zeros((CROP_SIZE, CROP_SIZE), dtype=bool)
    for x, y in point_2.reshape(-1, 2):
        mask |= (column_HW - x) ** 2 + (row_HW - y) ** 2 <= RADIUS**2
    return mask


def boxes_mask(boxes: Sequence[Box]) -> Array:
    """Return the mask (256, 256) of boxes: left, top, width and height as fractions of the crop."""
    mask = np.zeros((CROP_SIZE, CROP_SIZE), dtype=bool)
    for left, top, width, height in boxes:
        rows, columns = (
            slice(round(start * CROP_SIZE), round((start + size) * CROP_SIZE)) for start, size in ((top, height), (left, width))
        )
        mask[rows, columns] = True
    return mask


def by_person(values: Mapping[str, Array], subject_N: Array) -> dict[str, Array]:
    """Return the mean over the frames of each person (S,) by field; NaN where no frame of the person has a value."""
    people = sorted(set(subject_N.tolist()))
    means: dict[str, Array] = {}
    for name, value_N in values.items():
        own = [value_N[(subject_N == person) & ~np.isnan(value_N)] for person in people]
        means[name] = np.array([frames.mean() if len(frames) else np.nan for frames in own])
    return means


def _evenly_spaced(count: int, wanted: int) -> list[int]:
    return sorted({round(position) for position in np.linspace(0, count - 1, min(count, wanted))}) if count else []
