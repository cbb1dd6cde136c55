"""A new pseudonym key: nobody is lost, nothing is done twice, and no old pseudonym remains; killed before every write."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
import sqlalchemy as sa

from flows import freeze, ingest
from flows.doctor.fsck import fsck
from flows.erasure.databases import compact_sqlite
from flows.execution.admission import Admissions
from flows.execution.clip_worker import clip_work_name
from flows.execution.executor import Engine
from flows.execution.leases import LeaseHolder
from flows.rekeying import objects as rekeyed_objects
from flows.rekeying.rekey import STEPS, change_key, find_problems
from flows.reports.lineage import lineage
from flows.settings import SettingsError
from flows.workspace import Workspace
from tests.chaos.backends import seaweedfs
from vitau.catalog.leases import REKEYING
from vitau.catalog.rekeying import journal
from vitau.catalog.rekeying.keys import renamed
from vitau.catalog.signing import canonical, public_key, verify
from vitau.catalog.tables import key_fingerprints, metadata
from vitau.data import layout
from vitau.data import snapshot as snapshots
from vitau.errors import CatalogError
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import SourceClip
from vitau.schema import Cohort, Skipped, tombstone
from vitau.store import FolderStore

KEY, NEW_KEY, THIRD_KEY = "the first key of these tests", "the second key, which replaces it", "a third key, 0123456789"
SIGNING_KEY = "signs in these tests only"
RECIPE = FrameRecipe()
WITHOUT_SERVICES = {name: step for name, step in STEPS.items() if name not in {"tasks", "runs"}}
SQLITE = pytest.mark.parametrize("new_catalog", ["sqlite"], indirect=True)


class KilledError(BaseException):
    """The death of the process."""


def change(study, key: str = KEY, new_key: str = NEW_KEY):
    return change_key(study.under(key, new_key), WITHOUT_SERVICES, lambda _: [])


def ingest_again(study, key: str) -> list[ingest.Outcome]:
    return ingest.ingest_clips(study.under(key), study.sources, RECIPE, Engine.LOCAL)


def under_new_key(study) -> dict[str, str]:
    """Return the new pseudonym of every person, by identifier of the source."""
    return {person: renamed(NEW_KEY.encode(), name) for person, name in study.names.items()}


def check_study(study, key: str = NEW_KEY) -> None:
    """Everything that the study states of its people is still stated, and everyone is known to the next ingest."""
    catalog, store, names = study.workspace.catalog, study.workspace.store, under_new_key(study)
    assert {clip.subject for clip in catalog.all_clips()} <= set(names.values())
    assert {(clip.visit, clip.taken_at) for clip in catalog.all_clips()} == {("week-12", "2031-03-01")}
    merged = catalog.merged_names()
    assert {person: catalog.splits()[merged.get(name, name)] for person, name in names.items()} == study.splits
    assert catalog.broken_ledger_rows() == {}
    assert fsck(store, catalog).defects == ()
    outcomes = ingest_again(study, key)
    assert [(outcome.new, outcome.cut) for outcome in outcomes] == [(False, False)] * len(study.sources)
    first, second = catalog.snapshots()
    rows = snapshots.load(store, first.digest)
    assert set(rows["subject"].to_pylist()) == set(names.values())
    assert all(map(store.exists, rows["frames_key"].to_pylist()))
    assert rows.schema.metadata[b"vitau.ledger_digest"].decode() == first.ledger_digest == catalog.ledger_digest(32)
    for person, name, split in zip(names, rows["subject"].to_pylist(), rows["split"].to_pylist(), strict=False):
        assert name in names.values(), (person, split)
    assert list(snapshots.erased_people(snapshots.load(store, second.digest))) == [erased_name()]


def erased_name(key: str = NEW_KEY) -> str:
    from vitau.media.sources import pseudonym

    return renamed(key.encode(), tombstone(pseudonym(KEY.encode(), "synthetic", "gone")))


def old_names(study) -> set[str]:
    from vitau.media.sources import pseudonym

    gone = pseudonym(KEY.encode(), "synthetic", "gone")
    return {*study.names.values(), gone, tombstone(gone)}


def test_everyone_keeps_everything_under_another_name(study):
    summary = change(study)
    assert (summary.changed, summary.people) == (True, 5), "four people and a tombstone"
    assert summary.counts["copied objects"] == 5 * 4 + 2 + 1
    assert summary.counts["deleted objects"] == summary.counts["copied objects"]
    assert summary.counts["manifests"] == 2
    assert summary.counts["pages"] == 2
    catalog, names = study.workspace.catalog, under_new_key(study)
    (score,) = catalog.scores()
    assert score.key == layout.score_key(score.model_digest, score.subject)
    assert study.workspace.store.exists(score.summary["key_frames"][0]["pictures"]["AU1"])
    assert score.subject in names.values()
    assert list(catalog.priority_subjects()) == [score.subject]
    assert [seen.subject for seen in catalog.seen_annotations("a project")] == [score.subject]
    assert {row.subject for row in catalog.ledger()} == {*names.values(), erased_name()} - {catalog.merges()[0].merged} - {
        catalog.merges()[0].kept
    }
    assert catalog.merges()[0].why == f"the same face as {catalog.merges()[0].kept}"
    assert "model version" in str(lineage(study.workspace, score.subject))
    check_study(study)
    assert not change(study).changed, "again"


@SQLITE
def test_a_change_in_an_object_store_ends_like_one_in_a_folder(study, tmp_path, monkeypatch):
    folder, catalog = study.workspace.store, study.workspace.catalog
    with seaweedfs(tmp_path / "seaweedfs") as (address, keys):
        for name, value in {**keys, "AWS_ENDPOINT_URL_S3": address}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the keys of an earlier test
        study.workspace = Workspace(study.workspace.settings.model_copy(update={"store": "s3://chaos/study"}))
        vars(study.workspace)["catalog"] = catalog
        for key in folder.keys(""):
            study.workspace.store.put(key, folder.get(key))
        summary = change(study)
        assert summary.counts["copied objects"] == summary.counts["deleted objects"] == 5 * 4 + 2 + 1
        check_study(study)
        everything = " ".join(f"{key} {study.workspace.store.get(key)!r}" for key in study.workspace.store.keys(""))
        assert [name for name in old_names(study) if name in everything] == []


def test_no_old_pseudonym_remains_in_any_file_or_row(study):
    change(study)
    catalog = study.workspace.catalog
    for table in metadata.sorted_tables:
        with catalog.engine.connect() as connection:
            rows = str(connection.execute(sa.select(table)).all())
        assert [name for name in old_names(study) if name in rows] == [], table.name
    if catalog.engine.dialect.name == "sqlite":
        catalog.engine.dispose()
        compact_sqlite(Path(catalog.engine.url.database))
    folder = study.workspace.settings.work.parent
    found = {}
    for name, text in read_everything(folder):
        for old in old_names(study):
            if old in name or old in text:
                found[name] = old
    assert found == {}
    (score,) = catalog.scores()
    assert (study.workspace.settings.work / "labeling.html").read_text() == f"<td>{score.subject}</td>"


def read_everything(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the content of every file, of tables also the values."""
    import pyarrow.parquet as pq

    for path in sorted(folder.rglob("*")):
        if path.is_file():
            text = path.read_bytes().decode("latin-1")
            if path.suffix == ".parquet":
                table = pq.read_table(path)
                columns = [name for name in table.column_names if name != "crop"]
                text += f"{table.schema.metadata} {table.select(columns).to_pylist()}"
            yield path.relative_to(folder).as_posix(), text


