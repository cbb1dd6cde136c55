"""Lineage in both directions on a real catalog and store; no service runs."""

import io
import json
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.erasure.objects import find_uses
from flows.promotion.retrain_trigger import marked_in_use
from flows.reports.lineage import Node, lineage, tree
from flows.workspace import Workspace
from tests.flows.workspaces import offline_settings
from vitau.catalog.catalog import FrameTable, ScoredSubject, Training
from vitau.catalog.promotion_log import Action
from vitau.data import snapshot as snapshots
from vitau.data.layout import snapshot_key
from vitau.errors import CatalogError, RegistryError
from vitau.schema import AUS, Clip, Cohort, LedgerRow, Split, Stage, Subject

PEOPLE = {"anna-0": Split.TRAIN, "bert-0": Split.VAL, "cleo-0": Split.TEST}
DIGESTS = {"vitau-palsy": "a" * 64, "vitau-regions": "b" * 64}


@pytest.fixture
def workspace(tmp_path: Path):
    """Three people with a clip each, one snapshot with both models, a score; cleo and klio were merged."""
    settings = offline_settings(tmp_path, signing_key="signs in these tests only")
    opened = Workspace(settings)
    catalog, rows = opened.catalog, []
    for number, (name, split) in enumerate(PEOPLE.items()):
        catalog.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="yfp"))
        clip = f"{number}c" * 32
        catalog.add_clip(Clip(sha256=clip, subject=name, source="yfp", suffix=".mp4"))
        key = f"subjects/{name}/clips/{clip}/frames-r.parquet"
        catalog.add_frame_table(
            FrameTable(clip=clip, recipe="r", key=key, num_frames=3, num_faces=3, quarantine_key="q", quarantined={"dark": 1})
        )
        rows += [
            {"subject": name, "clip": clip, "frame_index": frame, "frames_key": key, "source": "yfp", "cohort": "palsy"}
            | {"split": split.value, "side": None, **dict.fromkeys(AUS, False)}
            for frame in range(2)
        ]
    catalog.add_subject(Subject(pseudonym="klio-0", cohort=Cohort.PALSY, source="yfp"))
    catalog.append_answers([answer("klio-0"), answer("anna-0")])
    frozen = snapshots.freeze(pa.Table.from_pylist(rows, snapshots.snapshot_schema()), opened.store, 2)
    catalog.add_snapshot(frozen)
    for model, digest in DIGESTS.items():
        metrics = {"recognition": "vitau-palsy/1"} if model == "vitau-regions" else {}
        catalog.add_training(
            Training(
                key=model,
                model=model,
                recipe=f"tiny-{model.removeprefix('vitau-')}",
                snapshot=frozen.digest,
                model_digest=digest,
                model_key=f"models/{digest}",
                version=1,
                run_id=f"run-{model}",
                metrics=metrics,
            )
        )
    facts = {"model": "vitau-regions", "version": 1, "action": Action.PROMOTED, "before": None, "after": 1, "by": "a test"}
    catalog.append_promotion(facts, key=b"signs in these tests only")
    key = f"scores/{'b' * 64}/cleo-0/frames.parquet"
    sink = io.BytesIO()
    pq.write_table(pa.table({"input": ["2c" * 32] * 2}), sink)
    opened.store.put(key, sink.getvalue())
    summary = {"palsied": True, "palsy_score": 0.93}
    catalog.add_score(ScoredSubject(model_digest="b" * 64, subject="cleo-0", key=key, summary=summary))
    catalog.merge("cleo-0", "klio-0", why="same face")
    yield opened
    catalog.engine.dispose()


def answer(subject: str) -> LedgerRow:
    return LedgerRow(
        subject=subject,
        au=AUS[0],
        reader="reader-a",
        stage=Stage.READER,
        affected=False,
        side=None,
        annotation=subject,
        version="1",
        answered_at="2026-11-25T10:00:00Z",
    )


