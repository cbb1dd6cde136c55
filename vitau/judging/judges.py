"""Judges of a face: the movement score of ``vitau measure``, and models, each exactly as it is served."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Protocol

import vitau.asymmetry
import vitau.measures
from vitau.errors import ClipError
from vitau.measures.analysis import analyze
from vitau.measures.landmarks.backend import LandmarkBackend
from vitau.measures.landmarks.choice import open_backend
from vitau.measures.movement.pattern import ASYMMETRIC_FROM
from vitau.measures.results import PersonResult
from vitau.measures.series import ReadingState, read_series
from vitau.measures.sources import Part, Source
from vitau.media.clips import kind_of, sample_frames
from vitau.media.frames import find_faces
from vitau.media.inputs import RecordingOptions
from vitau.schema import AUS, Side

MOVEMENT: Final = "movement"
"""Name of the judge that needs no model."""
ASYMMETRY: Final = "asymmetry"
"""Name of the judge with the weights that come with the package."""
NO_MOVEMENT: Final = "a photograph shows no movement"
OUTSIDE_LIMITS: Final = "outside the limits of the model's training frames: small, blurred, dark, bright or turned away"
TOO_FEW: Final = "too few frames can be measured"
CERTAIN_SIDE: Final = 0.9
"""Probability of the side from which an asymmetric movement is an alarm: a palsy makes all measures weaker on one side."""


class Outcome(StrEnum):
    """The statement of a judge about a face; ``abstained`` and ``no face`` are no statement about it."""

    ALARM = "alarm"
    NO_ALARM = "no alarm"
    UNCERTAIN = "uncertain"
    ABSTAINED = "abstained"
    NO_FACE = "no face"
    SKIPPED = "skipped"


JUDGED: Final = frozenset({Outcome.ALARM, Outcome.NO_ALARM, Outcome.UNCERTAIN})
"""Outcomes with a score."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The verdict of a judge on one face, numbered from 1; 0 stands for a file without a face.

    ``score`` is larger for a more probable palsy; its scale is that of the judge. ``regions`` are region → score, affected
    above 0. ``reason`` says why there is no score.
    """

    face: int
    outcome: Outcome
    score: float | None = None
    side: str | None = None
    side_probability: float | None = None
    regions: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None


class Judge(Protocol):
    """A method that judges the faces of a photo, or the person of a clip."""

    name: str
    threshold: float
    about: str

    @property
    def digest(self) -> str:
        """Digest of everything that decides about a verdict."""

    def judge(self, path: Path) -> list[Verdict]:
        """Return a verdict for each face of a photo, or one for a clip."""


class MovementJudge:
    """The asymmetry of movement of ``vitau measure``, without a model; it abstains from photos.

    An asymmetry from ``ASYMMETRIC_FROM`` is an alarm if one side is weaker with a probability of ``CERTAIN_SIDE``. If the
    measures do not agree about the side that far, it is uncertain.
    """

    name = MOVEMENT
    threshold = ASYMMETRIC_FROM
    about = "asymmetry of movement with landmarks that learned from painted people; an alarm also needs a side with 90 %"

    def __init__(self, backend: LandmarkBackend | None = None) -> None:
        self._backend = backend or open_backend()

    @property
    def digest(self) -> str:
        """Digest of the landmarks' name, the rule, and all code and weights of the measurement."""
        rule = f"{self.threshold} {CERTAIN_SIDE}"
        return sha256(f"{self._backend.name} {rule} {package_digest(vitau.measures.__path__[0])}".encode()).hexdigest()

    def decide(self, person: PersonResult) -> Outcome:
        """Return the outcome for a measured person."""
        if person.asymmetry is None:
            return Outcome.ABSTAINED
        if person.asymmetry < self.threshold:
            return Outcome.NO_ALARM
        return Outcome.ALARM if (person.side_probability or 0.0) >= CERTAIN_SIDE else Outcome.UNCERTAIN

    def judge(self, path: Path) -> list[Verdict]:
        """Return one verdict, or one per face of a photo."""
        if kind_of(path) == "photo":
            return _unmoved(path)
        state = ReadingState()
        source = Source(item=path.stem, parts=(Part(path=path, options=RecordingOptions()),))
        try:
            person = analyze(read_series(source, self._backend, state)).person
        except ClipError as error:
            return [_without_score(error, state.num_frames, state.num_faces)]
        if person.asymmetry is None:
            return [Verdict(face=1, outcome=Outcome.ABSTAINED, reason=TOO_FEW)]
        return [
            Verdict(
                face=1,
                outcome=self.decide(person),
                score=person.asymmetry,
                side=None if person.side is None else person.side.value,
                side_probability=person.side_probability,
            )
        ]