@contextmanager
def killed_after(writes: int) -> Iterator[Callable[[], int]]:
    """Kill the process before the write after a number of writes to the store, the journal and the rows."""
    made = 0

    def count() -> None:
        nonlocal made
        if made == writes:
            raise KilledError
        made += 1

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (FolderStore, "_create"),
            (FolderStore, "_leave_digest"),
            (FolderStore, "erase"),
            (journal.Rekeyings, "begin_rekeying"),
            (journal.Rekeyings, "finish_rekeying"),
        ):
            original = getattr(owner, name)

            def counted(*arguments, original=original, **options):
                count()
                return original(*arguments, **options)

            patch.setattr(owner, name, counted)

        rename = journal.rename_rows

        def interrupted(*arguments):
            changed = rename(*arguments)  # everything is renamed when the process dies: the transaction takes it back
            count()
            return changed

        patch.setattr(journal, "rename_rows", interrupted)
        yield lambda: made


@SQLITE
def test_a_change_that_is_killed_before_every_write_ends_like_one_that_is_not(study):
    kills = 0
    while True:
        with killed_after(3) as made:  # an object is deleted, written and gets its digest: every run gets further
            try:
                summary = change(study)
                break
            except KilledError:
                kills += 1
        assert made() == 3
        assert kills < 100
    assert kills > 20
    assert summary.changed
    check_study(study)
    for name, text in read_everything(study.workspace.settings.work.parent / "store"):
        assert not any(old in name or old in text for old in old_names(study)), name


