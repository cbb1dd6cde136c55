"""Both networks as ONNX, for programs without torch: compared with torch as they are written, and described beside."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vitau.errors import CheckpointError
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import draw_person
from vitau.models.heatmaps import decode_sides, region_side_probability, right_side_probability
from vitau.models.inputs import to_input
from vitau.models.regions import RegionModel
from vitau.models.vit import PalsyViT
from vitau.registry.bundle import LANDMARKS, LANDMARKS_TEXT, read_thresholds
from vitau.schema import AUS, CROP_SIZE
from vitau.scoring.predict import Predictor
from vitau.store.atomic import atomic_path

OPSET: Final = 20
TOLERANCE: Final = 1e-4
"""The largest difference from torch with which a file is kept; heatmaps of an untrained model may be far from [−1, 1]."""
CARD: Final = "onnx.json"
NUM_COMPARED: Final = 3
"""Drawn faces on which both are compared; the batch with which a file is made is of another size."""

PREPROCESSING: Final = (
    "find the face and its 68 landmarks with dlib",
    "align and cut the square of FFHQ's alignment at 256 px, reflected at the borders (vitau.media.crops)",
    "resize the crop to the side of the input with an antialiased bilinear filter, corners not aligned",
    "uint8 RGB / 127.5 - 1, channels first: float32 in [-1, 1]",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """One written network: its largest difference from torch, and what goes in and out, by name."""

    file: str
    opset: int
    worst: float
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


class Recognition(nn.Module):
    """From a crop to the probability of a palsy."""

    outputs: Final = {"palsy_score": "float32 (B,), probability of a palsy, 0 to 1"}

    def __init__(self, model: PalsyViT) -> None:
        super().__init__()
        self.model = model

    def forward(self, crop_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in their order."""
        return (self.model(crop_BCHW).softmax(1)[:, 1],)


class Regions(nn.Module):
    """From a crop to the heatmaps and the scores of the regions, and of their sides where the model is sided."""

    def __init__(self, model: RegionModel, side_scales: Mapping[str, float]) -> None:
        super().__init__()
        self.model, self.side_scales = model, dict(side_scales)
        size = model.config.heatmap_size
        self.outputs = {
            "heatmaps": f"float32 (B, 8, {size}, {size}), not clamped",
            "scores": f"float32 (B, 8), -1 to 1, affected above 0, in the order {', '.join(AUS)}",
        }
        if side_scales:
            self.outputs |= {
                "right_side": "float32 (B,), probability that the person's right is the affected side",
                "sides": "float32 (B, 8, 2), probability that the right and the left side of each region is affected",
            }

    def forward(self, crop_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in their order."""
        heatmaps_BAHW = self.model(crop_BCHW)
        outputs = (heatmaps_BAHW, self.model.scores(heatmaps_BAHW))
        if not self.side_scales:
            return outputs
        score_BA2 = decode_sides(heatmaps_BAHW)
        right_B = right_side_probability(score_BA2, self.side_scales["face"])
        return (*outputs, right_B, region_side_probability(score_BA2, self.side_scales["region"]))


def export_onnx(folder: Path, out: Path) -> list[Exported]:
    """Write ``recognition.onnx``, for a region model ``regions.onnx`` as well, and ``onnx.json``, which describes them.

    Args:
        folder: of a model.
        out: made where it is missing; files of an earlier export are replaced.

    Raises:
        CheckpointError: the model cannot be read, the packages of the extra ``onnx`` are missing, or a written network differs
            from torch by more than 1e-4 on drawn faces.
    """
    _require()
    predictor = Predictor(folder, device="cpu")
    networks: dict[str, tuple[Recognition | Regions, int]] = {
        "recognition.onnx": (Recognition(predictor.recognition), predictor.recognition.input_size)
    }
    if predictor.regions is not None:
        networks["regions.onnx"] = Regions(predictor.regions, predictor.side_scales), predictor.regions.input_size
    out.mkdir(parents=True, exist_ok=True)
    exported = [_export(network.eval(), size, out / file) for file, (network, size) in networks.items()]
    told: dict[str, Any] = {
        "model_digest": predictor.digest,
        "synthetic": predictor.synthetic,
        "opset": OPSET,
        "tolerance": TOLERANCE,
        "preprocessing": PREPROCESSING,
        "thresholds": read_thresholds(folder) or {"recognition": {"threshold": predictor.threshold}},
        "networks": {
            each.file: {"inputs": each.inputs, "outputs": each.outputs, "largest_difference_from_torch": each.worst}
            for each in exported
        },
    }
    (out / LANDMARKS).write_text(LANDMARKS_TEXT, encoding="utf-8")
    (out / CARD).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return exported


def drawn_crops(count: int) -> NDArray[np.uint8]:
    """Draw aligned faces (N, 256, 256, 3) uint8 RGB of people who do not exist."""
    rng = np.random.default_rng(0)
    return np.stack([draw_crop(draw_person(0, index), "rest", 0.0, rng, CROP_SIZE).image for index in range(count)])


def _export(network: Recognition | Regions, size: int, path: Path) -> Exported:
    crops_NHWC = drawn_crops(NUM_COMPARED)
    names = list(network.outputs)
    with torch.inference_mode():
        expected = [output.numpy() for output in network(to_input(crops_NHWC, size))]
    program = torch.onnx.export(
        network,
        (to_input(crops_NHWC[:2], size).contiguous(),),
        dynamo=True,
        opset_version=OPSET,
        input_names=["crop"],
        output_names=names,
        dynamic_shapes=({0: torch.export.Dim("B", min=1)},),
        optimize=False,  # onnxscript 0.7.2 loses a constant where two clamps read one map; the runtime optimises anyway
        verbose=False,
    )
    assert program is not None
    with atomic_path(path) as partial:
        program.save(str(partial), external_data=False)
        seen = run_onnx(partial, to_input(crops_NHWC, size).contiguous().numpy())
        worst = max(difference(own, theirs) for own, theirs in zip(expected, seen, strict=True))
        if not worst <= TOLERANCE:
            raise CheckpointError(f"{path.name} differs from torch by {worst:.1e}, which is too much: it was not kept")
    inputs = {"crop": f"float32 (B, 3, {size}, {size}) in [-1, 1], RGB, aligned; any B"}
    return Exported(file=path.name, opset=OPSET, worst=worst, inputs=inputs, outputs=dict(network.outputs))


def difference(own: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """The largest difference between two outputs, as a share of the largest value where that is above 1."""
    return float(np.abs(own - theirs).max() / max(1.0, float(np.abs(own).max())))


def run_onnx(path: Path, crop_BCHW: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Run a written network on the processor; returns its outputs in their order."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs: list[NDArray[np.float32]] = session.run(None, {"crop": crop_BCHW})
    return outputs


def _require() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as missing:
        raise CheckpointError(
            f"{missing.name} is not installed, which ONNX needs: pip install onnx onnxscript onnxruntime"
        ) from missing
