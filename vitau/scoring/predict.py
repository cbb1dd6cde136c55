"""Prediction: recognition scores every face, the region model the faces with a recognized palsy."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from vitau.errors import CheckpointError, ClipError
from vitau.media.clips import PHOTO_SUFFIXES, RATE_FPS, DecodeCounts, SampledFrame, decode_image, sample_frames
from vitau.media.faces import FaceCrop, FaceTracker
from vitau.media.frames import find_faces
from vitau.models.checkpoint import CARD, load_model, model_digest
from vitau.models.heatmaps import decode_sides, region_side_probability, right_side_probability
from vitau.models.inputs import to_input
from vitau.models.regions import RegionModel
from vitau.models.vit import PalsyViT
from vitau.registry import DEFAULT_TRACKING_URI
from vitau.registry.bundle import MODEL, RECOGNITION, verify_sums
from vitau.schema import AU, AUS
from vitau.scoring.scores import CropScores, ScoredFace, score_rows

BATCH: Final = 32
DEFAULT_THRESHOLD: Final = 0.5

_Item = TypeVar("_Item")


def batches(items: Iterable[_Item], size: int = BATCH) -> Iterator[list[_Item]]:
    """Yield lists of up to ``size`` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


class Predictor:
    """A registered model, ready to score.

    In three lines::

        predictor = Predictor("models:/vitau-regions@champion")
        for face in predictor.score("photo.jpg"):
            print(face.palsy_score, face.regions, predictor.heatmaps_of(face))

    ``recognition`` runs first; ``regions`` is None in a folder with recognition only. ``card`` is the model card of the
    folder's own model. ``threshold`` is that of recognition. ``region_threshold_A`` (8,) is subtracted from the scores of the
    regions, so that 0 divides. ``synthetic``: a model was trained on synthetic people.

    Args:
        model: a pulled folder, or ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``, which is pulled into the user's cache.
            A folder contains ``model/``, and ``recognition/`` beside a region model, or is a recognition model itself.
        device: by default the first GPU if there is one, else the CPU.
        tracking_uri: address of the MLflow server for ``models:/…``; by default ``MLFLOW_TRACKING_URI``.

    Raises:
        CheckpointError: a file is missing or damaged, or a region model has no recognition beside it.
        ChecksumError: a file differs from the registered one.
        RegistryError: there is no such model, or the registry cannot be reached.
    """

    def __init__(self, model: str | Path, *, device: str | None = None, tracking_uri: str | None = None) -> None:
        folder = _folder(model, tracking_uri)
        if not folder.is_dir():
            raise CheckpointError(f"{folder} is no model folder: give one with model/ in it, or models:/NAME@champion")
        verify_sums(folder)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        own = folder if (folder / CARD).is_file() else folder / MODEL
        loaded, self.card = load_model(own)
        self.folder, self.digest = folder, model_digest(own)
        self.regions = None if isinstance(loaded, PalsyViT) else loaded.to(self.device).eval()
        recognition, self.recognition_card = (loaded, self.card) if isinstance(loaded, PalsyViT) else _load_recognition(folder)
        self.recognition = recognition.to(self.device).eval()
        threshold = self.recognition_card.get("threshold")
        self.threshold = DEFAULT_THRESHOLD if threshold is None else float(threshold)
        own_thresholds = self.card.get("region_thresholds") or {}  # older models have none: 0 divides
        self.region_threshold_A = np.array([own_thresholds.get(au, 0.0) for au in AUS], dtype=np.float32)
        self.side_scales: Mapping[str, float] = self.card.get("side_scales") or {}
        self.synthetic = any(bool(card.get("synthetic")) for card in (self.card, self.recognition_card))

    def score(
        self, source: str | Path | bytes | NDArray[np.uint8], name: str | None = None, *, analyse_all: bool = False
    ) -> list[ScoredFace]:
        """Score all faces of a photo, largest first, or the tracked person in every sampled frame of a clip.

        Args:
            source: the path of a photo or a clip, the bytes of a photo, or an image (H, W, 3) uint8 RGB. Use
                :meth:`score_clip` for a long clip: it keeps nothing in memory.
            name: value of ``input`` in the rows; by default the path.
            analyse_all: analyze the regions of faces without a recognized palsy too.

        Raises:
            ClipError: it is missing, empty, neither a photo nor a clip, or without a face.
        """
        if isinstance(source, str | Path):
            return list(self.score_path(Path(source), name, analyse_all=analyse_all))
        image = decode_image(source) if isinstance(source, bytes) else source
        if image is None:
            raise ClipError("the photo is not an image that can be read; save it again as JPEG or PNG")
        faces = self.score_image(image, name or "", analyse_all=analyse_all)
        if not faces:
            raise ClipError("the photo shows no face; give a photo of a face that looks at the camera")
        return faces

    def heatmaps_of(self, face: ScoredFace) -> dict[AU, NDArray[np.float32]]:
        """Return the heatmap of each region on the crop: (h, w) in [−1, 1], affected above 0, spared below.

        Raises:
            ValueError: the folder contains recognition only.
        """
        heatmap_AHW = self.heatmaps(face.crop[None])[0].clamp(-1, 1).float().cpu().numpy()
        return dict(zip(AUS, heatmap_AHW, strict=True))

    @torch.inference_mode()
    def score_crops(self, crop_NHWC: NDArray[np.uint8], *, analyse_all: bool = False) -> CropScores:
        """Score aligned crops (N, S, S, 3) uint8 RGB; with ``analyse_all``, analyze the regions of healthy faces too."""
        palsy_N = np.zeros(len(crop_NHWC), dtype=np.float32)
        region_NA = np.full((len(crop_NHWC), len(AUS)), np.nan, dtype=np.float32)
        for start in range(0, len(crop_NHWC), BATCH):
            some = slice(start, start + BATCH)
            logits_B2 = self.recognition(self.to_input(crop_NHWC[some], self.recognition))
            palsy_N[some] = logits_B2.softmax(1)[:, 1].float().cpu().numpy()
        palsied_N = palsy_N >= self.threshold
        analysed_N = (palsied_N | analyse_all) if self.regions is not None else np.zeros_like(palsied_N)
        right_N, sided_NA2 = np.full_like(palsy_N, np.nan), np.full((*region_NA.shape, 2), np.nan, dtype=np.float32)
        for chosen in batches(np.flatnonzero(analysed_N).tolist()):
            assert self.regions is not None
            heatmaps_NAHW = self.heatmaps(crop_NHWC[chosen])
            region_NA[chosen] = self.regions.scores(heatmaps_NAHW).float().cpu().numpy() - self.region_threshold_A
            if self.side_scales:
                score_NA2 = decode_sides(heatmaps_NAHW)
                right_N[chosen] = right_side_probability(score_NA2, self.side_scales["face"]).float().cpu().numpy()
                sided_NA2[chosen] = region_side_probability(score_NA2, self.side_scales["region"]).float().cpu().numpy()
        scores = CropScores(palsy_N=palsy_N, palsied_N=palsied_N, analysed_N=analysed_N, region_NA=region_NA)
        return replace(scores, right_N=right_N, sided_NA2=sided_NA2) if self.side_scales else scores

    def to_input(self, crop_NHWC: NDArray[np.uint8], model: PalsyViT | RegionModel) -> torch.Tensor:
        """Convert crops to the input of one of the two models, on its device."""
        return to_input(torch.from_numpy(np.ascontiguousarray(crop_NHWC)).to(self.device), model.input_size)

    @torch.inference_mode()
    def heatmaps(self, crop_NHWC: NDArray[np.uint8]) -> torch.Tensor:
        """Compute heatmaps (N, 8, h, w) of aligned crops, not clamped.

        Raises:
            ValueError: the folder contains recognition only.
        """
        if self.regions is None:
            raise ValueError("this folder contains recognition only; load a region model to get heatmaps")
        heatmaps: torch.Tensor = self.regions(self.to_input(crop_NHWC, self.regions))
        return heatmaps

    def score_image(self, image: NDArray[np.uint8], name: str = "", *, analyse_all: bool = False) -> list[ScoredFace]:
        """Score all faces of one image (H, W, 3) uint8 RGB, largest first; return an empty list if there is none."""
        faces = find_faces(image)
        detected = [(SampledFrame(index=0, time_s=0.0, image=image), index, face) for index, face in enumerate(faces)]
        return self._score(name, detected, analyse_all=analyse_all)

    def score_clip(
        self,
        path: Path,
        name: str | None = None,
        *,
        rate_fps: float = RATE_FPS,
        analyse_all: bool = False,
        counts: DecodeCounts | None = None,
    ) -> Iterator[ScoredFace]:
        """Score the tracked person in the sampled frames of a clip; memory does not grow with the clip.

        ``counts`` is updated while the clip is decoded.

        Raises:
            ClipError: missing, empty, not a video, truncated, or no face in any frame.
        """
        tracker, num_frames, num_faces = FaceTracker(), 0, 0
        for frames in batches(sample_frames(path, rate_fps, counts=counts)):
            tracked = [(frame, 0, face) for frame in frames if (face := tracker.track(frame.image)[1]) is not None]
            num_frames, num_faces = num_frames + len(frames), num_faces + len(tracked)
            yield from self._score(name or str(path), tracked, analyse_all=analyse_all)
        if not num_faces:
            raise ClipError(f"the recording shows no face in any of its {num_frames} sampled frames; give a clip of a face")

    def score_path(
        self, path: Path, name: str | None = None, *, analyse_all: bool = False, counts: DecodeCounts | None = None
    ) -> Iterator[ScoredFace]:
        """Score a photo with :meth:`score_image`, any other file with :meth:`score_clip`.

        Raises:
            ClipError: missing, empty, neither an image nor a video, or without a face.
        """
        if path.suffix.lower() not in PHOTO_SUFFIXES:
            yield from self.score_clip(path, name, analyse_all=analyse_all, counts=counts)
            return
        faces = [
            face
            for photo in sample_frames(path)
            for face in self.score_image(photo.image, name or str(path), analyse_all=analyse_all)
        ]
        if not faces:
            raise ClipError("the photo shows no face; give a photo of a face that looks at the camera")
        yield from faces

    def _score(
        self, name: str, detected: Sequence[tuple[SampledFrame, int, FaceCrop]], *, analyse_all: bool
    ) -> list[ScoredFace]:
        if not detected:
            return []
        scores = self.score_crops(np.stack([face.crop for _, _, face in detected]), analyse_all=analyse_all)
        rows = score_rows(
            scores,
            name=name,
            frame_index=[frame.index for frame, _, _ in detected],
            time_s=[frame.time_s for frame, _, _ in detected],
            box=[face.box for _, _, face in detected],
            face_index=[index for _, index, _ in detected],
        )
        return [ScoredFace(row=row, crop=face.crop) for row, (_, _, face) in zip(rows, detected, strict=True)]


def _folder(model: str | Path, tracking_uri: str | None) -> Path:
    if not str(model).startswith("models:"):
        return Path(model)
    from vitau.registry.download import model_folder  # MLflow takes seconds

    return model_folder(model, tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI)


def _load_recognition(folder: Path) -> tuple[PalsyViT, dict[str, Any]]:
    if not (folder / RECOGNITION / CARD).is_file():
        raise CheckpointError(f"{folder} has a region model but no {RECOGNITION}/ to run first: fetch the whole folder")
    recognition, card = load_model(folder / RECOGNITION)
    if not isinstance(recognition, PalsyViT):
        raise CheckpointError(f"{folder / RECOGNITION} is no recognition model: fetch the whole folder again")
    return recognition, card
