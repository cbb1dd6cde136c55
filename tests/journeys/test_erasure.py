"""A person of the demo is erased: every flow goes on without the person, and no file has anything of the person.

The erasure runs on a copy of the demo with services of its own, whose files are then searched byte by byte.
"""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.local_stack import stack
from tests.journeys.raw_scan import Person, person_of, search
from vitau.catalog.catalog import open_catalog
from vitau.schema import Cohort, Split, tombstone
from vitau.store import open_store

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]


@dataclass(frozen=True, kw_only=True)
class Erased:
    """The copy of the demo, the person's traces, the files that had them, and the results of the commands by name."""

    state: Path
    pseudonym: str
    person: Person
    before: dict[str, str]
    runs: dict[str, Any]


@pytest.fixture(scope="module")
def erased(demos, command, tmp_path_factory) -> Iterator[Erased]:
    state = tmp_path_factory.mktemp("erased")
    copy_state(demos.whole, state)
    stored = {"VITAU_STORE": (state / "store").as_uri(), "VITAU_CATALOG": f"sqlite:///{state / 'catalog.db'}"}
    pseudonym, person = person_in(stored, Split.TEST)
    try:
        started = command("flows", "up", "--state", state)
        assert started.code == 0, started.err
        yield erase_and_go_on(command, state, pseudonym, person)
    finally:
        stack.stop(state)


def person_in(environment: Mapping[str, str], split: Split) -> tuple[str, Person]:
    """Return a patient of a split, and what identifies the patient in bytes."""
    catalog, store = open_catalog(environment["VITAU_CATALOG"]), open_store(environment["VITAU_STORE"])
    people = [name for name, own in catalog.splits().items() if own is split]
    patients = {subject.pseudonym for subject in catalog.subjects() if subject.cohort is Cohort.PALSY}
    pseudonym = min(people, key=lambda name: (name not in patients, name))
    digests = [clip.sha256 for clip in catalog.clips() if clip.subject == pseudonym]
    catalog.engine.dispose()
    return pseudonym, person_of(pseudonym, digests, {key: store.get(key) for key in store.keys("") if pseudonym in key})


def erase_and_go_on(command: Callable[..., Any], state: Path, pseudonym: str, person: Person) -> Erased:
    """Search the files, erase a person, and run the flows that read snapshots or make tasks."""
    snapshot = json.loads((state / "summary.json").read_text())["snapshot"]
    before = search(state, person)
    runs = {
        name: command("flows", name, *arguments, "--state", state)
        for name, arguments in {
            "erase": [pseudonym, "--yes"],
            "rescore": [snapshot, "--out", state / "report.html"],
            "monitor": ["--out", state / "monitor.html"],
            "promote": [],
            "annotate": [],
            "status": ["--json"],
        }.items()
    }
    return Erased(state=state, pseudonym=pseudonym, person=person, before=before, runs=runs)


def copy_state(source: Path, state: Path) -> None:
    """Copy a state folder, whose databases may be in use."""
    databases = [path for path in source.rglob("*") if path.suffix in {".db", ".sqlite3"}]
    skipped = shutil.ignore_patterns("*.db*", "*.sqlite3*", "services.json", "supervisor.json", "lock")
    shutil.copytree(source, state, ignore=skipped, dirs_exist_ok=True)
    for path in databases:
        with closing(sqlite3.connect(path)) as used, closing(sqlite3.connect(state / path.relative_to(source))) as copied:
            used.backup(copied)


def output(run: Any) -> Any:
    return json.loads(run.out)


def test_the_receipt_counts_what_was_deleted_and_names_nobody(erased):
    run = erased.runs["erase"]
    assert run.code == 0, run.err
    receipt = output(run)["receipt"]
    assert receipt["erased"] == [tombstone(erased.pseudonym)]
    assert receipt["deleted"]["objects"] > 4
    assert set(receipt["traces_found"].values()) == {0}
    assert receipt["by_hand"] == []
    assert erased.pseudonym not in run.out + run.err


@pytest.mark.parametrize("name", ["rescore", "monitor", "promote", "annotate", "status"])
def test_every_flow_goes_on_without_the_person(erased, name):
    run = erased.runs[name]
    assert run.code == 0, run.err
    if name in {"rescore", "monitor"}:
        assert output(run)["erased"] == 1
    assert erased.pseudonym not in run.out + run.err


def test_no_byte_of_the_person_and_no_name_is_in_any_file_of_the_services_and_flows(erased):
    places = {name.partition("/")[0] for name in erased.before}
    assert places >= {"store", "catalog.db", "label-studio", "cohort", "report.html"}
    assert any(what.startswith("bytes ") for what in erased.before.values()), "the search finds bytes of recordings"
    assert search(erased.state, erased.person) == {}
