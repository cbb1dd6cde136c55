"""The crossvalidate flow: train and test the folds of protocols on the same people, and write one table and a report."""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from prefect import flow

from flows.crossvalidation.fold_worker import FoldWork, Pretrained
from flows.crossvalidation.folder import FOLDS, only_run
from flows.crossvalidation.report import write_outputs
from flows.crossvalidation.results import Results, evaluate_study
from flows.crossvalidation.study import FoldTask, Study
from flows.crossvalidation.tables import Facts
from flows.erasure.living import LivingRows, load_living
from flows.execution.executor import Engine, Executor
from flows.execution.gpus import VISIBLE, lease_gpus, visible_gpus
from flows.execution.leases import LeaseHolder
from flows.execution.subject_worker import read_model_files
from flows.execution.training_process import STUCK_S, show_trainings
from flows.promotion.looks import note_look
from flows.reports.run_summary import publish_summary
from flows.retraining import recipes as retraining
from flows.retraining.recipes import find_sources
from flows.retraining.training import pretrain
from flows.settings import Settings
from flows.workspace import PrivatePath, Workspace, open_workspace
from vitau.data import snapshot as snapshots
from vitau.data.dataset import load_crops
from vitau.data.protocols import TASKS, Task
from vitau.errors import TrainingError
from vitau.evaluation.crossvalidation.shortcuts import ShortcutProbe
from vitau.models.checkpoint import model_digest
from vitau.progress import Reporter
from vitau.schema import Protocol, canonical_name
from vitau.store.atomic import make_private_folders, write_atomic
from vitau.training.config import Recipe, balanced
from vitau.training.recipes import find_recipe, pretrained_recipe
from vitau.training.reporting.shortcuts import probe_snapshot
from vitau.training.start import MODEL