@SQLITE
def test_no_other_command_opens_a_catalog_with_half_of_the_new_names(study):
    with pytest.raises(KilledError), killed_after(5):
        change(study)
    with pytest.raises(CatalogError, match="a change of the pseudonym key is unfinished: run `python -m flows rekey` again"):
        Workspace(study.workspace.settings).catalog  # noqa: B018 - the property opens it
    change(study)
    opened = Workspace(study.under(NEW_KEY).settings).catalog
    opened.engine.dispose()


def test_a_second_change_still_finds_everyone_and_everything_that_was_buried(study):
    change(study)
    change(study, NEW_KEY, THIRD_KEY)
    workspace, catalog = study.under(THIRD_KEY), study.workspace.catalog
    assert all(not outcome.new for outcome in ingest_again(study, THIRD_KEY))
    assert catalog.broken_ledger_rows() == {}
    gone = SourceClip(
        row="row 2", subject_id="gone", cohort=Cohort.PALSY, source="synthetic", paths=study.sources[0].paths, start_s=0.1
    )
    admissions = Admissions(workspace, [gone], RECIPE, workspace.folder("tmp"))
    outcome = admissions.admit(gone, "a lease")
    assert isinstance(outcome, Skipped)
    assert outcome.reason == "its person was erased and cannot be added again: correct the manifest"
    deadly = replace(study.deadly, subject_id="another")
    outcome = admissions.admit(deadly, clip_work_name(deadly, THIRD_KEY.encode(), RECIPE))
    assert isinstance(outcome, Skipped)
    assert outcome.reason.startswith("its decoder died 3 times, and it is not tried again")
    assert catalog.release_dead_letters([catalog.dead_letters()[0].name]) == 1, "the name in the sentence is the known one"


def test_urls_and_erased_recordings_are_recognized_under_the_new_key(study, monkeypatch):
    from flows.execution import admission

    change(study)
    workspace, catalog = study.under(NEW_KEY), study.workspace.catalog
    known = catalog.recorded_clip(study.scored_clip).clip
    person = next(source for source in study.sources if under_new_key(study)[source.subject_id] == known.subject)
    talk = replace(person, url="https://example.org/talk", paths=())
    monkeypatch.setattr(admission, "fetch", lambda *_, **__: pytest.fail("a known URL is not requested"))
    admissions = Admissions(workspace, [talk], RECIPE, workspace.folder("tmp"))
    assert not isinstance(admissions.admit(talk, "a lease"), Skipped)
    outcome = admissions.admit(replace(talk, url="https://example.org/talk/gone"), "a lease")
    assert isinstance(outcome, Skipped)
    assert "its URL failed 1 times" in outcome.reason
    path = workspace.folder("tmp") / "buried.mp4"
    path.write_bytes(b"anything")
    monkeypatch.setattr(admission, "fetch", lambda *_, **__: path)
    monkeypatch.setattr(admission, "to_clip", lambda *_: replace(known, sha256="e" * 64))
    outcome = admissions.admit(replace(person, start_s=0.5), "a lease")
    assert isinstance(outcome, Skipped)
    assert outcome.reason.startswith("its recording was erased with a person")


def test_new_splits_are_assigned_to_nobody_and_a_freeze_has_the_same_people_in_the_same_splits(study):
    before = {person: split.value for person, split in study.splits.items()}
    change(study)
    workspace = study.under(NEW_KEY)
    people = freeze.labeled_people(workspace, workspace.catalog.labels())
    splits = freeze.assign_splits.fn(workspace, people)
    rows = freeze.collect_rows.fn(workspace, people, splits, workspace.catalog.labels())
    frozen = dict(zip(rows["subject"].to_pylist(), rows["split"].to_pylist(), strict=True))
    merged = workspace.catalog.merged_names()
    names = {person: merged.get(name, name) for person, name in under_new_key(study).items()}
    assert {person: frozen[name] for person, name in names.items()} == before


