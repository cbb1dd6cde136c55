from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from flows.erase import erase_rows, find_traces, make_receipt, pseudonyms_of, retract
from flows.erasure.content import content_tombstone
from flows.erasure.objects import Uses, bury, erase_objects
from flows.erasure.scan import Scan
from flows.erasure.traces import Traces
from vitau.catalog.catalog import FrameTable, ScoredSubject
from vitau.catalog.recordings import ClaimedClip
from vitau.catalog.tables import erasures, metadata
from vitau.data.layout import frame_name, raw_key
from vitau.errors import CatalogError, ContradictionError, ErasedError
from vitau.schema import AUS, Clip, Cohort, LedgerRow, Skipped, Split, Stage, Subject, tombstone
from vitau.store import open_store

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC).isoformat()


class Rows:
    """A workspace with a catalog only."""

    def __init__(self, catalog) -> None:
        self.catalog = catalog


@pytest.fixture
def workspace(new_catalog) -> Rows:
    """Three subjects with a clip, answers and a split each; p2 is merged into p1."""
    catalog = new_catalog()
    for name in ("p1", "p2", "p3"):
        catalog.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="s", synthetic=True))
        sha = name.ljust(64, "0")
        catalog.add_clip(Clip(sha256=sha, subject=name, source="s", suffix=".mp4", mirrored=False, synthetic=True))
        catalog.add_frame_table(
            FrameTable(clip=sha, recipe="r", key="k", num_frames=1, num_faces=1, quarantine_key="q", quarantined={})
        )
        catalog.append_answers(answers(name))
    catalog.add_splits(dict.fromkeys(("p1", "p2", "p3"), Split.TRAIN), strata=dict.fromkeys(("p1", "p2", "p3"), "palsy"))
    catalog.merge("p1", "p2", why="the same face")
    return Rows(catalog)


def answers(subject: str) -> list[LedgerRow]:
    return [
        LedgerRow(
            subject=subject,
            au=au,
            reader="a",
            stage=Stage.READER,
            affected=True,
            side=None,
            annotation=f"1-{subject}",
            version=NOON,
            answered_at=NOON,
            note="a note",
        )
        for au in AUS
    ]


def test_all_pseudonyms_of_a_person_are_found_from_any_of_them(workspace):
    assert pseudonyms_of(workspace, "p1") == pseudonyms_of(workspace, "p2") == {"p1", "p2"}
    with pytest.raises(CatalogError, match="no subject p9 is in the catalog: check the pseudonym"):
        pseudonyms_of(workspace, "p9")


def test_a_person_known_only_by_an_unfinished_ingest_is_found_and_erased_with_everything_of_the_ingest(workspace, tmp_path):
    catalog, digest = workspace.catalog, "c" * 64
    claimed = Subject(pseudonym="p5", cohort=Cohort.PALSY, source="s", synthetic=True)
    stated = Clip(sha256=digest, subject="p5", source="s", suffix=".mp4", mirrored=False, synthetic=True)
    catalog.claim_clip(claimed, stated, statement="m", work="clips/a-lease")
    catalog.add_url("an HMAC", "", digest)
    workspace.store = open_store(tmp_path)
    assert find_traces(workspace, {"p5"}).clips == ((digest, ""),), "before its first object"
    workspace.store.put(raw_key("p5", digest, ".mov"), b"bytes")
    assert "p5" not in catalog.pseudonyms()
    assert pseudonyms_of(workspace, "p5") == pseudonyms_of(workspace, tombstone("p5")) == {"p5"}
    traces = find_traces(workspace, {"p5"})
    assert traces.clips == ((digest, ".mov"),)
    catalog.begin_erasure({"p5"})
    bury(workspace, {"p5"})
    assert erase_objects(workspace, traces, Uses(snapshots=(), trained=(), damaged=()), lambda _: None) == 1
    assert pseudonyms_of(workspace, "p5") == {"p5"}, "interrupted before the rows were deleted"
    assert catalog.delete_rows_of({"p5"}) == 2
    assert catalog.ingest_claims() == []
    assert catalog.clip_of_url("an HMAC", "") is None
    catalog.forget({"p5"})
    catalog.finish_erasure({"p5"}, snapshots=[], trainings=[])
    with pytest.raises(ContradictionError, match="subject p5 was erased and cannot be added again"):
        catalog.claim_clip(claimed, stated, statement="m", work="clips/a-lease")
    with pytest.raises(ErasedError, match="was erased"):
        workspace.store.put(raw_key("p5", digest, ".mov"), b"bytes")


