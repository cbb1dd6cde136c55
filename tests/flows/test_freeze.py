from types import SimpleNamespace

import pyarrow as pa

from flows import freeze as flow
from vitau.data.snapshot import load, snapshot_schema
from vitau.schema import AU, AUS, Cohort, LedgerRow, RegionLabels, Split, Stage, Subject
from vitau.store import open_store

ANSWER = LedgerRow(
    subject="anna",
    au=AU.AU1,
    reader="a",
    stage=Stage.READER,
    affected=False,
    side=None,
    annotation="1",
    version="v",
    answered_at="2026-11-23T00:00:00Z",
)


def test_a_snapshot_names_the_ledger_offset_of_its_labels_and_the_digest_of_that_row(new_catalog, tmp_path, monkeypatch):
    catalog = new_catalog()
    catalog.add_subject(Subject(pseudonym="anna", cohort=Cohort.PALSY, source="s"))
    catalog.append_answers([ANSWER])
    catalog.set_labels([RegionLabels(subject="anna", affected=dict.fromkeys(AUS, False))], ledger_offset=1)
    head = catalog.ledger_digest(1)
    catalog.append_answers([LedgerRow(**{name: getattr(ANSWER, name) for name in ANSWER.__slots__} | {"version": "w"})])
    workspace = SimpleNamespace(catalog=catalog, store=open_store(f"file://{tmp_path}/store"))
    row = {"subject": "anna", "clip": "c", "frame_index": 0, "frames_key": "k", "source": "s", "cohort": "palsy"}
    row |= {"split": Split.TRAIN.value, "side": None} | dict.fromkeys(map(str, AUS), False)
    rows = pa.Table.from_pylist([row], snapshot_schema())
    monkeypatch.setattr(flow, "open_workspace", lambda _: workspace)
    for step, found in (("assign_splits", {}), ("collect_rows", rows), ("check_people", None)):
        monkeypatch.setattr(flow, step, lambda *_, found=found: found)
    snapshot = flow.freeze.fn()
    assert (snapshot.ledger_offset, snapshot.ledger_digest) == (1, head)
    assert load(workspace.store, snapshot.digest).schema.metadata[b"vitau.ledger_digest"].decode() == head
    assert catalog.snapshots() == [snapshot]
    assert catalog.broken_ledger_rows() == {}
