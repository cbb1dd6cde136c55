"""The outcome of a training or pretraining, and its JSON form: ``metrics.json``, catalog rows, MLflow metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

from vitau.evaluation.crossvalidation.shortcuts import ShortcutProbe
from vitau.evaluation.metrics import Metrics, metrics_from_json
from vitau.schema import Protocol

_STORED_AS_NULL: Final = ("threshold", "side_scales", "run_id")
"""Fields that the stored form contains even if they are ``None``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretraining:
    """Size and duration of the pretraining of a registered model."""

    drawn_people: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingResult:
    """The outcome of one training: lineage, metrics by split, cost.

    Attributes:
        kind: ``palsy`` or ``regions``.
        recipe: Name of the recipe.
        protocol: How people were split.
        snapshot: Digest of the snapshot; ``None`` for a pretraining.
        ledger_offset: Of the labels in the snapshot.
        synthetic: Whether any of the people were drawn.
        seed: Of the training.
        pretrained: Recipe of the model that the training started from.
        pretrained_digest: Digest of that model.
        pretrained_on_synthetic: Whether that model was trained on drawn people.
        weights: sha256 of the user's own weight files that the training started from.
        drawn: Settings of the drawn people of the pretraining.
        threshold: Of recognition, chosen on validation people.
        calibration: Of recognition, fitted on validation people: ``scale`` and ``bias`` of the log-odds.
        abstention: Of recognition, chosen on validation people: the scores from ``low`` to ``high`` are uncertain, ``error`` is
            the share of each class that may lie beyond, and the numbers of people are those of the choice.
        frame_limits: Limits of gate 1 that the training frames kept; scoring applies them.
        region_thresholds: By region, chosen on validation people; scoring subtracts them, so that 0 divides.
        side_scales: Of a sided region model, fitted on validation people.
        val: Metrics on validation people.
        pretraining_seconds: Duration of the pretraining, including drawing.
        drawing_seconds: Duration of drawing alone, for a pretraining.
        run_id: Of the MLflow run that the training wrote.
        num_train_subjects: Number of training people.
        best_epoch: The epoch that was kept, from 1.
        seconds: Duration of the training.
        environment: Versions and hardware.
        test: Metrics on test people; ``None`` if the split is empty.
        shortcut_probe: Of the people of the snapshot.
        explanations: Of a registered model's recognition, in the stored form of
            :class:`vitau.evaluation.explanations.results.Explanations`; ``None`` if nobody could test them.
        pretraining: Of a registered model.
        recognition: ``name/version`` of the recognition in the bundle of a registered region model.
    """

    kind: str
    recipe: str | None = None
    protocol: Protocol
    snapshot: str | None = None
    ledger_offset: int | None = None
    synthetic: bool
    seed: int | None = None
    pretrained: str | None = None
    pretrained_digest: str | None = None
    pretrained_on_synthetic: bool | None = None
    weights: Sequence[str] | None = None
    drawn: Mapping[str, Any] | None = None
    threshold: float | None = None
    calibration: Mapping[str, float] | None = None
    abstention: Mapping[str, float] | None = None
    frame_limits: Mapping[str, float] | None = None
    region_thresholds: Mapping[str, float] | None = None
    side_scales: Mapping[str, float] | None = None
    val: Metrics | None = None
    pretraining_seconds: float | None = None
    drawing_seconds: float | None = None
    run_id: str | None = None
    num_train_subjects: int | None = None
    best_epoch: int
    seconds: float
    environment: Mapping[str, Any] | None = None
    test: Metrics | None = None
    shortcut_probe: ShortcutProbe | None = None
    explanations: Mapping[str, Any] | None = None
    pretraining: Pretraining | None = None
    recognition: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the stored form; absent fields are omitted."""
        document: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Metrics | ShortcutProbe):
                value = value.to_json()
            elif isinstance(value, Pretraining):
                value = asdict(value)
            if value is not None or field.name in _STORED_AS_NULL:
                document[_json_key(field.name)] = str(value) if isinstance(value, Protocol) else value
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the stored form."""
        arguments = {field.name: document[key] for field in fields(cls) if (key := _json_key(field.name)) in document}
        pretraining, probe = document.get("pretraining"), document.get("shortcut_probe")
        arguments |= {
            "protocol": Protocol(document["protocol"]),
            "val": metrics_from_json(document.get("val", {})),
            "test": metrics_from_json(document.get("test", {})),
            "shortcut_probe": None if probe is None else ShortcutProbe.from_json(probe),
            "pretraining": None if pretraining is None else Pretraining(**pretraining),
        }
        return cls(**arguments)


def _json_key(name: str) -> str:
    return "n_train_subjects" if name == "num_train_subjects" else name
