"""``python -m flows.studies.core_folds SNAPSHOT OUT``: the folds of `crossvalidate` alone, for a benchmark."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from flows.crossvalidation.crossvalidate import conclude, plan, train_folds
from flows.crossvalidation.folder import only_run
from flows.crossvalidation.study import Study
from flows.erasure.living import LivingRows, load_living
from flows.workspace import open_workspace
from vitau.data.protocols import Task
from vitau.schema import Protocol
from vitau.training.recipes import find_recipe

RECIPES: Final[Mapping[Task, str]] = {"palsy": "tiny-palsy", "regions": "tiny-regions"}


def plan_folds(snapshot: str, living: LivingRows) -> Study:
    """Plan one training of each fold of both tiny models, which are not pretrained, one person left out."""
    recipes = {task: replace(find_recipe(name), pretrain=None, drawn=None) for task, name in RECIPES.items()}
    return plan(snapshot, living, recipes, (Protocol.LOPO,), num_seeds=1)


def main(snapshot: str, out: Path) -> None:
    """Train the folds and write all that `crossvalidate` writes."""
    workspace = open_workspace()
    living = load_living(workspace, snapshot)
    study = plan_folds(snapshot, living)
    with only_run(out):
        conclude(study, living, train_folds(workspace, study, living, {}, out), out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
