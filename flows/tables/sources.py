"""The source of a table's people: drawn people, labeled clips, or a snapshot of a workspace, whose looks are counted."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.crossvalidation.crossvalidate import check_distinct, lease_gpu
from flows.erasure.living import load_living
from flows.promotion.looks import note_look
from flows.settings import Settings
from flows.tables.labeled import read_people
from flows.tables.people import People, draw_people
from flows.tables.plan import TablePlan
from flows.tables.results import Table
from flows.tables.sizes import DrawnCohort
from flows.workspace import Workspace, open_workspace
from vitau.data.snapshot import describe
from vitau.progress import Reporter


@dataclass(frozen=True, kw_only=True)
class Source:
    """People, the weights of ViTAU's region recipes, and the workspace; other people have none."""

    people: People
    weights: tuple[str, ...] = ()
    workspace: Workspace | None = None

    @contextmanager
    def device(self) -> Iterator[str]:
        """Yield the device of the fits: a GPU, which is leased from the workspace, or the processor."""
        import torch

        on_gpu = torch.cuda.is_available()
        if self.workspace is None or not on_gpu:
            yield "cuda" if on_gpu else "cpu"
            return
        with lease_gpu(self.workspace, wanted=True):
            yield "cuda"

    def note_looks(self, plan: TablePlan, tables: Sequence[Table]) -> None:
        """Note that the held-out people of a snapshot were looked at with each method: the best of many is partly luck."""
        if self.workspace is None:
            return
        fitted = {(table.task, row.name) for table in tables for row in table.finished}
        first = [fit for fit in plan.fits() if fit.row in fitted and fit.fold.seed == fit.fold.index == 0]
        for fit in first:
            about = {"model": fit.method, "digest": fit.fold.key, "purpose": "tables"}
            note_look(self.workspace, snapshot=plan.people.snapshot, protocol=plan.protocol, **about)


def drawn_source(cohort: DrawnCohort, out: Path, num_processes: int) -> Source:
    """Draw the people of a size into ``out/people``; people who are drawn already are only read."""
    with Reporter().task("draw people") as step:
        return Source(people=draw_people(cohort, out / "people", num_processes=num_processes, progress=step))


def labels_source(labels: Path, out: Path, num_processes: int) -> Source:
    """Read the clips of a table of labels into ``out/people``; clips that are read already are not read again.

    Raises:
        SourceError: the table or a clip is missing, or the table is wrong.
    """
    reporter = Reporter()
    with reporter.task("read clips") as step:
        people = read_people(labels, out / "people", num_processes=num_processes, progress=step, skipped=reporter.line)
    return Source(people=people)


def snapshot_source(snapshot: str, settings: Settings) -> Source:
    """Return the people of a snapshot without those who were erased.

    Raises:
        TrainingError: a person has two names in the snapshot.
        ObjectNotFoundError: there is no such snapshot.
    """
    workspace = open_workspace(settings)
    living = load_living(workspace, snapshot)
    check_distinct(workspace, snapshot, living)
    people = People(
        store_uri=settings.store,
        snapshot=snapshot,
        rows=living.rows,
        without=living.names,
        cache=workspace.folder("crops"),
        synthetic=describe(living.rows, snapshot, "").synthetic,
        num_erased=living.num_erased,
    )
    return Source(people=people, weights=tuple(settings.weights_regions), workspace=workspace)