def test_every_answer_about_the_person_is_retracted_once_and_no_other(workspace):
    assert retract.fn(workspace, {"p1", "p2"}) == 2
    retractions = [row for row in workspace.catalog.ledger() if row.retracted]
    assert {row.subject for row in retractions} == {"p1"}
    assert {row.note for row in retractions} == {None}
    assert retract.fn(workspace, {"p1", "p2"}) == 0, "again"


def test_an_erased_person_has_no_rows_and_cannot_be_added_again(workspace):
    catalog = workspace.catalog
    clip = "p1".ljust(64, "0")
    catalog.add_unusable_frames({frame_name(clip, 0), frame_name("p3".ljust(64, "0"), 0)})
    catalog.set_skipped(
        "a manifest",
        [Skipped(item="row 2", reason=f"clip {clip[:12]} belongs to subject p1"), Skipped(item="row 3", reason="no face")],
    )
    catalog.acquire_lease("scores/m/p2", "a worker", 60)
    catalog.begin_erasure({"p1", "p2"})
    assert [subject.pseudonym for subject in catalog.subjects()] == ["p3"]
    assert [clip.subject for clip in catalog.clips()] == ["p3"], "from the start of the erasure on"
    catalog.delete_rows_of({"p1", "p2"})
    assert [clip.subject for clip in catalog.clips()] == ["p3"]
    assert len(catalog.frame_tables("r")) == 1
    assert set(catalog.splits()) == {"p3"}
    assert catalog.unusable_frames() == {frame_name("p3".ljust(64, "0"), 0)}
    assert [item.item for item in catalog.skipped()] == ["row 3"]
    assert catalog.leases() == {}
    with pytest.raises(ContradictionError, match="subject p2 was erased and cannot be added again: correct the manifest"):
        catalog.add_subject(Subject(pseudonym="p2", cohort=Cohort.PALSY, source="s", synthetic=True))


def test_an_erasure_leaves_no_visit_and_no_date_of_the_person_behind(workspace):
    catalog = workspace.catalog
    for name, visit in (("p1", "week-12"), ("p3", "baseline")):
        person = Subject(pseudonym=name, cohort=Cohort.PALSY, source="s", synthetic=True)
        sha = name.ljust(64, "0")
        stated = Clip(sha256=sha, subject=name, source="s", suffix=".mp4", synthetic=True, visit=visit, taken_at="2026-11-29")
        (table,) = catalog.frame_tables_of(sha)
        catalog.record_clip(person, ClaimedClip(clip=stated, revision=0), table, statement="m", stated=stated)
    catalog.begin_erasure({"p1", "p2"})
    catalog.delete_rows_of({"p1", "p2"})
    catalog.forget({"p1", "p2"})
    catalog.finish_erasure({"p1", "p2"}, snapshots=[], trainings=[], receipt={"deleted": {}})
    with catalog.engine.connect() as connection:
        rows = [str(row) for table in metadata.sorted_tables for row in connection.execute(sa.select(table))]
    assert [row for row in rows if "week-12" in row] == []
    assert sum("2026-11-29" in row and "baseline" in row for row in rows) == 2, "the clip of the other person and its history"


def test_after_an_erasure_the_catalog_has_tombstones_only_and_a_rerun_finds_the_person_by_either_name(workspace):
    catalog = workspace.catalog
    catalog.begin_erasure({"p1", "p2"})
    assert pseudonyms_of(workspace, tombstone("p1")) == {"p1", "p2"}
    retract.fn(workspace, {"p1", "p2"})
    catalog.delete_rows_of({"p1", "p2"})
    catalog.forget({"p1", "p2"})
    assert pseudonyms_of(workspace, "p2") == {"p2"}, "interrupted after the rows were deleted"
    catalog.finish_erasure({"p1", "p2"}, snapshots=[], trainings=[], receipt={"deleted": {}})
    assert catalog.pseudonyms() == {"p3"}
    assert {row.subject for row in catalog.ledger()} == {"p3", tombstone("p1")}
    assert [subject.pseudonym for subject in catalog.subjects()] == ["p3"]
    with pytest.raises(ContradictionError, match="a person was erased and cannot be added again"):
        catalog.add_score(ScoredSubject(model_digest="m", subject="p1", key="k", summary={}))
    with pytest.raises(ContradictionError, match="subject p1 was erased and cannot be added again"):
        catalog.add_subject(Subject(pseudonym="p1", cohort=Cohort.PALSY, source="s", synthetic=True))


