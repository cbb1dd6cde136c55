"""The evaluation of the explanation of a fused score, on the people and frames on which the other explanations are evaluated.

Axes: N frame, H row, W column, L landmark (68), F feature, S person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from vitau.asymmetry.features import measure_features
from vitau.asymmetry.fusion import Fusion
from vitau.data.dataset import Crops
from vitau.evaluation.decision import FEWEST_FRAMES
from vitau.evaluation.explanations.results import FUSED, ExplanationMetrics
from vitau.measures.geometry import Floats
from vitau.measures.weakness.odds import Odds
from vitau.media.faces import landmarks
from vitau.models.inputs import to_input
from vitau.models.vit import PalsyViT
from vitau.schema import CROP_SIZE
from vitau.scoring.explanations.evaluate import Box, by_person, chosen_rows, measure_maps, randomized, truth_of
from vitau.scoring.explanations.explain import resized
from vitau.scoring.explanations.fused import fused_maps
from vitau.scoring.explanations.mirror import palsy_evidence

Array = NDArray[Any]

STEPS: Final = (0.2, 0.4, 0.6, 0.8)
"""Shares of the pixels that are deleted: movement is measured again at each."""
MOST_FRAMES: Final = 8
"""Frames of a person, evenly spaced, in which movement is measured again."""
_BOX_SIDE: Final = 2.4
_BOX_DOWN: Final = 0.56


def evaluate_fused(
    model: PalsyViT, fusion: Fusion, crops: Crops, *, marks: Mapping[int, Sequence[Box]] | None = None
) -> dict[str, ExplanationMetrics]:
    """Evaluate the explanation of the whole fused score; see :func:`vitau.scoring.explanations.evaluate.evaluate_explanations`.

    Args:
        model: the network, in evaluation mode.
        fusion: of its score with movement.
        crops: all frames of each person, with ``movement_NF``.
        marks: boxes that readers drew, by row of ``crops``.

    Returns:
        The result by name; empty without a palsied person with a known region. Its deletion measures movement again in the
        changed frames, and an insertion is not computed.
    """
    row_N = chosen_rows(crops, marks or {})
    if not len(row_N):
        return {}
    assert crops.movement_NF is not None, "the crops of a model with movement carry its features"
    some = crops.where(row_N)
    crop_NCHW = to_input(torch.from_numpy(some.pixels(slice(None))).to(next(model.parameters()).device), model.input_size)
    truth = truth_of(some, row_N, marks or {})
    maps = []
    for network, own in ((model, fusion), (randomized(model), _randomized(fusion))):
        map_NHW = fused_maps(network, own, crop_NCHW, some.landmarks_NL2, crops.movement_NF[row_N])
        maps.append(resized(map_NHW.float(), CROP_SIZE).cpu().numpy())
    values = measure_maps(maps[0], truth)
    values["randomized"] = measure_maps(maps[1], truth)["pointing"]
    values["deletion"] = np.full(len(row_N), np.nan)
    for subject in np.unique(some.subject_N):
        own_N = some.subject_N == subject
        person = crops.where(crops.subject_N == subject)
        values["deletion"][own_N] = deletion(model, fusion, person, maps[0][own_N].mean(0))
    return {FUSED: ExplanationMetrics.of_people(by_person(values, some.subject_N))}


def deletion(model: PalsyViT, fusion: Fusion, person: Crops, map_HW: Array, seed: int = 0) -> float:
    """Compute by how much less the fused log-odds of a person are while pixels are deleted by a map than at random.

    A deleted pixel becomes the mean of itself and its mirror pixel, in every frame. In the changed frames landmarks are found
    and movement is measured again, so that nothing of the explanation is taken for granted.

    Args:
        model: the network, in evaluation mode.
        fusion: of its score with movement.
        person: all frames of one person.
        map_HW: of the explanation, (256, 256).
        seed: of the random order.
    """
    chosen = np.unique(np.linspace(0, len(person) - 1, MOST_FRAMES).round().astype(np.int64))
    pixels_NSS3, points_NL2 = person.pixels(chosen), person.landmarks_NL2[chosen]
    symmetric_NSS3 = ((pixels_NSS3.astype(np.uint16) + pixels_NSS3[:, :, ::-1]) // 2).astype(np.uint8)
    random_HW = np.random.default_rng(seed).random(map_HW.shape)
    ordered_HW = map_HW + 1e-6 * max(float(map_HW.max()), 1e-6) * random_HW  # pixels of equal value in random order
    evidence = np.zeros(2)
    for number, order_HW in enumerate((ordered_HW, random_HW)):
        for share in STEPS:
            deleted_HW = order_HW >= np.quantile(order_HW, 1 - share)
            changed_NSS3 = np.where(deleted_HW[None, :, :, None], symmetric_NSS3, pixels_NSS3)
            evidence[number] += fused_evidence(model, fusion, changed_NSS3, points_NL2) / len(STEPS)
    return float(evidence[1] - evidence[0])


def fused_evidence(model: PalsyViT, fusion: Fusion, pixels_NSS3: NDArray[np.uint8], points_NL2: Array) -> float:
    """Compute the fused log-odds of a palsy of one person's frames, mean over the frames; landmarks are found again.

    Args:
        model: the network, in evaluation mode.
        fusion: of its score with movement.
        pixels_NSS3: crops, uint8 RGB.
        points_NL2: landmarks in crops without changes, which say where the face is.
    """
    crop_NCHW = to_input(torch.from_numpy(pixels_NSS3).to(next(model.parameters()).device), model.input_size)
    with torch.inference_mode():
        network = float(palsy_evidence(model, crop_NCHW).mean())
    if len(pixels_NSS3) < FEWEST_FRAMES:
        return fusion.task.network * network
    found_NL2 = np.stack([_landmarks(pixels, points) for pixels, points in zip(pixels_NSS3, points_NL2, strict=True)])
    movement = fusion.model.log_odds(measure_features(pixels_NSS3, found_NL2)[None]).palsy_P[0]
    return fusion.task.network * network + fusion.task.movement * float(movement)


def _landmarks(pixels_SS3: NDArray[np.uint8], points_L2: Array) -> Floats:
    """Return dlib's landmarks of a face whose place is known, in a box as the detector would give it."""
    right_2, left_2 = points_L2[36:42].mean(axis=0), points_L2[42:48].mean(axis=0)
    eyes_px = float(np.linalg.norm(left_2 - right_2))
    x, y = (right_2 + left_2) / 2
    side = _BOX_SIDE * eyes_px
    box = (float(x) - side / 2, float(y) + _BOX_DOWN * eyes_px - side / 2, side, side)
    return landmarks(np.ascontiguousarray(pixels_SS3), box).astype(np.float64)


def _randomized(fusion: Fusion, seed: int = 0) -> Fusion:
    """Return a fusion with random weights where it has some."""
    rng, model = np.random.default_rng(seed), fusion.model

    def fresh(odds: Odds) -> Odds:
        return replace(odds, weight_F=np.where(odds.weight_F == 0, 0, rng.normal(size=len(odds.weight_F))))

    return replace(fusion, model=replace(model, side=fresh(model.side), palsy=fresh(model.palsy)))