PAPER: Final = "paper"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The folder of the pretrained model of each task, of tasks whose recipe has a pretraining."""

    folders: Mapping[Task, Path]

    @property
    def digests(self) -> dict[Task, str]:
        """Digests of the models."""
        return {task: model_digest(folder) for task, folder in self.folders.items()}


@flow(
    name="crossvalidate",
    flow_run_name="crossvalidate {snapshot:.8}",
    validate_parameters=False,
    on_completion=[publish_summary],
)
def crossvalidate(  # noqa: PLR0913 - an argument for each option of the command
    snapshot: str,
    out: PrivatePath,
    *,
    protocols: Sequence[Protocol] = (Protocol.LOPO,),
    size: str = "tiny",
    num_seeds: int = 3,
    paper_counts: bool = False,
    balance_people: bool = False,
    engine: Engine = Engine.LOCAL,
    settings: Settings | None = None,
) -> Results:
    """Cross-validate both tasks on the people of a snapshot; complete folds in ``out`` are only read.

    Args:
        snapshot: digest.
        out: gets ``folds/``, ``predictions.parquet``, ``table.csv``, ``table.md`` and ``report.html``.
        protocols: in the order of the table.
        size: family of recipes.
        num_seeds: trainings of each fold.
        paper_counts: take the paper's numbers of images under protocol ``frames``.
        balance_people: draw every training person equally often.
        engine: local processes or Ray.
        settings: read from the environment by default.

    Raises:
        ValueError: an argument does not fit, or there are too few people for a protocol.
        TrainingError: a person has two names in the snapshot, a recipe needs weights that the settings do not name, or a fold
            cannot be trained.
    """
    workspace = open_workspace(settings)
    living = load_living(workspace, snapshot)
    check_distinct(workspace, snapshot, living)
    recipes = choose_recipes(workspace.settings, size, balance_people=balance_people)
    for recipe in recipes.values():
        find_sources(workspace, recipe)  # missing weights are reported before anything is measured
    plan(snapshot, living, recipes, protocols, num_seeds, paper_counts=paper_counts)
    probe = probe_snapshot(workspace.store, living.rows, workspace.folder("crops"))
    if probe.separates:
        recipes = choose_recipes(workspace.settings, size, balance_people=balance_people, confounded=True)
    with only_run(out.path):
        study, tables = run_study(
            workspace,
            snapshot,
            living,
            recipes,
            out.path,
            protocols=protocols,
            num_seeds=num_seeds,
            paper_counts=paper_counts,
            engine=engine,
        )
        note_looks(workspace, study)
        return conclude(study, living, tables, out.path, probe)


def note_looks(workspace: Workspace, study: Study) -> None:
    """Note that the people of a snapshot were looked at with each recipe under each protocol."""
    for protocol in study.protocols:
        for task, recipe in study.recipes.items():
            digest = f"{recipe} {recipe.train.balance_people} {study.origins.get(task)} {study.num_seeds} {study.paper_counts}"
            about = {"model": recipe.name, "digest": digest, "purpose": "cross-validation"}
            note_look(workspace, snapshot=study.snapshot, protocol=protocol, **about)


def choose_recipes(
    settings: Settings, size: str, *, balance_people: bool = False, confounded: bool = False
) -> dict[Task, Recipe]:
    """Return the recipes of a size and of the settings, by task, as `retrain` chooses them.

    Raises:
        ValueError: there is no such size.
        TrainingError: the settings name a backbone, or a kind of regions, that this size does not have.
    """
    chosen = dict(zip(TASKS, retraining.choose_recipes(settings, size, confounded=confounded).values(), strict=True))
    recipes = {task: find_recipe(name) for task, name in chosen.items()}
    return {task: balanced(recipe) if balance_people else recipe for task, recipe in recipes.items()}


def run_study(  # noqa: PLR0913 - the parts of a plan, and where it runs
    workspace: Workspace,
    snapshot: str,
    living: LivingRows,
    recipes: Mapping[Task, Recipe],
    out: Path,
    *,
    protocols: Sequence[Protocol] = (Protocol.LOPO,),
    num_seeds: int = 3,
    paper_counts: bool = False,
    engine: Engine = Engine.LOCAL,
) -> tuple[Study, dict[FoldTask, pa.Table]]:
    """Plan a cross-validation, pretrain its models, and train the folds that are not in ``out`` yet.

    The caller has passed :func:`check_distinct` and holds :func:`only_run` of ``out``.

    Returns:
        The plan, and the predictions of all folds.

    Raises:
        ValueError: an argument does not fit, or there are too few people for a protocol.
        TrainingError: a recipe needs weights that the settings do not name, or a fold cannot be trained.
    """
    weights = {task: find_sources(workspace, recipe) for task, recipe in recipes.items()}
    study = plan(snapshot, living, recipes, protocols, num_seeds, paper_counts=paper_counts)
    trained = pretrain_all(workspace, recipes)
    brought = {task: " ".join(found.digests) for task, found in weights.items() if found.digests}
    study = replace(study, origins={**brought, **trained.digests})
    sources = {task: found.sources for task, found in weights.items()}
    return study, train_folds(workspace, study, living, trained.folders, out, engine, weights=sources)


def check_distinct(workspace: Workspace, snapshot: str, living: LivingRows) -> None:
    """Raise TrainingError if subjects of a snapshot were merged since: folds would test people who train under another name."""
    merged = workspace.catalog.merged_names()
    names = set(living.rows["subject"].to_pylist())
    num_twice = len(names) - len({canonical_name(name, merged) for name in names})
    if num_twice:
        people = "1 person has" if num_twice == 1 else f"{num_twice} people have"
        raise TrainingError(
            f"{people} two names in snapshot {snapshot[:12]}, because subjects were merged since: "
            "run `python -m flows freeze`, and use the new snapshot"
        )


def plan(
    snapshot: str,
    living: LivingRows,
    recipes: Mapping[Task, Recipe],
    protocols: Sequence[Protocol],
    num_seeds: int,
    *,
    paper_counts: bool = False,
) -> Study:
    """Return the plan, or raise before hours of training if there are too few people for a protocol.

    Raises:
        ValueError: an argument does not fit, or there are too few people for a protocol.
    """
    if not protocols or len(set(protocols)) < len(protocols):
        raise ValueError("name each protocol once: subjects, lopo or frames")
    if paper_counts and Protocol.FRAMES not in protocols:
        raise ValueError("the paper's counts are of frames, whoever they show: add --protocol frames, or leave out --counts")
    study = Study(
        snapshot=snapshot,
        rows_digest=snapshots.digest_of(living.rows),
        recipes=recipes,
        origins={},
        protocols=tuple(protocols),
        num_seeds=num_seeds,
        paper_counts=paper_counts,
    )
    for protocol in study.protocols:
        study.folds(protocol, "palsy", 0, living.rows)
    return study


def pretrain_all(workspace: Workspace, recipes: Mapping[Task, Recipe]) -> Trained:
    """Pretrain each recipe that has a pretraining, once for all folds and seeds, and for `retrain` too."""
    with show_trainings() as listener:
        running = {
            task: pretrain.submit(workspace, pretrained_recipe(recipe.name), listener)
            for task, recipe in recipes.items()
            if recipe.pretrain
        }
        return Trained(folders={task: future.result() / MODEL for task, future in running.items()})


def train_folds(
    workspace: Workspace,
    study: Study,
    living: LivingRows,
    pretrained: Mapping[Task, Path],
    out: Path,
    engine: Engine = Engine.LOCAL,
    *,
    weights: Mapping[Task, Sequence[str]] = MappingProxyType({}),
) -> dict[FoldTask, pa.Table]:
    """Train the folds that have no predictions yet, as many at once as the settings allow; return the predictions of all.

    Each fold's predictions appear atomically in ``out/folds``, under a name with the digest of all that determines them. A
    killed run therefore continues with the folds that are missing. The caller holds :func:`only_run` of ``out``.
    """
    settings, folder = workspace.settings, out / FOLDS
    make_private_folders(folder)
    tasks = list(study.tasks(living.rows))
    missing = [task for task in tasks if not (folder / task.file).exists()]
    remote = engine is Engine.RAY and settings.ray_address is not None
    models: Pretrained = {task: read_model_files(path) if remote else path for task, path in pretrained.items()}
    work = FoldWork(
        study=study,
        store_uri=settings.store,
        without=living.names,
        cache=None if remote else workspace.folder("crops"),
        folder=None if remote else folder,
        pretrained=models,
        weights=dict(weights),  # a mapping that processes can receive
    )
    reporter = Reporter()
    if missing and not remote:
        with reporter.task("decode crops") as step:
            load_crops(workspace.store, study.snapshot, workspace.folder("crops"), step, without=living.names)
    with (
        lease_gpu(workspace, wanted=bool(missing) and engine is Engine.LOCAL),
        Executor(engine, address=settings.ray_address, num_workers=settings.num_processes) as executor,
        reporter.task(f"train {len(missing)} of {len(tasks)} folds") as step,
    ):
        running = executor.run(missing, work, num_processes=min(settings.num_trainings, max(1, len(missing))), gpu=True)
        for done, (task, data) in enumerate(zip(missing, running, strict=True), start=1):
            if remote:
                write_atomic(folder / task.file, data)
            step(done, len(missing))
    return {task: pq.read_table(io.BytesIO((folder / task.file).read_bytes())) for task in tasks}


@contextmanager
def lease_gpu(workspace: Workspace, *, wanted: bool) -> Iterator[None]:
    """Lease one GPU for the folds of local processes, which see no other; without a GPU, or unless wanted, do nothing.

    Ray gives its workers a GPU each.

    Raises:
        LeaseLostError: another training took the GPU over.
    """
    gpus = visible_gpus() if wanted else []
    if not gpus:
        yield
        return
    reporter, before = Reporter(), os.environ.get(VISIBLE)

    def wait() -> None:
        reporter.line(f"waiting for one of {len(gpus)} GPUs: other trainings use them")

    with (
        LeaseHolder(workspace.catalog, workspace.settings.lease_s, stuck_s=STUCK_S) as holder,
        lease_gpus(workspace.catalog, holder, gpus, 1, wait) as own,
    ):
        os.environ[VISIBLE] = own[0]  # CUDA reads it when it starts, here or in a process of the pool
        try:
            yield
        finally:
            if before is None:
                del os.environ[VISIBLE]
            else:
                os.environ[VISIBLE] = before


def conclude(
    study: Study, living: LivingRows, tables: Mapping[FoldTask, pa.Table], out: Path, probe: ShortcutProbe | None = None
) -> Results:
    """Evaluate the predictions of all folds and write the outputs, with the shortcut probe beside them."""
    results = replace(evaluate_study(study, living.rows, tables), probe=probe)
    described = snapshots.describe(living.rows, study.snapshot, "")
    facts = Facts(study=study, results=results, synthetic=described.synthetic, num_erased=living.num_erased)
    write_outputs(facts, living.rows, tables, out)
    return results