def items(node: Node) -> list[tuple[str, str]]:
    return [(node.kind, node.name), *(item for below in node.leads_to for item in items(below))]


@pytest.mark.parametrize("name", ["scores/{b}/cleo-0/frames.parquet", "{b}/cleo-0", "bbbbbb/cle"])
def test_a_score_leads_back_to_model_run_snapshot_ledger_and_clips(workspace, name):
    found = lineage(workspace, name.format(b="b" * 64))
    digest = workspace.catalog.snapshots()[0].digest
    assert items(found) == [
        ("score", f"scores/{'b' * 64}/cleo-0/frames.parquet"),
        ("model version", "vitau-regions/1"),
        ("snapshot", digest),
        ("ledger offset", "2"),
        ("clips of train people", "1"),
        ("clips of val people", "1"),
        ("clips of test people", "1"),
        ("recognition", "vitau-palsy/1"),
    ]
    (version,) = found.leads_to
    assert (version.facts["run"], version.facts["decision"]) == ("run-vitau-regions", "promoted (record 1)")
    assert version.leads_to[0].leads_to[1].facts["clips"] == ["0c" * 32]
    assert found.facts["clips"] == ["2c" * 32]


@pytest.mark.parametrize("name", ["0c" * 32, "0c0c0c"])
def test_a_clip_leads_to_every_model_that_was_trained_on_it(workspace, name):
    found = lineage(workspace, name)
    assert (found.kind, found.facts["subject"]) == ("clip", "anna-0")
    assert [kind for kind, _ in items(found)] == ["clip", "frame table", "snapshot", "model version", "model version"]
    frozen = next(node for node in found.leads_to if node.kind == "snapshot")
    assert (frozen.facts["split"], frozen.facts["ledger offset"]) == ("train", 2)
    assert [(node.name, node.facts["use"]) for node in frozen.leads_to] == [
        ("vitau-palsy/1", "trained on"),
        ("vitau-regions/1", "trained on"),
    ]


def test_a_clip_has_its_visit_and_date_if_they_are_stated(workspace):
    assert lineage(workspace, "0c" * 32).facts == {"subject": "anna-0", "source": "yfp"}
    stated = Clip(sha256="4c" * 32, subject="anna-0", source="yfp", suffix=".mp4", visit="week-12", taken_at="2031-03-01")
    workspace.catalog.add_clip(stated)
    facts = lineage(workspace, stated.sha256).facts
    assert (facts["visit"], facts["recorded at"]) == ("week-12", "2031-03-01")


@pytest.mark.parametrize("name", ["cleo-0", "klio-0", "klio-0"[:6]])
def test_a_person_is_followed_under_every_name(workspace, name):
    found = lineage(workspace, name)
    assert (found.name, found.facts["also called"]) == ("cleo-0", ["klio-0"])
    assert (found.facts["answers"], found.facts["last answer at ledger offset"]) == (1, 1)
    assert [node.kind for node in found.leads_to] == ["snapshot", "score"]
    assert found.leads_to[0].leads_to[0].facts["use"] == "tested on"


def test_a_version_a_digest_and_a_snapshot_are_found_by_name(workspace):
    snapshot = workspace.catalog.snapshots()[0].digest
    assert lineage(workspace, "models:/vitau-palsy/1") == lineage(workspace, "a" * 64) == lineage(workspace, "aaaaaa")
    assert lineage(workspace, "run-vitau-palsy") == lineage(workspace, "vitau-palsy/1")
    assert lineage(workspace, snapshot[:10]).name == snapshot
    with pytest.raises(RegistryError, match="no version 7 of vitau-palsy was trained here; there are 1"):
        lineage(workspace, "vitau-palsy/7")


