"""ONNX export of both networks, compared with PyTorch and described in ``onnx.json``."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vitau.asymmetry.fusion import Fusion
from vitau.errors import CheckpointError
from vitau.evaluation.decision import SMALLEST_PROBABILITY, Calibration, log_odds
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import draw_person
from vitau.models.heatmaps import decode_sides, region_side_probability, right_side_probability
from vitau.models.inputs import SMALL_INPUT, to_input
from vitau.models.regions import RegionModel
from vitau.models.vit import PalsyViT
from vitau.registry.bundle import LANDMARKS, LANDMARKS_TEXT, read_thresholds
from vitau.schema import AUS, CROP_SIZE
from vitau.scoring.predict import Predictor
from vitau.store.atomic import atomic_path

OPSET: Final = 20
TOLERANCE: Final = 1e-4
"""Largest accepted difference from PyTorch; relative to the largest value where that is above 1."""
CARD: Final = "onnx.json"
LARGEST_LOG_ODDS: Final = -float(log_odds(np.array(SMALLEST_PROBABILITY)))
NUM_COMPARED: Final = 3
"""Synthetic faces of the comparison; the batch of the export has another size."""

PREPROCESSING: Final = (
    "detect the face and its 68 landmarks with dlib",
    "extract the crop of the FFHQ alignment at 256 px, with reflected borders (vitau.media.crops); unmirror a mirror image",
    "leave out faces outside frame_limits, encode the crop as JPEG of quality 95, and decode it",
    "resize the crop to the side of the input with an antialiased bilinear filter, corners not aligned",
    f"if that side is at most {SMALL_INPUT} px, round the pixels to whole numbers",
    "uint8 RGB / 127.5 - 1, channels first: float32 in [-1, 1]",
)


WITHOUT_MOVEMENT: Final = "the model also uses a person's movement; these networks answer as it does about a photo"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """One exported network: its largest difference from PyTorch, and its inputs and outputs by name."""

    file: str
    opset: int
    worst: float
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


class Recognition(nn.Module):
    """Computes the probability of a palsy from a crop; that of a fused model without movement."""

    outputs: Final = {"palsy_score": "float32 (B,), probability of a palsy, 0 to 1"}

    def __init__(self, model: PalsyViT, calibration: Calibration | None = None, fusion: Fusion | None = None) -> None:
        super().__init__()
        self.model = model
        self.calibration = calibration
        if fusion is not None:
            own = calibration or Calibration()
            self.calibration = replace(own, scale=own.scale * fusion.task.network)

    def forward(self, crop_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in the order of ``outputs``."""
        logit_B2 = self.model(crop_BCHW)
        if self.calibration is None:
            return (logit_B2.softmax(1)[:, 1],)
        log_odds_B = (logit_B2[:, 1] - logit_B2[:, 0]).clamp(-LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
        return (torch.sigmoid(self.calibration.scale * log_odds_B + self.calibration.bias),)


class Regions(nn.Module):
    """Computes heatmaps and scores of the regions from a crop, and of their sides with a sided model; without movement."""

    threshold_A: Tensor

    def __init__(
        self,
        model: RegionModel,
        side_scales: Mapping[str, float],
        threshold_A: NDArray[np.float32],
        fusion: Fusion | None = None,
    ) -> None:
        super().__init__()
        self.model, self.side_scales, self.fusion = model, dict(side_scales), fusion
        self.register_buffer("threshold_A", torch.from_numpy(threshold_A))
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
        """Return the outputs in the order of ``outputs``."""
        heatmaps_BAHW = self.model(crop_BCHW)
        score_BA, score_BA2 = self._alone(self.model.scores(heatmaps_BAHW), decode_sides(heatmaps_BAHW))
        outputs = (heatmaps_BAHW, score_BA - self.threshold_A)
        if not self.side_scales:
            return outputs
        right_B = right_side_probability(score_BA2, self.side_scales["face"])
        scales = self.side_scales["region"], self.side_scales.get("side")
        return (*outputs, right_B, region_side_probability(score_BA2, self.threshold_A, *scales))

    def _alone(self, score_BA: Tensor, score_BA2: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores of a fusion without movement, as :class:`vitau.asymmetry.fusion.Fusion` does."""
        if self.fusion is None:
            return score_BA, score_BA2
        fused_BA = torch.tanh(self.fusion.task.network * score_BA / 2)
        if self.fusion.side is None:
            return fused_BA, score_BA2
        right_BA = torch.tanh(self.fusion.side.network * (score_BA2[..., 0] - score_BA2[..., 1]) / 2)
        return fused_BA, torch.stack([fused_BA + right_BA.clamp(max=0), fused_BA - right_BA.clamp(min=0)], dim=-1)


def export_onnx(folder: Path, out: Path) -> list[Exported]:
    """Write ``recognition.onnx``, for a region model also ``regions.onnx``, and their description ``onnx.json``.

    Args:
        folder: a model folder.
        out: output folder; created if missing, earlier files are replaced.

    Raises:
        CheckpointError: the model cannot be read, the packages of the extra ``onnx`` are missing, or an exported network
            differs from PyTorch by more than ``TOLERANCE``.
    """
    _require_onnx()
    predictor = Predictor(folder, device="cpu")
    networks: dict[str, tuple[Recognition | Regions, int]] = {
        "recognition.onnx": (
            Recognition(predictor.recognition, predictor.rule.calibration, predictor.recognition_fusion),
            predictor.recognition.input_size,
        )
    }
    if predictor.regions is not None:
        regions = Regions(predictor.regions, predictor.side_scales, predictor.region_threshold_A, predictor.fusion)
        networks["regions.onnx"] = regions, predictor.regions.input_size
    out.mkdir(parents=True, exist_ok=True)
    exported = [_export(network.eval(), size, out / file) for file, (network, size) in networks.items()]
    card: dict[str, Any] = {
        "model_digest": predictor.digest,
        "synthetic": predictor.synthetic,
        "opset": OPSET,
        "tolerance": TOLERANCE,
        "preprocessing": PREPROCESSING,
        **({"movement": WITHOUT_MOVEMENT} if predictor.uses_movement else {}),
        "frame_limits": asdict(predictor.limits),
        "thresholds": read_thresholds(folder) or {"recognition": {"threshold": predictor.threshold}},
        "networks": {
            network.file: {
                "inputs": network.inputs,
                "outputs": network.outputs,
                "largest_difference_from_torch": network.worst,
            }
            for network in exported
        },
    }
    (out / LANDMARKS).write_text(LANDMARKS_TEXT, encoding="utf-8")
    (out / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return exported


def synthetic_crops(count: int) -> NDArray[np.uint8]:
    """Draw aligned faces (N, 256, 256, 3) uint8 RGB of synthetic people."""
    rng = np.random.default_rng(0)
    return np.stack([draw_crop(draw_person(0, index), "rest", 0.0, rng, CROP_SIZE).image for index in range(count)])


def _export(network: Recognition | Regions, size: int, path: Path) -> Exported:
    crops_NHWC = synthetic_crops(NUM_COMPARED)
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
        optimize=False,  # onnxscript 0.7.2 loses a constant if two clamps read one map; the runtime optimizes anyway
        verbose=False,
    )
    assert program is not None
    with atomic_path(path) as partial:
        program.save(str(partial), external_data=False)
        actual = run_onnx(partial, to_input(crops_NHWC, size).contiguous().numpy())
        worst = max(relative_difference(*pair) for pair in zip(expected, actual, strict=True))
        if not worst <= TOLERANCE:
            raise CheckpointError(f"{path.name} differs from PyTorch by {worst:.1e}, which is too much: it was not written")
    inputs = {"crop": f"float32 (B, 3, {size}, {size}) in [-1, 1], RGB, aligned; any B"}
    return Exported(file=path.name, opset=OPSET, worst=worst, inputs=inputs, outputs=dict(network.outputs))


def relative_difference(expected: NDArray[np.float32], actual: NDArray[np.float32]) -> float:
    """Return the largest difference between two outputs, relative to the largest value where that is above 1."""
    return float(np.abs(expected - actual).max() / max(1.0, float(np.abs(expected).max())))


def run_onnx(path: Path, crop_BCHW: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Run an exported network on the CPU; return its outputs in order."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs: list[NDArray[np.float32]] = session.run(None, {"crop": crop_BCHW})
    return outputs


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as missing:
        raise CheckpointError(
            f"{missing.name} is not installed, which ONNX needs: pip install onnx onnxscript onnxruntime"
        ) from missing
