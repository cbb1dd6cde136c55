"""Heatmaps of a region model on drawn faces, as one image; no real person is in it."""

from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vitau.models.heatmaps import sided_heatmaps, true_heatmaps
from vitau.models.inputs import to_input
from vitau.models.regions import RegionConfig
from vitau.schema import AUS
from vitau.training.pretraining.draw_worker import DrawnPeople, draw_chunk

Array = npt.NDArray[Any]

TILE: Final = 96
SHOWN: Final = DrawnPeople(num_people=12, frames_per_person=1, size=TILE, seed="pictures of heatmaps")
NUM_FACES: Final = 4
AFFECTED: Final = np.array((214, 62, 20))
SPARED: Final = np.array((28, 108, 200))


def draw_heatmaps(model: nn.Module, config: RegionConfig, device: torch.device) -> bytes:
    """Render the heatmaps of a model over drawn palsied faces, above the true ones: orange is affected, blue is not.

    Returns:
        A PNG: a row of 9 tiles per face, the face and its 8 regions in the order of ``AUS``, and a row of the truth below.
    """
    drawn = draw_chunk(SHOWN, range(SHOWN.num_people))
    rows = np.flatnonzero(drawn["palsied"])[:NUM_FACES]
    face_NHW3, sided_NA2 = drawn["pixels"][rows], torch.from_numpy(drawn["sided"][rows])
    landmarks_NL2 = torch.from_numpy(drawn["landmarks"][rows])
    training = model.training
    with torch.inference_mode():
        input_NCHW = to_input(torch.from_numpy(face_NHW3).to(device), config.encoder.input_size)
        seen_NAHW: Tensor = model.eval()(input_NCHW).float().cpu()
    model.train(training)
    if config.mode == "sided":
        true_NAHW = sided_heatmaps(landmarks_NL2, sided_NA2, config.heatmap_size, config.sigma)
    else:
        true_NAHW = true_heatmaps(landmarks_NL2, sided_NA2.any(-1), config.heatmap_size, config.sigma)
    lines = []
    for face, seen_AHW, true_AHW in zip(face_NHW3, seen_NAHW.numpy(), true_NAHW.numpy(), strict=True):
        for heatmap_AHW, first in ((seen_AHW, face), (true_AHW, _written("synthetic, truth"))):
            lines.append(np.hstack([first, *(_overlaid(face, heatmap_HW) for heatmap_HW in heatmap_AHW)]))
    heading = np.hstack([_written(text)[: TILE // 4] for text in ("synthetic", *AUS)])
    _, png = cv2.imencode(".png", np.vstack([heading, *lines])[..., ::-1])
    return bytes(png.tobytes())


def _overlaid(face: Array, heatmap_HW: Array) -> Array:
    value = cv2.resize(np.clip(heatmap_HW, -1, 1), (TILE, TILE), interpolation=cv2.INTER_LINEAR)[..., None]
    weight = 0.7 * np.abs(value)
    return np.asarray(face * (1 - weight) + np.where(value > 0, AFFECTED, SPARED) * weight, dtype=np.uint8)


def _written(text: str) -> Array:
    tile = np.full((TILE, TILE, 3), 255, np.uint8)
    return np.asarray(cv2.putText(tile, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (40, 40, 40), 1, cv2.LINE_AA))