def test_a_damaged_manifest_is_shown_with_its_models_and_does_not_stop_lineage(workspace):
    damaged, key = workspace.catalog.snapshots()[0].digest, "subjects/bert-0/frames-r.parquet"
    row = {"subject": "anna-0", "clip": "0c" * 32, "frame_index": 7, "frames_key": key, "source": "yfp", "cohort": "palsy"}
    rows = [row | {"split": "test", "side": None, **dict.fromkeys(AUS, False)}]
    whole = snapshots.freeze(pa.Table.from_pylist(rows, snapshots.snapshot_schema()), workspace.store, 2)
    workspace.catalog.add_snapshot(whole)
    workspace.store.erase(snapshot_key(damaged))
    workspace.store.put(snapshot_key(damaged), b"not a table")
    found = lineage(workspace, "anna-0")
    assert [(node.kind, node.name) for node in found.leads_to] == [("damaged snapshot", damaged), ("snapshot", whole.digest)]
    assert "is not a Parquet file any more" in found.leads_to[0].facts["problem"]
    assert [node.name for node in found.leads_to[0].leads_to] == ["vitau-palsy/1", "vitau-regions/1"]
    assert found.leads_to[1].facts["split"] == "test"
    version = lineage(workspace, "vitau-palsy/1")
    assert [node.kind for node in version.leads_to] == ["damaged snapshot"]
    assert [node.name for node in version.leads_to[0].leads_to] == ["2"], "the ledger offset is known"
    workspace.store.erase(snapshot_key(damaged))
    assert "no object at" in lineage(workspace, "anna-0").leads_to[0].facts["problem"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nobody", "no item is named nobody"),
        ("0c", "no item is named 0c"),
        ("ff/nobody", "0 scores match ff/nobody"),
    ],
)
def test_an_unknown_name_is_one_sentence(workspace, name, words):
    with pytest.raises(CatalogError, match=f"^{words}") as caught:
        lineage(workspace, name)
    assert "\n" not in str(caught.value)


def test_the_tree_abbreviates_and_the_json_has_everything(workspace):
    found = lineage(workspace, "cleo-0")
    lines = list(tree(found))
    assert lines[0].startswith("subject cleo-0  (cohort: palsy  source: yfp  also called: klio-0  clips: 2c2c2c2c2c2c")
    assert lines[2].startswith("    model version vitau-palsy/1  (use: tested on  recipe: tiny-palsy")
    assert json.loads(json.dumps(asdict(found)))["leads_to"][1]["facts"]["palsy score"] == 0.93


@pytest.mark.parametrize(("name", "trained_on_them"), [("anna-0", True), ("bert-0", True), ("cleo-0", False)])
def test_an_erasure_lists_versions_trained_on_a_person_and_none_that_was_only_tested_on_them(workspace, name, trained_on_them):
    uses = find_uses(workspace, {name})
    assert uses.snapshots == (workspace.catalog.snapshots()[0].digest,)
    assert uses.trained == (("vitau-palsy/1", "vitau-regions/1") if trained_on_them else ())


def test_a_version_that_learned_from_an_erased_person_is_marked_in_both_directions(workspace):
    workspace.catalog.begin_erasure({"anna-0"})
    assert "retrain" not in str(lineage(workspace, "vitau-regions/1"))
    workspace.catalog.note_uses({"anna-0"}, snapshots=[], trainings=["vitau-palsy/1"])
    mark = "it learned from a person who was erased"
    regions = lineage(workspace, "vitau-regions/1")
    assert "retrain" not in regions.facts
    assert next(node for node in regions.leads_to if node.kind == "recognition").facts["retrain"] == mark
    assert lineage(workspace, "vitau-palsy/1").facts["retrain"] == mark
    snapshot = next(node for node in lineage(workspace, "bert-0").leads_to if node.kind == "snapshot")
    assert [node.facts.get("retrain") for node in snapshot.leads_to] == [mark, None]
    assert f"retrain: {mark}" in "\n".join(tree(lineage(workspace, "vitau-palsy/1")))
    assert marked_in_use(workspace) == ["vitau-palsy/1"]