def test_receipts_and_the_record_of_the_change_are_signed_and_a_changed_record_is_noticed(study):
    summary = change(study)
    catalog = study.workspace.catalog
    (erasure,) = catalog.erasures()
    assert erasure.subject == erased_name()
    assert erasure.receipt["erased"] == [erased_name()]
    facts = {name: value for name, value in erasure.receipt.items() if name != "signed"}
    assert verify(canonical(facts), erasure.receipt["signed"]["signature"], public_key(SIGNING_KEY.encode()))
    record = json.loads(summary.record)
    assert set(record["snapshots"]) == {frozen.digest for frozen in catalog.snapshots()}
    assert record["ledger"] == {"offset": catalog.ledger_offset(), "digest": catalog.ledger_digest(catalog.ledger_offset())}
    for frozen, rows_digest in record["snapshots"].items():
        assert study.workspace.store.exists(layout.redacted_snapshot_key(frozen, rows_digest))
    (entry,) = catalog.rekeyings()
    assert entry.names is None, "the old names are forgotten"
    assert catalog.broken_rekeyings(SIGNING_KEY.encode()) == catalog.broken_rekeyings(None) == {}
    assert list(catalog.broken_rekeyings(b"another signing key")) == [1]
    set_record(catalog, entry.record.replace('"people":5', '"people":6'))
    assert "changed after it was signed" in catalog.broken_rekeyings(SIGNING_KEY.encode())[1]
    set_record(catalog, entry.record.replace(record["ledger"]["digest"], "0" * 64))
    assert catalog.broken_rekeyings(None) == {1: "it states another head of the ledger, which was cut or rewritten since"}


def set_record(catalog, text: str) -> None:
    with catalog.engine.begin() as connection:
        connection.execute(sa.update(metadata.tables["rekeyings"]).values(record=text))


def test_other_keys_than_the_expected_ones_are_refused_in_a_sentence(study):
    with pytest.raises(SettingsError, match="VITAU_NEW_PSEUDONYM_KEY is not set: export the key that replaces"):
        change_key(study.under(KEY))
    with pytest.raises(SettingsError, match="VITAU_NEW_PSEUDONYM_KEY has 1 different characters and could be guessed"):
        change_key(study.under(KEY, "1" * 20))
    with pytest.raises(SettingsError, match="but the pseudonyms of this catalog were made with the key"):
        change_key(study.under("not the first key of the tests", NEW_KEY))
    assert study.workspace.catalog.rekeyings() == []
    with pytest.raises(KilledError), killed_after(3):
        change(study)
    with pytest.raises(SettingsError, match=r"but a change to the key [0-9a-f]{16} is unfinished: set that key"):
        change_key(study.under(KEY, THIRD_KEY))
    assert change(study).changed
    with pytest.raises(SettingsError, match="but the pseudonyms of this catalog were made with the key"):
        ingest.check_pseudonym_key(study.under(KEY))


def test_a_change_waits_for_other_work_and_no_other_work_begins_during_a_change(study):
    catalog = study.workspace.catalog
    with LeaseHolder(catalog, 60) as other:
        assert other.acquire("frames/of/a clip")
        with pytest.raises(CatalogError, match="1 clips, people or trainings are being worked on: wait until these runs"):
            change(study)
    assert catalog.rekeyings() == []
    with LeaseHolder(catalog, 60) as suspended:
        suspended.acquire("frames/of/a clip")
        with catalog.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE claims SET expires_at = 0")
        with pytest.raises(KilledError), killed_after(1):
            change(study)
        assert not suspended.is_held("frames/of/a clip"), "a worker that wakes up writes nothing"
        with pytest.raises(CatalogError, match="the pseudonym key is being changed"):
            suspended.acquire("frames/of/a clip")
    assert change(study).changed
    assert REKEYING not in catalog.leases()


