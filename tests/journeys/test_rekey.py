"""A new pseudonym key with the real services: no old pseudonym is in any of their files, and labeling and ingest go on."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flows.demo import read_truth
from flows.local_stack import stack
from labeling.label_studio import simulated_readers
from labeling.label_studio.annotations import ReaderProject
from labeling.label_studio.client import connect
from labeling.label_studio.projects import contents_of_tasks
from vitau.catalog.rekeying.keys import PseudonymKeys
from vitau.schema import Stage

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]

NEW_KEY = "another key, since the first one leaked"


def test_nobody_is_lost_and_no_old_pseudonym_remains_in_any_file_of_the_services(command, people, tmp_path, logged_in):
    state = tmp_path / "state"
    shutil.copytree(people, tmp_path / "people")
    try:
        assert command("flows", "up", "--state", state).code == 0
        assert command("flows", "ingest", tmp_path / "people" / "manifest.csv", "--state", state).code == 0
        assert command("flows", "annotate", "--state", state).code == 0
        environment = stack.environment(state, stack.running(state))
        old = names(state)
        label(environment, people, old)
        labeled = json.loads(command("flows", "annotate", "--state", state).out)
        assert labeled["new_answers"] > 0
        command("flows", "status", "--state", state, "--page", state / "labeling.html")
        assert raw_hits(state, old)

        new = {"VITAU_NEW_PSEUDONYM_KEY": NEW_KEY}
        plan = command("flows", "rekey", "--dry-run", "--state", state, env=new)
        assert plan.code == 0, plan.err
        assert json.loads(plan.out) == {
            "people": 3,
            "erased": 0,
            "objects": json.loads(plan.out)["objects"],
            "tasks": 2,
            "ledger_rows": labeled["ledger_offset"],
            "snapshots": 0,
            "problems": [],
        }
        done = command("flows", "rekey", "--yes", "--state", state, env=new)
        assert done.code == 0, done.err
        assert json.loads(done.out)["counts"]["tasks"] == 2
        assert raw_hits(state, old) == {}
        assert names(state).isdisjoint(old)
        assert len(names(state)) == 3

        again = command("flows", "ingest", tmp_path / "people" / "manifest.csv", "--state", state)
        assert json.loads(again.out)["new_clips"] == json.loads(again.out)["skipped"] == 0, "the stack has the new key"
        labeled_again = json.loads(command("flows", "annotate", "--whole", "--state", state).out)
        assert (labeled_again["new_answers"], labeled_again["ledger_offset"]) == (0, labeled["ledger_offset"])
        assert command("flows", "labels", "verify", "--state", state).code == 0
        assert command("flows", "fsck", "--state", state).code == 0
        client = connect(environment["VITAU_LABEL_STUDIO_URL"], environment["VITAU_LABEL_STUDIO_TOKEN"])
        tasks = contents_of_tasks(client)
        assert len(tasks) == 2
        assert all(any(name in text for name in names(state)) for _, text in tasks)
    finally:
        stack.stop(state)


def names(state: Path) -> set[str]:
    with closing(sqlite3.connect(f"file:{state / 'catalog.db'}?mode=ro", uri=True)) as catalog:
        return {name for (name,) in catalog.execute("SELECT pseudonym FROM subjects")}


def label(environment: dict[str, str], people: Path, known: set[str]) -> None:
    """Answer every open task, as two readers do."""
    client = connect(environment["VITAU_LABEL_STUDIO_URL"], environment["VITAU_LABEL_STUDIO_TOKEN"])
    truths = read_truth(people / "truth.csv", PseudonymKeys(present=environment["VITAU_PSEUDONYM_KEY"].encode()), known)
    for project in client.projects.list(page_size=100):
        reader = ReaderProject(id=project.id, title=project.title, reader="", stage=Stage.READER)
        simulated_readers.answer_open_tasks(client, reader, truths, seed=1)


def raw_hits(state: Path, old: set[str]) -> dict[str, str]:
    """Return the files with an old pseudonym in their names, bytes or tables."""
    import pyarrow.parquet as pq

    found = {}
    for path in state.rglob("*"):
        if not path.is_file():
            continue
        try:
            text = f"{path.relative_to(state)} {path.read_bytes().decode('latin-1')}"
            if path.suffix == ".parquet":
                text += str(pq.read_table(path, columns=["subject"]).to_pylist()) if "frames-" in path.name else ""
        except FileNotFoundError:  # a service deleted it
            continue
        if any(name in text for name in old):
            found[path.relative_to(state).as_posix()] = "an old pseudonym"
    return found
