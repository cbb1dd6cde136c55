"""A pretraining in a process of its own: none is started for one that is complete."""

import sys

import pytest

from flows.retraining.recipes import pretraining_folder
from flows.retraining.training import pretrain
from flows.workspace import Workspace
from tests.flows.workspaces import offline_settings
from vitau.models.checkpoint import model_digest
from vitau.training import run
from vitau.training.recipes import find_recipe
from vitau.training.start import MODEL

RECIPE = "smoke-palsy"


@pytest.fixture
def make_workspace(tmp_path):
    """Return a function from the name of a machine to its workspace; all have one store and one catalog."""
    made = []

    def make(name: str) -> Workspace:
        settings = offline_settings(tmp_path, work=tmp_path / name / "work")
        made.append(Workspace(settings))
        return made[-1]

    yield make
    for workspace in made:
        workspace.catalog.engine.dispose()


def test_a_complete_pretraining_starts_no_process_here_or_on_another_machine(make_workspace, monkeypatch):
    here, there = make_workspace("here"), make_workspace("there")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(FileNotFoundError, match="/nowhere/python"):
        pretrain.fn(here, RECIPE, print)
    trained = pretraining_folder(here, RECIPE)
    monkeypatch.undo()
    run.pretrain(find_recipe(RECIPE), trained)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert pretrain.fn(here, RECIPE, print) == trained
    fetched = pretrain.fn(there, RECIPE, print)
    assert fetched != trained
    assert model_digest(fetched / MODEL) == model_digest(trained / MODEL)