def test_damage_that_a_change_would_hide_forbids_it(study):
    catalog, store = study.workspace.catalog, study.workspace.store
    assert find_problems(study.under(KEY, NEW_KEY)) == []
    (first, _) = catalog.snapshots()
    whole = store.get(layout.snapshot_key(first.digest))
    store.erase(layout.snapshot_key(first.digest))
    store.put(layout.snapshot_key(first.digest), b"not a table")
    patient = next(subject for subject in catalog.subjects() if subject.cohort is Cohort.PALSY).pseudonym
    catalog.begin_erasure({patient})
    decision = {"model": "vitau-regions", "version": 1, "action": "promoted", "before": None, "after": 1}
    catalog.append_promotion(decision | {"why": "no doubt"}, key=SIGNING_KEY.encode())
    catalog.append_promotion(decision | {"why": f"{patient} looks better"}, key=SIGNING_KEY.encode())
    unsigned = study.under(KEY, NEW_KEY)
    unsigned = Workspace(unsigned.settings.model_copy(update={"signing_key": None}))
    vars(unsigned)["catalog"] = catalog
    problems = find_problems(unsigned)
    assert [problem.partition(":")[0] for problem in problems] == [
        "1 erasures are unfinished",
        f"the manifest of snapshot {first.digest[:12]} is damaged",
        "record 2 of the promotions names a person",
        "receipts of erasures are signed, and are signed again",
    ]
    with pytest.raises(CatalogError, match="the pseudonym key cannot be changed: 1 erasures are unfinished"):
        change(study)
    store.erase(layout.snapshot_key(first.digest))
    store.put(layout.snapshot_key(first.digest), whole)
    assert catalog.rekeyings() == []


@SQLITE
def test_a_ledger_that_was_changed_is_not_chained_again(study):
    catalog = study.workspace.catalog
    with catalog.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER ledger_no_update")
        connection.exec_driver_sql('UPDATE ledger SET affected = 0 WHERE "offset" = 3')
    with pytest.raises(CatalogError, match="1 rows of the ledger were changed: see `python -m flows labels verify`"):
        change(study)


def test_the_ledger_is_guarded_again_after_a_change(study):
    change(study)
    for statement in ("UPDATE ledger SET affected = NULL", "DELETE FROM merges", "UPDATE ledger SET digest = ''"):
        with (
            pytest.raises(sa.exc.IntegrityError, match="the ledger only grows"),
            study.workspace.catalog.engine.begin() as connection,
        ):
            connection.exec_driver_sql(statement)


def test_a_copy_that_differs_from_its_original_stops_the_change_and_the_original_stays(study, monkeypatch):
    create = FolderStore._create

    def damaging(store, key, data):
        damaged = b"flipped" if isinstance(data, Path) and key.endswith((".mp4", ".avi", ".mkv")) else data
        return create(store, key, damaged)

    before = set(study.workspace.store.keys())
    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "_create", damaging)
        with pytest.raises(Exception, match="does not have the bytes that it was copied from: check the disk"):
            change(study)
    assert before <= set(study.workspace.store.keys())


@SQLITE
def test_files_and_folders_that_a_change_writes_are_private(study):
    umask = os.umask(0o022)
    try:
        change(study)
    finally:
        os.umask(umask)
    for path in (study.workspace.settings.work.parent / "store").rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_the_noted_fingerprint_is_that_of_the_new_key_and_no_key_is_readable_in_the_catalog(study):
    change(study)
    with study.workspace.catalog.engine.connect() as connection:
        noted = dict(connection.execute(sa.select(key_fingerprints.c.name, key_fingerprints.c.fingerprint)).tuples().all())
        rows = str([connection.execute(sa.select(table)).all() for table in metadata.sorted_tables])
    assert noted["pseudonym"] == study.workspace.catalog.rekeyings()[-1].after
    assert KEY not in rows
    assert NEW_KEY not in rows
    assert study.workspace.catalog.pseudonym_keys(NEW_KEY.encode()).retired == (KEY.encode(),)
    with pytest.raises(CatalogError, match="is sealed with another key, or was changed"):
        study.workspace.catalog.pseudonym_keys(b"quite another key")


def test_a_page_that_a_killed_change_had_deleted_is_installed_from_its_staged_copy(study, monkeypatch):
    def killed_between(change_, staged):
        change_.workspace.store.purge(staged.removeprefix(rekeyed_objects.STAGED))
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(rekeyed_objects, "_install", killed_between)
        with pytest.raises(KilledError):
            change(study)
    assert change(study).changed
    store = study.workspace.store
    (score,) = study.workspace.catalog.scores()
    assert store.get("reports/s/report.html") == f"<p>{score.subject}</p>".encode()
    assert json.loads(store.get("validation/g/d/page.html")) == {"subject": score.subject}
    assert list(store.keys(rekeyed_objects.STAGED)) == []
