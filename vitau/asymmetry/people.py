"""The people of a snapshot with their features, each measured once from all frames and kept in a folder of this machine.

Axes: N frames, P people, F features.
"""

import io
from dataclasses import replace
from functools import cache
from hashlib import blake2b
from pathlib import Path

import numpy as np

from vitau.asymmetry.features import FEATURES, People, measure_features, measured_frames
from vitau.data.dataset import Crops
from vitau.evaluation.decision import FEWEST_FRAMES
from vitau.measures.geometry import Floats
from vitau.measures.landmarks.refinement import WEIGHTS
from vitau.schema import AUS
from vitau.store.atomic import make_private_folders, write_atomic

_CODE = 2
"""Increases when the code gives other features for the same crops."""


class FeatureCache:
    """Features of people that were measured before, by a digest of their crops.

    Args:
        folder: keeps them for later processes; by default they are kept in memory alone. Delete it when a person is erased.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._known: dict[str, Floats] = {}
        self._folder = folder

    def __len__(self) -> int:
        return len(self._known)

    def measure(self, crops: Crops) -> Floats:
        """Return the features (F,) of one person's crops."""
        chosen = measured_frames(len(crops))
        pixels_NSS3, points_NK2 = crops.pixels(chosen), crops.landmarks_NL2[chosen]
        digest = blake2b(pixels_NSS3.tobytes(), digest_size=16, key=_version())
        digest.update(points_NK2.tobytes())
        key = digest.hexdigest()
        if key not in self._known:
            path = None if self._folder is None else self._folder / f"{key}.npy"
            self._known[key] = _read(path) if path and path.exists() else measure_features(pixels_NSS3, points_NK2)
            if path and not path.exists():
                make_private_folders(path.parent)
                write_atomic(path, _bytes(self._known[key]))
        return self._known[key]


def with_movement(crops: Crops, folder: Path | None = None) -> Crops:
    """Return the crops with the features of their people in ``movement_NF``, NaN for a person with fewer than 4 frames.

    Args:
        crops: of all frames of each person, in their original size.
        folder: keeps the features of each person for later processes. Delete it when a person is erased.
    """
    features = FeatureCache(folder)
    movement_NF = np.full((len(crops), len(FEATURES)), np.nan)
    for subject in np.unique(crops.subject_N):
        own_N = crops.subject_N == subject
        if own_N.sum() >= FEWEST_FRAMES:
            movement_NF[own_N] = features.measure(crops.where(own_N))
    return replace(crops, movement_NF=movement_NF)


def people_of(crops: Crops, features: FeatureCache | None = None) -> People:
    """Return the people of a snapshot, sorted by their pseudonyms.

    They are measured from all their frames unless the crops carry features. Features of 0 are no evidence.
    """
    features = FeatureCache() if features is None else features
    subject_P, first_P = np.unique(crops.subject_N, return_index=True)
    sided_P2 = np.stack([crops.sided_NA2[first].any(axis=0) for first in first_P]) if len(first_P) else np.zeros((0, 2), bool)
    if crops.movement_NF is None:
        measured = [features.measure(crops.where(crops.subject_N == subject)) for subject in subject_P]
    else:
        measured = list(np.nan_to_num(crops.movement_NF[first_P]))
    return People(
        subject_P=subject_P,
        feature_PF=np.array(measured).reshape(len(subject_P), len(FEATURES)),
        palsied_P=crops.palsied_N[first_P],
        side_P=sided_P2[:, 0].astype(np.int64) - sided_P2[:, 1],
        affected_PA=crops.affected_NA[first_P].reshape(-1, len(AUS)),
        known_PA=crops.known_NA[first_P].reshape(-1, len(AUS)),
    )


@cache
def _version() -> bytes:
    return blake2b(WEIGHTS.read_bytes(), digest_size=16, salt=str(_CODE).encode()).digest()


def _read(path: Path) -> Floats:
    features: Floats = np.load(path, allow_pickle=False)
    return features


def _bytes(features: Floats) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, features, allow_pickle=False)
    return buffer.getvalue()
