"""The connection to an MLflow server, and the run that a training writes: curves, system metrics, pictures."""

import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import Any, Final
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from vitau.errors import RegistryError

EXPERIMENT: Final = "vitau"
STEP_LOSS: Final = "loss"
EPOCH_LOSS: Final = "train_loss"
KEY_TAG: Final = "training"
NOTE_TAG: Final = "mlflow.note.content"
"""Tag that MLflow's pages show as the description of an experiment or a run."""
EXPERIMENT_NOTE: Final = (
    "Trainings of ViTAU, one run each: curves while it trains, then the headline metrics on people who were not in training. "
    "`metrics.csv` and `metrics.json` of a run have all numbers, `figures` ROC, reliability and confusion. Runs named after a "
    "recipe are pretrainings on drawn people or trainings in progress. The registered models are under Models."
)


@contextmanager
def connected(tracking_uri: str) -> Iterator[MlflowClient]:
    """Yield a client, with MLflow's global tracking URI set to its server inside the block.

    Raises:
        RegistryError: MLflow raised an error inside the block.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a server that is down is reported at once
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield MlflowClient(tracking_uri)
    except MlflowException as error:
        raise RegistryError(f"the model registry at {tracking_uri} {failure(error)}") from error
    finally:
        mlflow.set_tracking_uri(before)


def failure(error: MlflowException) -> str:
    """Return what MLflow could not do as the rest of one whole sentence, with the way out where there is one."""
    text = " ".join(str(error).split())
    if "Max retries exceeded" in text:
        causes = re.findall(r"\[Errno -?\d+\] ([\w ,]+)", text) or re.findall(r"Caused by (\w+)", text) or ["no answer"]
        return f"cannot be reached ({causes[-1]}): start it, or correct its address"
    refused = re.search(r"failed with error code (\d+) != 200\. Response body: '(.*)'", text)
    if refused is None:
        return f"refuses the request: {re.sub(r'^[A-Z_]+: ', '', text)}"
    status, body = refused[1], refused[2]
    if status == "401":
        return "does not accept the log-in: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    if body.lstrip().startswith("<"):
        return f"answers {status} with a web page: correct its address"
    return f"refuses the request ({status}): {body}"


def is_reachable(tracking_uri: str) -> bool:
    """Return whether a server accepts connections at this address, at once; an address of a database has no server."""
    address = urlsplit(tracking_uri)
    if address.scheme not in {"http", "https"}:
        return True
    try:
        with socket.create_connection((address.hostname or "", address.port or (443 if address.scheme == "https" else 80)), 5):
            return True
    except OSError:
        return False


@dataclass(kw_only=True, slots=True)
class TrackedRun:
    """A run that is written while the training runs. A failure to write is reported once, and the training continues.

    Steps and epochs that the run has already are skipped, because a resumed training repeats its last steps.
    """

    id: str
    client: MlflowClient
    tell: Callable[[str], None]
    logged_steps: int = 0
    logged_epochs: set[int] = field(default_factory=set)
    failed: bool = False

    def step(self, step: int, loss: float) -> None:
        """Log the loss of a step."""
        if step > self.logged_steps:
            self._write(lambda: self.client.log_batch(self.id, [Metric(STEP_LOSS, loss, _now(), step)]))
            self.logged_steps = step

    def epoch(self, number: int, numbers: Mapping[str, float]) -> None:
        """Log the numbers of an epoch, its loss last: an epoch with a loss is complete."""
        if number in self.logged_epochs:
            return
        others = [Metric(name, value, _now(), number) for name, value in numbers.items() if name != EPOCH_LOSS]
        self._write(lambda: self.client.log_batch(self.id, others))
        self._write(lambda: self.client.log_batch(self.id, [Metric(EPOCH_LOSS, numbers[EPOCH_LOSS], _now(), number)]))
        self.logged_epochs.add(number)

    def picture(self, name: str, png: bytes) -> None:
        """Log a picture as an artifact of the run; it replaces one of the same name."""
        with TemporaryDirectory() as work:
            path = Path(work) / Path(name).name
            path.write_bytes(png)
            self._write(lambda: self.client.log_artifact(self.id, str(path), str(Path(name).parent)))

    def end(self, status: str) -> None:
        """End the run as ``FINISHED`` or ``FAILED``."""
        self._write(lambda: mlflow.end_run(status))

    def _write(self, write: Callable[[], Any]) -> None:
        try:
            write()
        except MlflowException as error:
            if not self.failed:
                self.tell(f"MLflow {failure(error)}; the training goes on, and the curves of this run have gaps")
            self.failed = True


def open_experiment(client: MlflowClient) -> Any:
    """Make ViTAU's experiment the current one, and describe it for its page; return MLflow's record of it."""
    experiment = mlflow.set_experiment(EXPERIMENT)
    if experiment.tags.get(NOTE_TAG) != EXPERIMENT_NOTE:
        try:
            client.set_experiment_tag(experiment.experiment_id, NOTE_TAG, EXPERIMENT_NOTE)
        except MlflowException:  # a parallel training inserted the same tag first, and the database refuses a second row
            if client.get_experiment(experiment.experiment_id).tags.get(NOTE_TAG) != EXPERIMENT_NOTE:
                raise
    return experiment


def runs_page(tracking_uri: str) -> str:
    """Return the address at which MLflow's page shows experiments for machine learning; it opens with another view."""
    return f"{tracking_uri}/#/experiments?workflowType=machine_learning"


@contextmanager
def tracked_run(
    tracking_uri: str, name: str, *, key: str, settings: Mapping[str, Any], tell: Callable[[str], None]
) -> Iterator[TrackedRun]:
    """Start or resume a run, and log processor, memory and GPU use meanwhile.

    Args:
        tracking_uri: of the MLflow server.
        name: of the run.
        key: of the training; a run with this tag is resumed.
        settings: logged as the run's parameters; they must hold no identity and no path.
        tell: called once if something cannot be written.

    Raises:
        RegistryError: the server cannot be reached when the run begins.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it logs about its own threads
    with connected(tracking_uri) as client:
        experiment = open_experiment(client)
        known = client.search_runs([experiment.experiment_id], f"tags.{KEY_TAG} = '{key}'", max_results=1)
        begun = mlflow.start_run(
            known[0].info.run_id if known else None,
            experiment_id=experiment.experiment_id,
            run_name=name,
            tags={KEY_TAG: key},
            log_system_metrics=True,
        ).info.run_id
        steps, epochs = ([m.step for m in client.get_metric_history(begun, metric)] for metric in (STEP_LOSS, EPOCH_LOSS))
        mlflow.log_params({name: str(value)[:500] for name, value in settings.items()})
        run = TrackedRun(id=begun, client=client, tell=tell, logged_steps=max(steps, default=0), logged_epochs=set(epochs))
        status = "FAILED"
        try:
            yield run
            status = "FINISHED"
        finally:
            run.end(status)


def _now() -> int:
    return int(time() * 1000)
