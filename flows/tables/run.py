"""Run tables: fit the methods that have no predictions yet, on all cores, and write the tables.

Killed and started again, a run continues with the missing fits. A method that fails is a row with its reason.
"""

import io
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flows.crossvalidation.folder import FOLDS, only_run
from flows.tables.fit_worker import FitWork, PretrainWork
from flows.tables.outputs import write_outputs
from flows.tables.plan import MethodFit, TablePlan
from flows.tables.results import Table, build_table
from vitau.baselines.regions.vitau_regions import VitauRegions
from vitau.data.dataset import load_crops
from vitau.data.protocols import Task
from vitau.processes import parallel_map
from vitau.progress import Reporter
from vitau.store import open_store
from vitau.store.atomic import make_private_folders


def make_tables(plan: TablePlan, out: Path, *, num_processes: int, reporter: Reporter | None = None) -> list[Table]:
    """Fit all rows of the plan's tables, and write them.

    Args:
        plan: the tables and their people.
        out: gets ``folds/`` with a file per fit, and the tables; see :func:`flows.tables.outputs.write_outputs`.
        num_processes: fits at a time, each with one thread.
        reporter: writes messages and progress; on stderr by default.

    Raises:
        ValueError: there are too few people for the protocol, or no method is chosen.
    """
    reporter = reporter or Reporter()
    fits = list(plan.fits())
    with only_run(out):
        failed = fit_missing(plan, fits, out / FOLDS, num_processes, reporter)
        found = {fit: _read(out / FOLDS / fit.file) for fit in fits if fit.row not in failed}
        tables = [build_table(name, plan, found, failed) for name in plan.names]
        write_outputs(tables, out)
    return tables


def fit_missing(
    plan: TablePlan, fits: Sequence[MethodFit], folder: Path, num_processes: int, reporter: Reporter
) -> dict[tuple[Task, str], str]:
    """Fit what has no predictions yet, and return the reasons of methods that failed.

    The predictions of each fit appear atomically, under a name with the digest of all that determines them. The remaining fits
    of a method that failed are skipped.
    """
    make_private_folders(folder)
    missing = [fit for fit in fits if not (folder / fit.file).exists()]
    people = plan.people
    if missing:
        with reporter.task("decode crops") as step:
            load_crops(open_store(people.store_uri), people.snapshot, people.cache, step, without=people.without)
    pretrain_rows(plan, {fit.row for fit in missing}, num_processes, reporter)
    work = FitWork(
        store_uri=people.store_uri,
        snapshot=people.snapshot,
        without=people.without,
        cache=people.cache,
        folder=folder,
        settings=plan.settings,
        budget=plan.budget,
    )
    failed: dict[tuple[Task, str], str] = {}
    started: deque[MethodFit] = deque()

    def remaining() -> Iterator[MethodFit]:
        for fit in missing:
            if fit.row not in failed:
                started.append(fit)
                yield fit

    with reporter.task(f"fit {len(missing)} of {len(fits)}") as step:
        for done, reason in enumerate(parallel_map(work, remaining(), min(num_processes, max(1, len(missing)))), start=1):
            fit = started.popleft()
            if reason is not None and fit.row not in failed:
                failed[fit.row] = reason
                reporter.line(f"{fit.method} ({fit.fold.task}) has no row: {reason}")
            step(done, len(missing))
    return failed


def pretrain_rows(plan: TablePlan, missing: Collection[tuple[Task, str]], num_processes: int, reporter: Reporter) -> None:
    """Pretrain the models that rows start from, once for all their fits; complete ones are only read."""
    methods = {(row.method.task, row.method.name): row.method for name in plan.names for row in plan.rows(name)}
    wanted = {
        method.pretrained: method.recipe
        for identity, method in methods.items()
        if identity in missing and isinstance(method, VitauRegions) and method.pretrained is not None
    }
    work = PretrainWork(cache=Path(plan.settings.pretrained) / "drawn")
    if wanted:
        with reporter.task(f"pretrain {len(wanted)} region models") as step:
            for done, reason in enumerate(parallel_map(work, wanted.items(), min(num_processes, len(wanted))), start=1):
                if reason is not None:
                    reporter.line(f"a region model was not pretrained: {reason}")
                step(done, len(wanted))


def _read(path: Path) -> pa.Table:
    return pq.read_table(io.BytesIO(path.read_bytes()))