def test_the_audit_trail_has_the_uses_of_the_person_and_is_not_rewritten(workspace):
    catalog = workspace.catalog
    catalog.begin_erasure({"p1"})
    assert [(erasure.subject, erasure.finished_at) for erasure in catalog.erasures()] == [(tombstone("p1"), None)]
    catalog.note_uses({"p1"}, snapshots=["s0"], trainings=["vitau-palsy/3"])
    assert catalog.note_uses({"p1"}, snapshots=["s1"], trainings=[]).snapshots == ["s0", "s1"], "those of an interrupted run"
    catalog.finish_erasure({"p1"}, snapshots=["s1"], trainings=["vitau-palsy/3"])
    (first,) = catalog.erasures()
    assert (first.snapshots, first.trainings) == (["s1"], ["vitau-palsy/3"])
    catalog.begin_erasure({"p1"})
    catalog.finish_erasure({"p1"}, snapshots=[], trainings=[])
    assert catalog.erasures() == [first]


def test_an_erasure_of_an_earlier_version_which_kept_the_pseudonym_is_finished_under_the_tombstone(workspace):
    catalog = workspace.catalog
    with catalog.engine.connect().execution_options(writing=True) as connection, connection.begin():
        old = {"subject": "p3", "finished_at": NOON, "snapshots": [], "trainings": [], "recorded_at": NOON}
        connection.execute(sa.insert(erasures), [old])
    assert "p3" not in {subject.pseudonym for subject in catalog.subjects()}
    assert pseudonyms_of(workspace, "p3") == {"p3"}
    catalog.begin_erasure({"p3"})
    assert [(erasure.subject, erasure.finished_at) for erasure in catalog.erasures()] == [(tombstone("p3"), None)]


def test_the_same_bytes_are_known_under_any_name_and_no_plain_digest_of_them_remains(workspace):
    digest = content_tombstone(b"a key of this test", "c" * 64)
    workspace.catalog.add_erased_content([digest])
    assert workspace.catalog.is_erased_content(digest)
    assert digest != content_tombstone(b"another key", "c" * 64)
    assert "c" * 12 not in digest


class KilledError(Exception):
    """Stands for a kill."""


@pytest.fixture
def with_store(workspace, tmp_path, monkeypatch):
    """The workspace with a store that has three objects of p1; the first attempt to erase them is killed after two."""
    workspace.store = store = open_store(str(tmp_path / "store"))
    workspace.settings = type("Unsigned", (), {"signing_key": None})
    for number in range(2):
        store.put(f"subjects/p1/clips/{number}/raw.mp4", b"frames")
    store.put("reports/page-of-p1.html", b"a page")
    purge = store.purge

    def killed_at_the_page(prefix):
        if prefix.startswith("reports/"):
            raise KilledError
        return purge(prefix)

    workspace.catalog.begin_erasure({"p1", "p2"})
    monkeypatch.setattr(store, "purge", killed_at_the_page)
    with pytest.raises(KilledError):
        erase_p1(workspace)
    monkeypatch.setattr(store, "purge", purge)
    return workspace


def erase_p1(workspace) -> int:
    catalog, names = workspace.catalog, frozenset({"p1", "p2"})
    number = erase_objects(
        workspace,
        Traces(names),
        Uses(snapshots=(), trained=(), damaged=()),
        lambda found: catalog.expect_deletions(names, "objects", found),
    )
    return catalog.count_deleted(names, "objects", number)


def test_the_receipt_of_a_resumed_erasure_counts_what_the_killed_attempts_deleted(with_store):
    catalog, names = with_store.catalog, {"p1", "p2"}
    assert erase_p1(with_store) == 3, "two of the attempt that was killed within the step, one of the next"
    answers = retract.fn(with_store, names)
    rows = erase_rows(with_store, names)
    counts = {
        "objects": erase_p1(with_store),
        "answers": retract.fn(with_store, names),
        "rows": erase_rows(with_store, names),
    }
    assert counts == {"objects": 3, "answers": answers, "rows": rows}, "killed before the end"
    assert (answers, rows > 10) == (2, True)
    began = catalog.erasures()[0].recorded_at
    uses = Uses(snapshots=(), trained=(), damaged=())
    receipt = make_receipt(with_store, names, counts, uses, Scan(), [])
    assert receipt["started_at"][:19] == began[:19], "the start of the first attempt"
    catalog.finish_erasure(names, snapshots=[], trainings=[], receipt=receipt)
    assert [erasure.receipt["deleted"] for erasure in catalog.erasures()] == [counts] * 2
    assert catalog.count_deleted(names, "objects", 0) == 0, "a finished receipt is not changed"


def test_an_erasure_that_was_killed_after_the_rows_were_deleted_is_finished_under_every_pseudonym(workspace):
    catalog = workspace.catalog
    catalog.begin_erasure({"p1", "p2"})
    erase_rows(workspace, {"p1", "p2"})
    names = pseudonyms_of(workspace, "p2")
    assert catalog.marks_of(names) == {tombstone("p1"), tombstone("p2")}
    catalog.finish_erasure(names, snapshots=[], trainings=[])
    assert all(erasure.finished_at for erasure in catalog.erasures())
