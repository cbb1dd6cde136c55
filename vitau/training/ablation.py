"""The paper's ablation as one table: every loss with every part of the generator, beside the paper's own numbers."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from vitau.data.dataset import load_crops
from vitau.data.snapshot import describe, load
from vitau.errors import TrainingError
from vitau.evaluation import published
from vitau.evaluation.bootstrap import format_estimate
from vitau.evaluation.metrics import RegionMetrics
from vitau.evaluation.training_result import TrainingResult
from vitau.models.regions import RegionConfig
from vitau.processes import init_worker
from vitau.progress import Reporter
from vitau.schema import AUS, PAPER_AUS, Protocol, Snapshot
from vitau.store import Store, open_store
from vitau.store.atomic import write_atomic
from vitau.training.config import Recipe
from vitau.training.pretraining.drawn_faces import drawn_crops
from vitau.training.run import CACHE, METRICS, pretrain, read_result, train

Features = Literal["all", "early", "middle", "late"]

LOSSES: Final = ("mse", "kl", "cross_entropy", "bce_with_logits")
FEATURES: Final[tuple[Features, ...]] = ("all", "early", "middle", "late")
PAPER: Final[Mapping[tuple[str, str], float]] = MappingProxyType(
    {
        **{(loss, "all"): round(number.value / 100, 4) for loss, number in published.LOSSES.items()},
        **{("mse", part): round(number.value / 100, 4) for part, number in published.FEATURES.items()},
    }
)
"""The paper's mean accuracies of its 7 regions, by loss and features; it trained no other combination."""

DRAWN_PEOPLE: Final = 3000
"""Fewer than a recipe would draw, so that 16 pretrainings of `tiny-regions` take minutes."""

METHOD: Final = (
    "Means over regions by person, palsied people only; in brackets the 95 % interval of a bootstrap over test people."
)
TABLE: Final = "ablation"
SETTINGS: Final = "settings.json"
CELLS: Final = "cells"
PRETRAINED: Final = "pretrained"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One training of the grid."""

    loss: str
    features: Features

    @property
    def name(self) -> str:
        """Name of the cell's folder."""
        return f"{self.loss}-{self.features}"


