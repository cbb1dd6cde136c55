"""Benchmark of a cross-validation against a separate training per fold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vitau.bench.measure import Result, Watch, compare, rate
from vitau.bench.pipelines.loader import write
from vitau.data.dataset import load_crops
from vitau.data.protocols import FrameFold, divide
from vitau.progress import Reporter
from vitau.schema import Protocol
from vitau.store import open_store
from vitau.training.config import Recipe
from vitau.training.crossvalidation.fold import train_fold
from vitau.training.recipes import tiny_palsy
from vitau.training.run import pretrain, shrunk

DRAWN_PER_PERSON: Final = 10
"""Drawn people of the pretraining per person of the cohort; the demo has 80, with which sharing the pretraining saves more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """A cohort in a store, the recipe, and the folds."""

    folder: Path
    digest: str
    recipe: Recipe
    folds: Sequence[FrameFold]


def bench(
    rounds: int = 1, watch: Watch = lambda *_: None, *, num_people: int = 32, num_folds: int = 21, recipe: Recipe | None = None
) -> Result:
    """Train the tiny recognition model on each fold of a cohort, one person left out, in one thread.

    Ours decodes the crops once and pretrains once on drawn people, as `crossvalidate` does. The baseline starts every fold
    from nothing: it decodes, draws people, pretrains and trains. Both have the same seeds, and give the same predictions.

    Args:
        rounds: paired measurements, after one to warm up.
        watch: called after every round.
        num_people: drawn people of the cohort, each with a frame per task.
        num_folds: most folds.
        recipe: of recognition; by default `tiny-palsy`.
    """
    with TemporaryDirectory() as folder:
        study = _study(Path(folder), num_people, num_folds, recipe or tiny_palsy())
        case = compare(
            f"{len(study.folds)} folds of {num_people} drawn people",
            partial(_run, study, shared=True),
            partial(_run, study, shared=False),
            _judge,
            amount=len(study.folds),
            unit="folds/s",
            rounds=rounds,
            watch=watch,
            at_least=3.0,
            floors={"training alone": rate(_prepared(study), len(study.folds), 1)},
        )
    return Result(
        name="crossvalidate",
        compared="folds of a cross-validation beside as many separate trainings",
        difference="of the predicted probabilities",
        cases=(case,),
    )


def _study(folder: Path, num_people: int, num_folds: int, recipe: Recipe) -> Study:
    frames = write(folder, num_people)
    assert recipe.drawn is not None
    recipe = replace(recipe, drawn=replace(recipe.drawn, num_people=DRAWN_PER_PERSON * num_people))
    crops = frames.crops
    folds = divide(Protocol.LOPO, subject_N=crops.subject_N, palsied_N=crops.palsied_N, split_N=crops.split_N, seed=0)
    return Study(folder=folder, digest=frames.digest, recipe=recipe, folds=list(folds)[:num_folds])


def _run(study: Study, *, shared: bool) -> NDArray[Any]:
    """Return the scores of all test frames; ``shared``: crops and pretraining are those of all folds."""
    with TemporaryDirectory(dir=study.folder) as own:
        if shared:
            return _train(study, study.folds, Path(own))
        parts = []
        for number, fold in enumerate(study.folds):
            parts.append(_train(study, [fold], Path(own) / str(number)))
        return np.concatenate(parts)


def _train(study: Study, folds: Sequence[FrameFold], folder: Path) -> NDArray[Any]:
    pretrain(study.recipe, folder / "pretrained", num_threads=1, reporter=Reporter(quiet=True))
    return _trained(study, folds, folder)


def _trained(study: Study, folds: Sequence[FrameFold], folder: Path) -> NDArray[Any]:
    crops = load_crops(open_store(study.folder / "store"), study.digest, folder / "cache")
    crops = shrunk(crops, study.recipe.model_input_size)
    tables = [
        train_fold(study.recipe, crops, fold, folder / "fold", identity="bench", pretrained=folder / "pretrained")
        for fold in folds
    ]
    return np.concatenate([table["score"].to_numpy() for table in tables])


def _prepared(study: Study) -> Callable[[], object]:
    """Return the training of all folds, whose pretraining is done."""
    folder = study.folder / "prepared"
    pretrain(study.recipe, folder / "pretrained", num_threads=1, reporter=Reporter(quiet=True))
    return partial(_trained, study, study.folds, folder)


def _judge(mine: NDArray[Any], theirs: NDArray[Any]) -> Mapping[str, float]:
    return {"max_difference": float(np.abs(mine - theirs).max())}
