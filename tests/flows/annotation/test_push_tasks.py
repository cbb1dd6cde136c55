"""Disagreements for the adjudicator, computed without a service."""

from dataclasses import replace

import pytest

from flows.annotation.push_tasks import adjudication_cases, shows_measures, with_after
from flows.settings import Settings
from labeling.consensus.consensus import Consensus, Disagreement, consensus
from labeling.sampling.staleness import Stale
from vitau.schema import AU, AUS, Stage

NOTHING = consensus([], ("a", "b"))


def stale(subject: str, stage: Stage) -> Stale:
    return Stale(reader="a", stage=stage, subject=subject, difference=1.0)


@pytest.fixture
def state() -> Consensus:
    """A dispute about p1, and a ruling about p2."""
    dispute = Disagreement(subject="p1", regions=(AU.AU1,), side=True)
    return replace(NOTHING, disagreements=(dispute,), adjudicated=("p2",))


def test_a_disagreement_is_settled_in_its_regions_and_a_stale_ruling_in_all(state):
    assert adjudication_cases(NOTHING, []) == {}
    assert adjudication_cases(state, []) == {"p1": ((AU.AU1,), True)}
    cases = adjudication_cases(state, [stale("p2", Stage.ADJUDICATION), stale("p3", Stage.ADJUDICATION)])
    assert cases == {"p1": ((AU.AU1,), True), "p2": (AUS, True)}


def test_a_person_waits_for_the_adjudicator_while_a_reader_is_asked_again(state):
    asked_again = [stale("p1", Stage.READER), stale("p2", Stage.READER), stale("p2", Stage.ADJUDICATION)]
    assert adjudication_cases(state, asked_again) == {}


@pytest.mark.parametrize(
    ("setting", "stages"),
    [(None, {Stage.ADJUDICATION}), ("nobody", set()), ("adjudicator", {Stage.ADJUDICATION}), ("everybody", set(Stage))],
)
def test_blind_readers_see_no_measures_unless_a_setting_says_so(setting, stages):
    given = {} if setting is None else {"show_measures": setting}
    settings = Settings(
        store="store",
        catalog="sqlite:///c",
        pseudonym_key="a key that only this test knows",
        label_studio_url="http://127.0.0.1:9",
        label_studio_token="none",
        mlflow_url="http://127.0.0.1:9",
        **given,
    )
    assert {stage for stage in Stage if shows_measures(settings, stage)} == stages


def test_a_task_has_the_number_of_earlier_answers_and_the_original_stays():
    task = {"data": {"subject": "p1", "after": 0}}
    assert with_after(task, 2) == {"data": {"subject": "p1", "after": 2}}
    assert task["data"]["after"] == 0
