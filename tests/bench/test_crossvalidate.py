"""The benchmark of a cross-validation, with two folds."""

from dataclasses import replace

from vitau.bench.pipelines import crossvalidate
from vitau.training.recipes import tiny_palsy


def test_shared_and_separate_folds_predict_the_same(monkeypatch):
    monkeypatch.setattr(crossvalidate, "DRAWN_PER_PERSON", 3)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})  # drawing in this process starts no other one
    recipe = tiny_palsy()
    quick = replace(recipe, train=replace(recipe.train, epochs=1), pretrain=replace(recipe.pretrain, epochs=1))
    (case,) = crossvalidate.bench(1, num_people=12, num_folds=2, recipe=quick).cases
    assert case.max_difference == 0
    assert case.name.startswith("2 folds")
    assert case.floors["training alone"] > 0
