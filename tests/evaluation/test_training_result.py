"""The outcome of a training keeps its stored form."""

from dataclasses import replace

import pytest

from vitau.evaluation.training_result import Pretraining, TrainingResult

METRICS = {
    "protocol": "subjects",
    "n_subjects": 2,
    "n_palsied": 1,
    "n_frames": 4,
    "threshold": 0.5,
    "undefined_resamples": 0,
    **dict.fromkeys(("accuracy", "balanced_accuracy", "f1", "auroc", "ece", "brier"), 0.75),
    **{f"{name}_interval": [0.5, 1.0] for name in ("accuracy", "balanced_accuracy", "f1", "auroc", "ece", "brier")},
}
TRAINING = {
    "kind": "palsy",
    "recipe": "tiny-palsy",
    "protocol": "subjects",
    "snapshot": "5" * 64,
    "ledger_offset": 1624,
    "synthetic": True,
    "seed": 0,
    "pretrained": "tiny-palsy",
    "pretrained_digest": "7" * 64,
    "pretrained_on_synthetic": True,
    "drawn": {"frames_per_person": 1, "num_people": 9000, "seed": "pretraining", "size": 64},
    "threshold": 0.5,
    "side_scales": None,
    "val": METRICS,
    "pretraining_seconds": 190.7,
    "run_id": "e018e3ce",
    "n_train_subjects": 110,
    "best_epoch": 1,
    "seconds": 8.1,
    "environment": {"vitau": "0.1.0", "threads": 1},
    "test": METRICS,
}
PRETRAINING = {
    "kind": "palsy",
    "recipe": "tiny-palsy",
    "protocol": "subjects",
    "synthetic": True,
    "drawn": {"num_people": 9000, "frames_per_person": 1, "size": 64, "seed": "pretraining"},
    "threshold": None,
    "side_scales": {"face": 1.5, "region": 2.0},
    "val": METRICS,
    "drawing_seconds": 46.7,
    "run_id": None,
    "n_train_subjects": 8280,
    "best_epoch": 10,
    "seconds": 144.0,
    "environment": {"vitau": "0.1.0"},
}
REGISTERED = TRAINING | {"pretraining": {"drawn_people": 9000, "seconds": 144.0}, "recognition": "vitau-palsy/1"}


@pytest.mark.parametrize("document", [TRAINING, PRETRAINING, REGISTERED])
def test_documents_of_earlier_versions_are_read_and_written_unchanged(document):
    result = TrainingResult.from_json(document)
    assert result.to_json() == document
    assert list(result.to_json()) == list(document)
    assert TrainingResult.from_json(result.to_json()) == result


def test_registration_adds_to_a_copy():
    result = TrainingResult.from_json(TRAINING)
    added = replace(result, pretraining=Pretraining(drawn_people=9000, seconds=144.0), recognition="vitau-palsy/1")
    assert added.to_json() == REGISTERED
    assert result.to_json() == TRAINING
