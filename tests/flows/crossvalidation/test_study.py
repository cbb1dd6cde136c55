from dataclasses import replace

import pyarrow as pa
import pytest

from flows.crossvalidation.study import Study
from vitau.data.snapshot import snapshot_schema
from vitau.models.vit import ViTConfig
from vitau.schema import AUS, Protocol
from vitau.training.config import Recipe, TrainConfig


@pytest.fixture
def rows():
    """Two frames each of six palsied people and six controls."""
    people = [(f"p{number}", "palsy") for number in range(6)] + [(f"c{number}", "control") for number in range(6)]
    columns = [
        {"subject": name, "clip": name, "frame_index": index, "frames_key": name, "source": "s", "cohort": cohort, "side": None}
        | {"split": ("train", "train", "val", "test", "train", "train")[int(name[1])], **{au.value: None for au in AUS}}
        for name, cohort in people
        for index in range(2)
    ]
    return pa.Table.from_pylist(columns, schema=snapshot_schema())


@pytest.fixture
def study():
    recipe = Recipe(name="least", kind="palsy", model=ViTConfig(input_size=16, patch_size=8), train=TrainConfig())
    return Study(
        snapshot="snapshot",
        rows_digest="rows",
        recipes={"palsy": recipe},
        origins={"palsy": "a model"},
        protocols=(Protocol.SUBJECTS, Protocol.LOPO, Protocol.FRAMES),
        num_seeds=2,
    )


def keys(study, rows):
    return [task.key for task in study.tasks(rows)]


def test_every_fold_has_a_key_and_a_file_of_its_own_and_keeps_them(study, rows):
    found = keys(study, rows)
    assert len(found) == len(set(found)) == 2 * (1 + 6 + 5)
    assert len({task.file for task in study.tasks(rows)}) == len(found)
    assert keys(study, rows) == found


def test_whatever_changes_predictions_changes_every_key(study, rows):
    before = set(keys(study, rows))
    recipe = study.recipes["palsy"]
    balanced = replace(recipe, train=replace(recipe.train, balance_people=True))
    for changed in (
        replace(study, rows_digest="other rows"),
        replace(study, origins={"palsy": "another model"}),
        replace(study, recipes={"palsy": balanced}),
    ):
        assert not before & set(keys(changed, rows))


def test_the_papers_counts_change_the_folds_of_frames_alone(study, rows):
    counted = replace(study, paper_counts=True)
    before, after = ({task.key for task in plan.tasks(rows) if task.protocol is Protocol.FRAMES} for plan in (study, counted))
    assert not before & after
    others = set(keys(study, rows)) - before
    assert others <= set(keys(counted, rows))
    assert len(after) == 2
