"""Two trainings that start at the same moment describe one experiment."""

import shutil

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tests.databases import empty_registry
from vitau.registry.tracking import NOTE_TAG, open_experiment


class RacingClient(MlflowClient):
    """A client whose tag another process inserts first: the database refuses the second row."""

    def __init__(self, tracking_uri: str, first_tag: str | None) -> None:
        super().__init__(tracking_uri)
        self.first_tag = first_tag

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        if self.first_tag is not None:
            super().set_experiment_tag(experiment_id, key, self.first_tag or value)
        raise MlflowException("UNIQUE constraint failed: experiment_tags.key, experiment_tags.experiment_id")


@pytest.fixture
def empty_uri(tmp_path, monkeypatch):
    uri = f"sqlite:///{shutil.copy(empty_registry(), tmp_path / 'mlflow.db')}"
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield uri
    mlflow.set_tracking_uri(before)


def test_only_a_note_that_a_parallel_training_wrote_first_is_no_error(empty_uri):
    for first_tag in (None, "another text"):
        with pytest.raises(MlflowException, match="UNIQUE"):
            open_experiment(RacingClient(empty_uri, first_tag=first_tag))
    experiment = open_experiment(RacingClient(empty_uri, first_tag=""))
    assert "one run each" in MlflowClient(empty_uri).get_experiment(experiment.experiment_id).tags[NOTE_TAG]