def ablate(  # noqa: PLR0913 (all but the first four have defaults)
    recipe: Recipe,
    store: Store,
    snapshot: str,
    out: Path,
    *,
    losses: Sequence[str] = LOSSES,
    features: Sequence[str] = FEATURES,
    drawn_people: int | None = None,
    jobs: int | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Train a region recipe with every loss and every part of the generator's pyramid, and write one table of all.

    Every cell pretrains, if the recipe does, and trains with its own loss and features and is otherwise the recipe: one
    learning rate and one weight of the sides for all losses, whose scales differ. Images are decoded and drawn once.

    Args:
        recipe: of the regions.
        store: holds the snapshot and its frame tables.
        snapshot: digest.
        out: gets ``ablation.json``, ``ablation.md`` and a folder per cell in ``cells/``; complete cells are kept. The
            decoded crops in ``cache/`` show people, and are deleted when the table is complete.
        losses: some of ``LOSSES``.
        features: some of ``FEATURES``.
        drawn_people: how many people each cell's pretraining sees; the recipe's number, but at most ``DRAWN_PEOPLE``, by
            default.
        jobs: cells trained at a time, each in a process of its own with one thread; as many as there are cores by default.
        reporter: writes messages and progress; on stderr by default.

    Returns:
        The content of ``ablation.json``; each of its ``rows`` names its protocol.

    Raises:
        TrainingError: if the recipe or a name does not fit, ``out`` holds another grid, or a cell cannot be trained.
    """
    reporter = reporter or Reporter()
    grid = list(_grid(losses, features))
    recipe = _with_people(recipe, drawn_people)
    settings = {
        "recipe": recipe.name,
        "snapshot": snapshot,
        "drawn_people": None if recipe.drawn is None else recipe.drawn.num_people,
    }
    frozen = describe(load(store, snapshot), snapshot, "")
    _claim(out, settings)
    left = [cell for cell in grid if not (out / CELLS / cell.name / METRICS).exists()]
    if left:
        _train_cells(recipe, store, snapshot, out, left, jobs or len(os.sched_getaffinity(0)), reporter)
    shutil.rmtree(out / CACHE, ignore_errors=True)
    rows = [_row(cell, read_result(out / CELLS / cell.name)) for cell in grid]
    result = {**settings, "synthetic": frozen.synthetic, "seed": recipe.train.seed, "rows": rows}
    write_atomic(out / f"{TABLE}.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    write_atomic(out / f"{TABLE}.md", table(recipe, frozen, rows))
    return result


def table(recipe: Recipe, frozen: Snapshot, rows: Sequence[Mapping[str, Any]]) -> str:
    """Render the rows of ``ablation.json`` as a page of Markdown, with the limits of their comparison."""
    people = "synthetic people" if frozen.synthetic else "people"
    drawn = "" if recipe.drawn is None else f", after pretraining on {recipe.drawn.num_people} drawn people"
    reasons = [
        *(["these people are drawn"] if frozen.synthetic else ["these are other people"]),
        f"they are divided by protocol `{Protocol.SUBJECTS}`, the paper's by `{Protocol.FRAMES}` (tested on people it knew)",
        f"the model is {recipe.name}'s, of {recipe.model_input_size} px, not the paper's of 256 px",
    ]
    head = (
        "Loss", "Features", f"Accuracy, paper's {len(PAPER_AUS)}, %", f"Accuracy, all {len(AUS)}, %", f"AUROC, all {len(AUS)}",
        "Protocol", "Test people", f"Paper: accuracy, {len(PAPER_AUS)}, %", "Paper's protocol",
    )  # fmt: skip
    lines = [
        f"# Losses and features of {recipe.name} on {people}",
        "",
        f"These numbers cannot be compared with the paper's: {', '.join(reasons[:-1])}, and {reasons[-1]}.",
        "",
        f"Snapshot `{frozen.digest}`{' (synthetic)' * frozen.synthetic}{drawn}. {METHOD}",
        "",
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
        *(f"| {' | '.join(_cells_of(row))} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _cells_of(row: Mapping[str, Any]) -> Iterator[str]:
    yield row["loss"]
    yield row["features"]
    for name, factor, digits in (("accuracy_of_paper_7", 100, 1), ("accuracy", 100, 1), ("auroc", 1, 3)):
        value, interval = row[name], row[f"{name}_interval"]
        yield format_estimate(
            None if value is None else value * factor,
            None if interval is None else [end * factor for end in interval],
            digits=digits,
            undefined="–",
        )
    yield row["protocol"]
    yield str(row["n_test_subjects"])
    paper = row["paper"]
    yield "–" if paper is None else f"{paper['accuracy_of_paper_7'] * 100:.2f}"
    yield "–" if paper is None else paper["protocol"]


def _row(cell: Cell, result: TrainingResult) -> dict[str, Any]:
    assert isinstance(result.test, RegionMetrics), "every cell trains regions, and the snapshot has test people"
    test, paper = result.test.to_json(), PAPER.get((cell.loss, cell.features))
    return {
        "loss": cell.loss,
        "features": cell.features,
        "protocol": test["protocol"],
        "n_test_subjects": test["n_subjects"],
        "accuracy_of_paper_7": test["mean_of_paper_7"]["accuracy"],
        "accuracy_of_paper_7_interval": test["mean_of_paper_7"]["accuracy_interval"],
        **{name: test[name] for name in ("accuracy", "accuracy_interval", "auroc", "auroc_interval")},
        "seconds": round((result.pretraining_seconds or 0.0) + result.seconds, 1),
        "paper": None if paper is None else {"accuracy_of_paper_7": paper, "protocol": str(Protocol.FRAMES)},
    }


def _grid(losses: Sequence[str], features: Sequence[str]) -> Iterator[Cell]:
    for what, names, known in (("loss", losses, LOSSES), ("features", features, FEATURES)):
        for name in names:
            if name not in known:
                raise TrainingError(f"no {what} {name!r} for the regions; there are {', '.join(known)}")
    return (Cell(loss=loss, features=part) for loss in LOSSES if loss in losses for part in FEATURES if part in features)


def _with_people(recipe: Recipe, drawn_people: int | None) -> Recipe:
    if not isinstance(recipe.model, RegionConfig):
        raise TrainingError(f"recipe {recipe.name} recognizes a palsy: the grid needs a recipe of the regions, as tiny-regions")
    if recipe.drawn is None:
        if drawn_people is not None:
            raise TrainingError(f"recipe {recipe.name} has no pretraining on drawn people: leave out --drawn-people")
        return recipe
    if drawn_people is None:
        drawn_people = min(recipe.drawn.num_people, DRAWN_PEOPLE)
    return replace(recipe, drawn=replace(recipe.drawn, num_people=drawn_people))


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Reserve a folder for one grid: its table must not mix settings."""
    path = out / SETTINGS
    if path.exists():
        for what, found in json.loads(path.read_text()).items():
            if found != settings[what]:
                name = what.replace("_", " ")
                raise TrainingError(f"{out} holds a grid with {name} {found}, not {settings[what]}: choose another --out")
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(settings, indent=1) + "\n")


