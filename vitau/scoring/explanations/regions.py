"""The maps of a region model, and their evaluation: does the map of a region point at that region?"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vitau.data.dataset import Crops
from vitau.evaluation.explanations.results import HEATMAPS, REGION_GRADCAM, ExplanationMetrics
from vitau.models.heatmaps import peaks, sided_peaks
from vitau.models.inputs import to_input
from vitau.models.regions import RegionModel, build_regions
from vitau.schema import CROP_SIZE
from vitau.scoring.explanations.evaluate import by_person, chosen_rows, hull, measure_maps, near
from vitau.scoring.explanations.explain import resized
from vitau.scoring.gradcam import cam

# B image, A region (8), H row, W column, P affected region of a frame

Array = npt.NDArray[Any]

EXPLAIN_REGIONS: Final[Mapping[str, Callable[[RegionModel, Tensor], Tensor]]] = {
    HEATMAPS: lambda model, crop_BCHW: model(crop_BCHW).clamp(0, 1).detach(),
    REGION_GRADCAM: cam,
}
"""From a region model and its input to maps (B, 8, h, w), at least 0."""


def evaluate_region_maps(model: RegionModel, crops: Crops) -> dict[str, ExplanationMetrics]:
    """Evaluate the maps of affected regions, each against its own region, on the frames of :func:`chosen_rows`.

    Args:
        model: in evaluation mode.
        crops: frames with landmarks and labels.

    Returns:
        The results by name, without deletion and insertion; empty without any such frame.
    """
    row_N = chosen_rows(crops)
    if not len(row_N):
        return {}
    some = crops.where(row_N)
    crop_NCHW = to_input(torch.from_numpy(some.pixels(slice(None))), model.input_size).to(next(model.parameters()).device)
    frame_P, region_P = np.nonzero(some.affected_NA & some.known_NA)
    truth = _truth(some, frame_P, region_P)
    random_model = _randomized(model)
    found = {}
    for name, explain in EXPLAIN_REGIONS.items():
        own_PHW, random_PHW = (
            resized(explain(network, crop_NCHW)[frame_P, region_P].float(), CROP_SIZE).cpu().numpy()
            for network in (model, random_model)
        )
        values = measure_maps(own_PHW, truth)
        values["randomized"] = measure_maps(random_PHW, truth)["pointing"]
        found[name] = ExplanationMetrics.of_people(by_person(values, some.subject_N[frame_P]))
    return found


def _truth(crops: Crops, frame_P: Array, region_P: Array) -> dict[str, Array]:
    """Return masks (P, 256, 256) bool: the face, the surroundings of both peaks of the region, and of the affected side's."""
    landmarks_NL2 = torch.from_numpy(crops.landmarks_NL2)
    either, sided = peaks(landmarks_NL2).numpy(), sided_peaks(landmarks_NL2).numpy()
    face_NHW = np.stack([hull(landmarks_L2) for landmarks_L2 in crops.landmarks_NL2])
    one_sided_N = crops.sided_NA2.any(1).sum(1) == 1
    pairs = list(zip(frame_P.tolist(), region_P.tolist(), strict=True))
    return {
        "face": face_NHW[frame_P],
        "affected": np.stack([near(either[frame, region]) for frame, region in pairs]),
        "affected_side": np.stack(
            [near(sided[frame, region][crops.sided_NA2[frame, region] & one_sided_N[frame]]) for frame, region in pairs]
        ),
    }


def _randomized(model: RegionModel, seed: int = 0) -> RegionModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build_regions(model.config)
    return fresh.to(next(model.parameters()).device).eval()
