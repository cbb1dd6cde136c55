"""A person is erased on PostgreSQL and SeaweedFS: the flows go on, and no file of the services has anything of the person.

The stack of `up --profile full` is real and started for this module; 12 people are drawn, as in the short demo.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from flows.local_stack import stack
from tests.journeys.raw_scan import search
from tests.journeys.test_erasure import Erased, erase_and_go_on, output, person_in
from vitau.schema import Split, tombstone

pytestmark = [pytest.mark.journey, pytest.mark.full, pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def erased(command) -> Iterator[Erased]:
    state = Path(tempfile.mkdtemp(prefix="vitau-erasure-"))  # PostgreSQL's user may not enter pytest's folder
    try:
        started = command("flows", "up", "--state", state, "--profile", "full")
        assert started.code == 0, started.err
        demo = command("flows", "demo", "--state", state, "--subjects", 12, "--size", "smoke")
        assert demo.code == 0, demo.err
        environment = stack.environment(state, stack.running(state))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(boto3, "DEFAULT_SESSION", None)  # it caches the keys of the first session
            pseudonym, person = person_in(environment, Split.TRAIN)
        yield erase_and_go_on(command, state, pseudonym, person)
    finally:
        stack.stop(state)
        shutil.rmtree(state, ignore_errors=True)


def test_the_erasure_leaves_nothing_to_do_by_hand(erased):
    run = erased.runs["erase"]
    assert run.code == 0, run.err
    receipt = output(run)["receipt"]
    assert (receipt["erased"], receipt["by_hand"]) == ([tombstone(erased.pseudonym)], [])
    assert set(receipt["traces_found"].values()) == {0}


@pytest.mark.parametrize("name", ["rescore", "monitor", "promote", "annotate", "status"])
def test_every_flow_goes_on_without_the_person(erased, name):
    run = erased.runs[name]
    assert run.code == 0, run.err
    assert erased.pseudonym not in run.out + run.err
    if name in {"rescore", "monitor"}:
        assert output(run)["erased"] == 1
    if name == "status":
        assert output(run)["retrain"] == ["vitau-palsy/1", "vitau-regions/1"]


def test_no_byte_of_the_person_and_no_name_is_in_any_file_of_the_services(erased):
    assert {name.partition("/")[0] for name in erased.before} >= {"seaweedfs", "postgresql", "cohort"}
    assert any("filerldb2" in name for name in erased.before)
    assert search(erased.state, erased.person) == {}