def _train_cells(
    recipe: Recipe, store: Store, snapshot: str, out: Path, cells: list[Cell], jobs: int, reporter: Reporter
) -> None:
    """Train the missing cells, all from the same images."""
    cache = out / CACHE
    with reporter.task("decode crops") as step:
        load_crops(store, snapshot, cache, step)
    if recipe.drawn is not None:
        with reporter.task("draw people") as step:
            drawn_crops(recipe.drawn, cache, workers=jobs, progress=step)
    pool = ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn"), initializer=init_worker)
    with reporter.task("train the grid") as step:
        try:
            futures = {pool.submit(_train_cell, recipe, cell, store.uri, snapshot, out): cell for cell in cells}
            for done, future in enumerate(as_completed(futures), start=1):
                row = _row(futures[future], future.result())
                auroc = "undefined" if row["auroc"] is None else f"{row['auroc']:.3f}"
                reporter.line(
                    f"{futures[future].name}: accuracy {row['accuracy']:.3f}, AUROC {auroc}, protocol {row['protocol']}, "
                    f"{row['seconds']:.0f} s, {done} of {len(cells)}"
                )
                step(done, len(cells))
        except BrokenProcessPool as error:
            raise TrainingError(
                f"a process that trained a cell of {out} was killed: run it again with fewer --jobs, what is done stays"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _train_cell(recipe: Recipe, cell: Cell, uri: str, snapshot: str, out: Path) -> TrainingResult:
    """Pretrain and train one cell in a process of its own."""
    assert isinstance(recipe.model, RegionConfig)
    recipe = replace(
        recipe,
        name=f"{recipe.name}-{cell.name}",
        model=replace(recipe.model, features=cell.features),
        train=replace(recipe.train, loss=cell.loss),
        pretrain=None if recipe.pretrain is None else replace(recipe.pretrain, loss=cell.loss),
    )
    folder, silent = out / CELLS / cell.name, Reporter(quiet=True)
    pretrained = None
    try:
        if recipe.pretrain is not None:
            pretrained = folder / PRETRAINED
            pretrain(recipe, pretrained, cache=out / CACHE, num_threads=1, reporter=silent)
        return train(
            recipe,
            open_store(uri),
            snapshot,
            folder,
            pretrained=pretrained,
            cache=out / CACHE,
            num_threads=1,
            reporter=silent,
        )
    except TrainingError as error:
        raise TrainingError(f"cell {cell.name}: {error}") from error
