"""The worker for one fit of a method: it writes the predictions, or returns the reason why there are none.

This module does not import Prefect, so that worker processes start quickly.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flows.crossvalidation.fold_worker import open_crops, parquet
from flows.crossvalidation.folder import fold_lock
from flows.tables.plan import MethodFit
from vitau.baselines.fold import fit_fold
from vitau.baselines.method import Budget, Method
from vitau.baselines.tables import RowSettings, TableName, table_rows
from vitau.data.protocols import divide
from vitau.errors import VitauError
from vitau.processes import single_threaded
from vitau.progress import Reporter
from vitau.schema import CROP_SIZE
from vitau.store import open_store
from vitau.store.atomic import write_atomic
from vitau.training.config import Recipe
from vitau.training.run import pretrain


@dataclass(frozen=True, kw_only=True)
class FitWork:
    """The work on a fit, to be sent to a worker.

    Attributes:
        store_uri: of the store with the snapshot and its frames.
        snapshot: digest.
        without: people whose erasure has begun.
        cache: folder of decoded crops.
        folder: where the predictions are written.
        settings: of the rows.
        budget: of every method.
    """

    store_uri: str
    snapshot: str
    without: frozenset[str]
    cache: Path
    folder: Path
    settings: RowSettings
    budget: Budget

    def __call__(self, fit: MethodFit) -> str | None:
        """Write the predictions of a fit unless they are complete; return the reason if the method cannot be fitted."""
        path = self.folder / fit.file
        with fold_lock(self.folder), single_threaded():
            if path.exists():
                return None
            try:
                data = self._fit(fit)
            except VitauError as error:
                return str(error)
            except Exception as error:  # noqa: BLE001 - one method that fails must not stop the other rows; its reason is listed
                return f"{type(error).__name__}: {error}"
            write_atomic(path, data)
        return None

    def _fit(self, fit: MethodFit) -> bytes:
        size = self.budget.image_px or CROP_SIZE  # scaled once, not batch by batch
        crops = open_crops(self.store_uri, self.snapshot, self.without, self.cache, size, movement=False)
        folds = divide(
            fit.fold.protocol,
            subject_N=crops.subject_N,
            palsied_N=crops.palsied_N,
            split_N=crops.split_N,
            seed=fit.fold.seed,
        )
        fold = next(fold for index, fold in enumerate(folds) if index == fit.fold.index)
        method = _methods(fit.table, self.settings, self.store_uri)[fit.method]
        return parquet(fit_fold(method, crops, fold, self.budget, seed=fit.fold.seed))


@dataclass(frozen=True, kw_only=True)
class PretrainWork:
    """The pretraining of a region model, to be sent to a worker; ``cache`` is a folder of drawn images that all share."""

    cache: Path

    def __call__(self, item: tuple[Path, Recipe]) -> str | None:
        """Pretrain a recipe into a folder; a complete one is only read. Return the reason if it fails, as its fits will."""
        folder, recipe = item
        with single_threaded():
            try:
                pretrain(recipe, folder, cache=self.cache, num_threads=1, reporter=Reporter(quiet=True))
            except VitauError as error:
                return str(error)
        return None


@lru_cache(maxsize=4)
def _methods(name: TableName, settings: RowSettings, store_uri: str) -> dict[str, Method]:
    """Return the methods of a table by name, built once per worker process."""
    return {row.method.name: row.method for row in table_rows(name, settings, open_store(store_uri))}
