"""A cross-validation as a value: what is trained on which folds with which seeds, and the key of each fold's predictions."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vitau.data.protocols import PAPER_COUNTS, FrameCounts, FrameFold, Task, available_counts, divide
from vitau.schema import Cohort, Protocol
from vitau.training.config import Recipe
from vitau.training.pretraining.drawn_faces import DRAWING_VERSION

VERSION: Final = 2
"""Raise it when the same key would hold other predictions."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """The plan of a cross-validation.

    Attributes:
        snapshot: digest.
        rows_digest: of the rows that are used: those of the snapshot without erased people.
        recipes: recipe of each task.
        origins: digest of the pretrained model or of the weights from which a task's trainings start; absent if fresh.
        protocols: in the order of the table.
        num_seeds: trainings of each fold, with the seeds from 0.
        paper_counts: take the paper's numbers of images under ``frames``.
    """

    snapshot: str
    rows_digest: str
    recipes: Mapping[Task, Recipe]
    origins: Mapping[Task, str]
    protocols: tuple[Protocol, ...]
    num_seeds: int
    paper_counts: bool = False

    def recipe(self, task: Task, seed: int) -> Recipe:
        """Return the recipe of a task with the seed of its training."""
        recipe = self.recipes[task]
        return replace(recipe, train=replace(recipe.train, seed=seed))

    def counts(self, protocol: Protocol, task: Task, rows: pa.Table) -> FrameCounts | None:
        """Return the numbers of frames of a task, ``None`` where all frames are used."""
        if not self.paper_counts or protocol is not Protocol.FRAMES:
            return None
        return available_counts(palsied(rows), PAPER_COUNTS[task])

    def folds(self, protocol: Protocol, task: Task, seed: int, rows: pa.Table) -> list[FrameFold]:
        """Return the folds of a protocol over the rows of the snapshot.

        Raises:
            ValueError: there are too few people for the protocol.
        """
        return list(
            divide(
                protocol,
                subject_N=np.array(rows["subject"].to_pylist()),
                palsied_N=palsied(rows),
                split_N=np.array(rows["split"].to_pylist()),
                seed=seed,
                counts=self.counts(protocol, task, rows),
            )
        )

    def tasks(self, rows: pa.Table) -> Iterator["FoldTask"]:
        """Yield every fold of every protocol, task and seed."""
        for protocol in self.protocols:
            for task in self.recipes:
                for seed in range(self.num_seeds):
                    counts = self.counts(protocol, task, rows)
                    for index in range(len(self.folds(protocol, task, seed, rows))):
                        yield FoldTask(
                            protocol=protocol,
                            task=task,
                            seed=seed,
                            index=index,
                            counts=counts,
                            key=self._key(protocol, task, seed, index, counts),
                        )

    def _key(self, protocol: Protocol, task: Task, seed: int, index: int, counts: FrameCounts | None) -> str:
        facts: dict[str, Any] = {
            "version": VERSION,
            "rows": self.rows_digest,
            "recipe": asdict(self.recipe(task, seed)),
            "drawing": DRAWING_VERSION,
            "origin": self.origins.get(task),
            "protocol": str(protocol),
            "seed": seed,
            "fold": index,
            "counts": None if counts is None else asdict(counts),
        }
        return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class FoldTask:
    """One training: a fold of a protocol, for one task and one seed; ``key`` names its predictions."""

    protocol: Protocol
    task: Task
    seed: int
    index: int
    counts: FrameCounts | None
    key: str

    @property
    def file(self) -> str:
        """Name of the file of its predictions."""
        return f"{self.protocol}-{self.task}-{self.seed}-{self.index:03}-{self.key[:16]}.parquet"


def palsied(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Return which rows of a snapshot show palsied people, (N,) bool."""
    return np.array(rows["cohort"].to_pylist()) == str(Cohort.PALSY)
