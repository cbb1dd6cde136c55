"""The fits of tables as values: a method on a fold with a seed, and the key of its predictions.

This module does not import Prefect, so that worker processes start quickly.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Final

import numpy as np

from flows.crossvalidation.study import FoldTask, palsied
from flows.tables.people import People
from vitau.baselines.method import Budget, Method
from vitau.baselines.regions.vitau_regions import VitauRegions
from vitau.baselines.tables import Row, RowSettings, TableName, table_rows
from vitau.data.protocols import FrameFold, Task, divide
from vitau.schema import Protocol
from vitau.store import open_store
from vitau.training.pretraining.drawn_faces import DRAWING_VERSION

VERSION: Final = 1
"""Raise it when the same key would hold other predictions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodFit:
    """One fit of a method: a fold of a protocol with a seed. ``table`` is a table that the method is a row of."""

    table: TableName
    method: str
    fold: FoldTask

    @property
    def row(self) -> tuple[Task, str]:
        """Task and name of the method, which identify it among all tables."""
        return self.fold.task, self.method

    @property
    def file(self) -> str:
        """Name of the file of its predictions."""
        return f"{self.method}-{self.fold.file}"


@dataclass(frozen=True, kw_only=True)
class TablePlan:
    """The plan of some tables.

    Attributes:
        names: of the tables.
        people: of all rows.
        protocol: how their frames are divided.
        num_seeds: fits of each fold, with the seeds from 0.
        budget: of every method.
        settings: of the rows.
        only: names of methods; empty for all.
    """

    names: Sequence[TableName]
    people: People
    protocol: Protocol
    num_seeds: int
    budget: Budget
    settings: RowSettings
    only: frozenset[str] = frozenset()

    def rows(self, name: TableName) -> list[Row]:
        """Return the rows of a table.

        Raises:
            ValueError: none of the chosen methods is a row of it.
        """
        rows = table_rows(name, self.settings, open_store(self.people.store_uri))
        chosen = [row for row in rows if not self.only or row.method.name in self.only]
        if not chosen:
            raise ValueError(f"no row of the table {name} is chosen: take some of {', '.join(row.method.name for row in rows)}")
        return chosen

    def fits(self) -> Iterator[MethodFit]:
        """Yield every fit once, method by method; a method that is in several tables is fitted for the first of them.

        Raises:
            ValueError: there are too few people for the protocol.
        """
        seen: set[tuple[Task, str]] = set()
        for name in self.names:
            for row in self.rows(name):
                identity = (row.method.task, row.method.name)
                if identity not in seen:
                    seen.add(identity)
                    yield from self._fits_of(name, row.method)

    def folds(self, seed: int) -> list[FrameFold]:
        """Return the folds of the protocol with a seed.

        Raises:
            ValueError: there are too few people for the protocol.
        """
        rows = self.people.rows
        columns = {name: np.array(rows[name].to_pylist()) for name in ("subject", "split")}
        division = divide(
            self.protocol, subject_N=columns["subject"], palsied_N=palsied(rows), split_N=columns["split"], seed=seed
        )
        return list(division)

    def _fits_of(self, name: TableName, method: Method) -> Iterator[MethodFit]:
        for seed in range(self.num_seeds):
            for index in range(len(self.folds(seed))):
                key = self._key(method, seed, index)
                fold = FoldTask(protocol=self.protocol, task=method.task, seed=seed, index=index, counts=None, key=key)
                yield MethodFit(table=name, method=method.name, fold=fold)

    def _key(self, method: Method, seed: int, index: int) -> str:
        facts: dict[str, Any] = {
            "version": VERSION,
            "rows": self.people.rows_digest,
            "task": method.task,
            "method": method.name,
            "recipe": asdict(method.recipe) if isinstance(method, VitauRegions) else None,
            "settings": asdict(self.settings) | {"pretrained": None},
            "budget": asdict(self.budget) | {"device": None},
            "drawing": DRAWING_VERSION,
            "protocol": str(self.protocol),
            "seed": seed,
            "fold": index,
        }
        return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
