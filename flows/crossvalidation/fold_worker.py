"""The worker for one fold: train it, predict its test frames, and write the predictions.

This module does not import Prefect, so that worker processes start quickly.
"""

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from flows.crossvalidation.folder import fold_lock
from flows.crossvalidation.study import FoldTask, Study
from vitau.asymmetry.people import with_movement
from vitau.data.dataset import Crops, load_crops
from vitau.data.protocols import Task, divide
from vitau.errors import TrainingError
from vitau.processes import single_threaded
from vitau.store import open_store
from vitau.store.atomic import write_atomic
from vitau.training.crossvalidation.fold import train_fold
from vitau.training.run import MOVEMENT, shrunk

Pretrained: TypeAlias = Mapping[Task, Path | Mapping[str, bytes]]
"""Folder of the pretrained model of a task on this machine, or its files by name."""


@dataclass(frozen=True, kw_only=True)
class FoldWork:
    """The work on a fold, to be sent to a worker.

    Attributes:
        study: the plan.
        store_uri: of the store with the snapshot and its frames.
        without: people whose erasure has begun.
        cache: folder of decoded crops on this machine; ``None`` on another one, which gets a temporary folder.
        folder: where the predictions and the checkpoint are written; ``None`` on another machine.
        pretrained: models to start from.
        weights: sources of the user's own weights by task, instead.
    """

    study: Study
    store_uri: str
    without: frozenset[str]
    cache: Path | None
    folder: Path | None
    pretrained: Pretrained
    weights: Mapping[Task, Sequence[str]] = field(default_factory=dict)

    def __call__(self, task: FoldTask) -> bytes:
        """Return the predictions of a fold as Parquet; a complete file is only read."""
        if self.folder is None:
            return self._predict(task)
        path = self.folder / task.file
        with fold_lock(self.folder):
            if not path.exists():
                write_atomic(path, self._predict(task))
        return path.read_bytes()

    def _predict(self, task: FoldTask) -> bytes:
        with tempfile.TemporaryDirectory(prefix="vitau-fold-") as temporary, single_threaded():
            return parquet(self._train(task, Path(temporary)))

    def _train(self, task: FoldTask, temporary: Path) -> pa.Table:
        recipe = self.study.recipe(task.task, task.seed)
        crops = open_crops(
            self.store_uri, self.study.snapshot, self.without, self.cache, recipe.model_input_size, movement=recipe.movement
        )
        folds = divide(
            task.protocol,
            subject_N=crops.subject_N,
            palsied_N=crops.palsied_N,
            split_N=crops.split_N,
            seed=task.seed,
            counts=task.counts,
        )
        fold = next(fold for index, fold in enumerate(folds) if index == task.index)
        checkpoints = temporary if self.folder is None else self.folder / f"{Path(task.file).stem}-checkpoint"
        try:
            return train_fold(
                recipe,
                crops,
                fold,
                checkpoints,
                identity=task.key,
                pretrained=self._start_from(task.task, temporary),
                weights=self.weights.get(task.task, ()),
                store=open_store(self.store_uri),
            )
        except TrainingError as error:
            raise TrainingError(
                f"fold {task.index + 1} of protocol {task.protocol}, {task.task}, seed {task.seed}: {error}"
            ) from error

    def _start_from(self, task: Task, temporary: Path) -> Path | None:
        model = self.pretrained.get(task)
        if model is None or isinstance(model, Path):
            return model
        folder = temporary / "pretrained"
        for name, data in model.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder


@lru_cache(maxsize=2)
def open_crops(
    store_uri: str, snapshot: str, without: frozenset[str], cache: Path | None, size: int, *, movement: bool
) -> Crops:
    """Load the crops of a snapshot at the size of a model, with movement if it is used, once per worker process."""
    with tempfile.TemporaryDirectory(prefix="vitau-crops-") as temporary:  # the open file stays readable after its removal
        folder = Path(temporary) if cache is None else cache
        crops = load_crops(open_store(store_uri), snapshot, folder, without=without)
        return shrunk(with_movement(crops, folder / MOVEMENT) if movement else crops, size)


def parquet(table: pa.Table) -> bytes:
    """Return a table as Parquet without compression, in which an erasure finds a pseudonym."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none")
    return sink.getvalue()
