"""Prediction: recognition scores every face, the region model all faces of people with a recognized palsy."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from vitau.asymmetry.features import measure_person, measured_frames
from vitau.asymmetry.fusion import fuse, read_fusion
from vitau.errors import CheckpointError, ClipError
from vitau.evaluation.decision import DecisionRule
from vitau.media.clips import PHOTO_SUFFIXES, RATE_FPS, DecodeCounts, decode_image, sample_frames
from vitau.media.inputs import RecordingOptions
from vitau.media.tracking.split import Split
from vitau.models.checkpoint import CARD, load_model, model_digest
from vitau.models.heatmaps import decode_sides, region_side_probability, right_side_probability
from vitau.models.inputs import to_device, to_input
from vitau.models.regions import RegionModel
from vitau.models.vit import PalsyViT
from vitau.registry import DEFAULT_TRACKING_URI
from vitau.registry.bundle import MODEL, RECOGNITION, folder_digest, verify_sums
from vitau.schema import AU, AUS, FrameLimits
from vitau.scoring.reading import FaceSpool, ReadingCounts, crops_of, no_usable_face, read_clip, read_photo, some_usable
from vitau.scoring.scores import CropScores, ScoredFace, concatenate, scored_faces

BATCH: Final = 32


class Predictor:
    """A registered model, ready to score.

    In three lines::

        predictor = Predictor("models:/vitau-regions@champion")
        for face in predictor.score("photo.jpg"):
            print(face.palsy_score, face.regions, predictor.heatmaps_of(face))

    ``recognition`` runs first; ``regions`` is None in a folder with recognition only. ``card`` is the model card of the
    folder's own model. ``rule`` is that of recognition, ``threshold`` its threshold. ``region_threshold_A`` (8,) is subtracted
    from the scores of the regions, so that 0 divides. ``limits`` are those that the training frames kept: a face outside them
    is not scored. ``fusion`` and ``recognition_fusion`` combine the folder's own model and recognition with movement, ``None``
    without it. ``synthetic``: a model was trained on synthetic people. ``warnings`` are sentences that must accompany every
    score.

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
        self.folder, self.digest = folder, model_digest(own) if own == folder else folder_digest(folder)
        self.regions = None if isinstance(loaded, PalsyViT) else loaded.to(self.device).eval()
        recognition, self.recognition_card = (loaded, self.card) if isinstance(loaded, PalsyViT) else _load_recognition(folder)
        self.recognition = recognition.to(self.device).eval()
        self.rule = DecisionRule.from_card(self.recognition_card)
        own_thresholds = self.card.get("region_thresholds") or {}  # older models have none: 0 divides
        self.region_threshold_A = np.array([own_thresholds.get(au, 0.0) for au in AUS], dtype=np.float32)
        self.limits = FrameLimits(**(self.recognition_card.get("frame_limits") or {}))
        self.side_scales: Mapping[str, float] = self.card.get("side_scales") or {}
        self.fusion, self.recognition_fusion = (read_fusion(card) for card in (self.card, self.recognition_card))
        self.uses_movement = self.fusion is not None or self.recognition_fusion is not None
        cards = (self.recognition_card, self.card)
        self.synthetic = any(bool(card.get("synthetic")) for card in cards)
        self.warnings = tuple(dict.fromkeys(str(warning) for card in cards for warning in card.get("warnings") or ()))

    @property
    def threshold(self) -> float:
        """Score at or above which a palsy is recognized."""
        return self.rule.threshold

    def score(
        self,
        source: str | Path | bytes | NDArray[np.uint8],
        name: str | None = None,
        *,
        analyse_all: bool = False,
        options: RecordingOptions | None = None,
    ) -> list[ScoredFace]:
        """Score all faces of a photo, largest first, or the tracked person in every sampled frame of a clip.

        Args:
            source: the path of a photo or a clip, the bytes of a photo, or an image (H, W, 3) uint8 RGB. Use
                :meth:`score_clip` for a long clip: it keeps no crop in memory.
            name: value of ``input`` in the rows; by default the path.
            analyse_all: analyze the regions of people without a recognized palsy too.
            options: whether it is mirrored, and the time range of a clip.

        Raises:
            ClipError: it is missing, empty, neither a photo nor a clip, or without a usable face.
        """
        if isinstance(source, str | Path):
            return list(self.score_path(Path(source), name, analyse_all=analyse_all, options=options))
        image = decode_image(source) if isinstance(source, bytes) else source
        if image is None:
            raise ClipError("the photo is not an image that can be read; save it again as JPEG or PNG")
        counts = ReadingCounts()
        return some_usable(self.score_image(image, name or "", analyse_all=analyse_all, options=options, counts=counts), counts)

    @property
    def warning(self) -> str | None:
        """The warnings as one text for the rows of a table, ``None`` without any."""
        return " ".join(self.warnings) or None

    def heatmaps_of(self, face: ScoredFace) -> dict[AU, NDArray[np.float32]]:
        """Return the heatmap of each region on the crop: (h, w) in [−1, 1], affected above 0, spared below.

        Raises:
            ValueError: the folder contains recognition only.
        """
        heatmap_AHW = self.heatmaps(face.crop[None])[0].clamp(-1, 1).float().cpu().numpy()
        return dict(zip(AUS, heatmap_AHW, strict=True))

    def score_crops(
        self, crop_NHWC: NDArray[np.uint8], *, analyse_all: bool = False, movement_NF: NDArray[Any] | None = None
    ) -> CropScores:
        """Score aligned crops (N, S, S, 3) uint8 RGB, each a person of its own; see :meth:`score_person` for one person.

        With ``analyse_all``, the regions of healthy faces are analyzed too. ``movement_NF`` has the features of each crop's
        person by :mod:`vitau.asymmetry`, NaN where they are not known.
        """

        def own(rows: slice | NDArray[np.int64]) -> NDArray[Any] | None:
            return None if movement_NF is None else movement_NF[rows]

        batches = [slice(start, start + BATCH) for start in range(0, len(crop_NHWC), BATCH)]
        scores = concatenate([self.recognize(crop_NHWC[rows], own(rows)) for rows in batches])
        chosen_N = scores.palsied_N | analyse_all
        for start in range(0, int(chosen_N.sum()) if self.regions is not None else 0, BATCH):
            rows = np.flatnonzero(chosen_N)[start : start + BATCH]
            self.analyze_into(scores, rows, crop_NHWC[rows], own(rows))
        return scores

    def measure(self, read: Callable[[], Iterable[NDArray[np.uint8]]], landmarks: Sequence[Any]) -> NDArray[Any] | None:
        """Measure the movement of one person, (F,); ``None`` without models that use it, or from fewer than 4 frames.

        ``read`` returns all crops in batches, ``landmarks`` are dlib's (68, 2) of each crop, px of a crop of 256 px.
        """
        return measure_person(read(), np.array(landmarks, np.float32)) if self.uses_movement else None

    def score_person(
        self,
        read: Callable[[], Iterable[NDArray[np.uint8]]],
        *,
        analyse_all: bool = False,
        movement_F: NDArray[Any] | None = None,
    ) -> CropScores:
        """Score all frames of one person: recognition first, then the regions of every frame if the person is palsied.

        Args:
            read: returns the aligned crops in batches (B, S, S, 3) uint8 RGB. It is called once or twice.
            analyse_all: analyze the regions of a person without a recognized palsy too.
            movement_F: features of the person, see :func:`vitau.asymmetry.features.measure_person`. ``None`` is no movement.
        """
        own_1F = None if movement_F is None else movement_F[None]
        scores = concatenate([self.recognize(crop_BHWC, own_1F) for crop_BHWC in read()])
        palsied = len(scores.palsy_N) > 0 and self.rule.combine(scores.palsy_N) >= self.threshold
        if self.regions is None or not (palsied or analyse_all):
            return scores
        start = 0
        for crop_BHWC in read():
            self.analyze_into(scores, np.arange(start, start + len(crop_BHWC)), crop_BHWC, own_1F)
            start += len(crop_BHWC)
        return scores

    @torch.inference_mode()
    def recognize(self, crop_BHWC: NDArray[np.uint8], movement_BF: NDArray[Any] | None = None) -> CropScores:
        """Compute the calibrated probability of a palsy of one batch of crops; their regions are not analyzed.

        ``movement_BF`` are the features of each crop's person, or (1, F) of one person in all crops.
        """
        logit_B2 = self.recognition(self.to_input(crop_BHWC, self.recognition))
        palsy_B = logit_B2.softmax(1)[:, 1].float().cpu().numpy()
        palsy_B = self.rule.calibrate(fuse(self.recognition_fusion, palsy_B, movement_BF))
        return CropScores.without_regions(palsy_B, palsy_B >= self.threshold, sided=bool(self.side_scales))

    @torch.inference_mode()
    def analyze_into(
        self,
        scores: CropScores,
        rows: NDArray[np.int64],
        crop_BHWC: NDArray[np.uint8],
        movement_BF: NDArray[Any] | None = None,
    ) -> None:
        """Write the regions of one batch of crops, and their sides by a sided model, into some rows of the scores.

        ``movement_BF``: see :meth:`recognize`.
        """
        assert self.regions is not None, "the folder contains recognition only"
        heatmaps_BAHW = self.heatmaps(crop_BHWC)
        read = decode_sides if self.regions.config.mode == "sided" else self.regions.scores
        raw = fuse(self.fusion, read(heatmaps_BAHW).float().cpu().numpy(), movement_BF)
        scores.region_NA[rows] = (raw if raw.ndim == 2 else raw.max(-1)) - self.region_threshold_A
        scores.analysed_N[rows] = True
        if self.side_scales and scores.right_N is not None and scores.sided_NA2 is not None:
            score_BA2 = torch.from_numpy(raw)
            scores.right_N[rows] = right_side_probability(score_BA2, self.side_scales["face"]).float().cpu().numpy()
            threshold_A = torch.from_numpy(self.region_threshold_A).to(score_BA2)
            scales = self.side_scales["region"], self.side_scales.get("side")
            scores.sided_NA2[rows] = region_side_probability(score_BA2, threshold_A, *scales).float().cpu().numpy()

    def to_input(self, crop_NHWC: NDArray[np.uint8], model: PalsyViT | RegionModel) -> torch.Tensor:
        """Convert crops to the input of one of the two models, on its device."""
        return to_input(to_device(np.ascontiguousarray(crop_NHWC), self.device), model.input_size)

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

    def score_image(
        self,
        image: NDArray[np.uint8],
        name: str = "",
        *,
        analyse_all: bool = False,
        options: RecordingOptions | None = None,
        counts: ReadingCounts | None = None,
    ) -> list[ScoredFace]:
        """Score all usable faces of one image (H, W, 3) uint8 RGB, largest first; return an empty list if there is none."""
        faces = list(read_photo(image, options or RecordingOptions(), self.limits, counts or ReadingCounts()))
        batches = [faces[start : start + BATCH] for start in range(0, len(faces), BATCH)]
        parts = [self.score_crops(crops_of(some), analyse_all=analyse_all) for some in batches]
        return list(scored_faces(name, batches, concatenate(parts), warning=self.warning))

    def score_clip(
        self,
        path: Path,
        name: str | None = None,
        *,
        rate_fps: float = RATE_FPS,
        analyse_all: bool = False,
        counts: DecodeCounts | None = None,
        options: RecordingOptions | None = None,
        reading: ReadingCounts | None = None,
        split: Split | None = None,
    ) -> Iterator[ScoredFace]:
        """Score the tracked person in the sampled frames of a clip.

        Recognition decides about the person from all usable frames; then the regions of every frame are analyzed. The faces
        wait in a temporary file meanwhile, so that a long clip takes little memory.

        Args:
            path: the clip.
            name: value of ``input`` in the rows; by default the path.
            rate_fps: sampled frames per second.
            analyse_all: analyze the regions of a person without a recognized palsy too.
            counts: updated while the clip is decoded.
            options: whether it is mirrored, and its time range.
            reading: updated with the faces that are left out, by reason.
            split: how a long clip is shared among processes while it is read.

        Raises:
            ClipError: missing, empty, not a video, truncated, or no usable face in any frame.
        """
        reading = reading if reading is not None else ReadingCounts()
        usable = read_clip(
            path, options or RecordingOptions(), self.limits, reading, rate_fps=rate_fps, decoded=counts, split=split
        )
        with FaceSpool() as spool:
            for face in usable:
                spool.add(face)
            if not len(spool):
                raise no_usable_face(reading, "recording")
            yield from self.score_faces(spool, name or str(path), analyse_all=analyse_all)

    def score_faces(self, spool: FaceSpool, name: str, *, analyse_all: bool = False) -> Iterator[ScoredFace]:
        """Score the usable faces of one person, at least one; see :meth:`score_clip`."""
        measured = [spool.read(row, row + 1)[0] for row in measured_frames(len(spool))] if self.uses_movement else []
        movement_F = self.measure(lambda: [crops_of(measured)], [face.landmarks_L2 for face in measured])

        def read() -> Iterator[NDArray[np.uint8]]:
            return map(crops_of, spool.batches(BATCH))

        scores = self.score_person(read, analyse_all=analyse_all, movement_F=movement_F)
        yield from scored_faces(name, spool.batches(BATCH), scores, warning=self.warning, movement_F=movement_F)

    def score_path(
        self,
        path: Path,
        name: str | None = None,
        *,
        analyse_all: bool = False,
        counts: DecodeCounts | None = None,
        options: RecordingOptions | None = None,
        reading: ReadingCounts | None = None,
        split: Split | None = None,
    ) -> Iterator[ScoredFace]:
        """Score a photo with :meth:`score_image`, any other file with :meth:`score_clip`.

        Raises:
            ClipError: missing, empty, neither an image nor a video, or without a usable face.
        """
        reading = reading if reading is not None else ReadingCounts()
        if path.suffix.lower() not in PHOTO_SUFFIXES:
            yield from self.score_clip(
                path, name, analyse_all=analyse_all, counts=counts, options=options, reading=reading, split=split
            )
            return
        faces = [
            face
            for photo in sample_frames(path)
            for face in self.score_image(
                photo.image, name or str(path), analyse_all=analyse_all, options=options, counts=reading
            )
        ]
        yield from some_usable(faces, reading)


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