class AsymmetryJudge:
    """The weights of :mod:`vitau.asymmetry` that come with the package; they abstain from photos.

    A probability of a palsy from 0.5 is an alarm.
    """

    name = ASYMMETRY
    threshold = 0.5
    about = "features of the two halves of a face; its weights and landmarks learned from painted people"

    def __init__(self) -> None:
        from vitau.asymmetry.weights import load_weights

        self._model = load_weights()

    @property
    def digest(self) -> str:
        """Digest of all code and weights of the features, and of the landmarks that they stand on."""
        folders = (vitau.asymmetry.__path__[0], vitau.measures.__path__[0])
        return sha256(" ".join(package_digest(folder) for folder in folders).encode()).hexdigest()

    def judge(self, path: Path) -> list[Verdict]:
        """Return one verdict, or one per face of a photo."""
        from vitau.asymmetry.clips import ClipCounts, measure_clips

        if kind_of(path) == "photo":
            return _unmoved(path)
        counts = ClipCounts()
        try:
            answers = self._model.answer(measure_clips([path], counts)[None])
        except ClipError as error:
            return [_without_score(error, counts.num_frames, counts.num_faces)]
        palsy, right = float(answers.palsy_P[0]), float(answers.right_P[0])
        return [
            Verdict(
                face=1,
                outcome=Outcome.ALARM if palsy >= self.threshold else Outcome.NO_ALARM,
                score=palsy,
                side=(Side.RIGHT if right >= 0.5 else Side.LEFT).value,
                side_probability=max(right, 1 - right),
                # affected above 0
                regions={au.value: float(score) - 0.5 for au, score in zip(AUS, answers.affected_PA[0], strict=True)},
            )
        ]


class ModelJudge:
    """A pulled model as ``vitau score`` applies it, with its own limits, threshold and abstention band.

    Args:
        folder: of the model.
        name: shown beside its verdicts.
        analyze_all: analyze the regions of people without a recognized palsy too; no decision depends on it.
    """

    def __init__(self, folder: Path, name: str, *, analyze_all: bool = False) -> None:
        from vitau.scoring.predict import Predictor

        self.name, self._folder, self._analyze_all = name, folder, analyze_all
        self._predictor: Predictor = Predictor(folder)
        self.threshold = self._predictor.threshold
        card = self._predictor.recognition_card
        trained = "drawn people" if self._predictor.synthetic else "people"
        self.about = f"recipe {card.get('recipe') or 'unknown'}, trained on {trained}"

    @property
    def digest(self) -> str:
        """Digest of all files of the models."""
        return folder_digest(self._folder)

    def judge(self, path: Path) -> list[Verdict]:
        """Return a verdict for each usable face of a photo, or one for a clip."""
        from vitau.scoring.aggregate import aggregate
        from vitau.scoring.reading import ReadingCounts
        from vitau.scoring.scores import score_table

        reading, rows = ReadingCounts(), defaultdict[int, list[dict[str, Any]]](list)
        try:
            for face in self._predictor.score_path(path, analyse_all=self._analyze_all, reading=reading):
                rows[face.row["face_index"]].append(face.row)
        except ClipError as error:
            return [_without_score(error, reading.num_frames, reading.num_faces)]
        verdicts = []
        for index, own in sorted(rows.items()):
            found = aggregate(score_table(own), self._predictor.rule, analyse_all=self._analyze_all)
            assert found is not None, "every face has a row"
            if found.without_movement:
                reason = NO_MOVEMENT if kind_of(path) == "photo" else TOO_FEW
                verdicts.append(Verdict(face=index + 1, outcome=Outcome.ABSTAINED, reason=reason))
                continue
            decided = Outcome.ALARM if found.palsied else Outcome.NO_ALARM
            verdicts.append(
                Verdict(
                    face=index + 1,
                    outcome=Outcome.UNCERTAIN if found.uncertain else decided,
                    score=found.palsy_score,
                    side=None if found.side is None else found.side.side.value,
                    side_probability=None if found.side is None else found.side.probability,
                    regions={au.value: region.score for au, region in found.regions.items()},
                )
            )
        if kind_of(path) == "photo":
            left_out = set(range(reading.num_faces)) - set(rows)
            verdicts += [Verdict(face=index + 1, outcome=Outcome.ABSTAINED, reason=OUTSIDE_LIMITS) for index in left_out]
        return sorted(verdicts, key=lambda verdict: verdict.face)


def _unmoved(path: Path) -> list[Verdict]:
    """Return the verdicts on a photo's faces, from which movement abstains."""
    try:
        num_faces = sum(len(find_faces(photo.image)) for photo in sample_frames(path))
    except ClipError as error:
        return [Verdict(face=0, outcome=Outcome.SKIPPED, reason=str(error))]
    if not num_faces:
        return [Verdict(face=0, outcome=Outcome.NO_FACE)]
    return [Verdict(face=number, outcome=Outcome.ABSTAINED, reason=NO_MOVEMENT) for number in range(1, num_faces + 1)]


def _without_score(error: ClipError, num_frames: int, num_faces: int) -> Verdict:
    """Return the verdict on a file that has none: it shows no face, no usable face, or cannot be read."""
    if num_faces:
        return Verdict(face=1, outcome=Outcome.ABSTAINED, reason=str(error))
    if num_frames:
        return Verdict(face=0, outcome=Outcome.NO_FACE)
    return Verdict(face=0, outcome=Outcome.SKIPPED, reason=str(error))


def package_digest(folder: str) -> str:
    """Return the digest of all code and weights in a folder of this package."""
    return _digest(path for path in Path(folder).rglob("*") if path.suffix in {".py", ".json", ".safetensors"})


def folder_digest(folder: Path) -> str:
    """Return the digest of the configurations and weights of a model folder."""
    return _digest(path for path in folder.rglob("*") if path.suffix in {".json", ".safetensors"})


def _digest(paths: Any) -> str:
    found = sha256()
    for path in sorted(paths):
        found.update(f"{path.parent.name}/{path.name} {sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()
