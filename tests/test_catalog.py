import multiprocessing
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from vitau.catalog import Catalog, FrameTable, ScoredSubject, Training, open_catalog
from vitau.errors import CatalogError, ContradictionError
from vitau.schema import (
    AU,
    AUS,
    Clip,
    Cohort,
    LedgerRow,
    PullState,
    RegionLabels,
    Said,
    SeenAnnotation,
    Side,
    Skipped,
    Snapshot,
    Split,
    Stage,
    Subject,
)
from vitau.tables import metadata

ANNA = Subject(pseudonym="anna", cohort=Cohort.PALSY, source="synthetic", synthetic=True)
BERT = Subject(pseudonym="bert", cohort=Cohort.CONTROL, source="synthetic", synthetic=True)
CLIP = Clip(sha256="a" * 64, subject="anna", source="synthetic", suffix=".mp4", synthetic=True)
ANSWER = LedgerRow(
    subject="anna",
    au=AU.AU12,
    reader="reader-a",
    stage=Stage.READER,
    affected=True,
    side=Side.LEFT,
    annotation="1:7",
    version="2026-11-23T00:00:00Z",
    answered_at="2026-11-23T00:00:00Z",
    frames_shown=("f0", "f1"),
)


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/catalog.db"
    else:
        server = sa.make_url(request.getfixturevalue("postgresql_url"))
        name = f"test_{uuid.uuid4().hex}"
        engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        url = server.set(database=name).render_as_string(hide_password=False)
    catalog = open_catalog(url)
    catalog.add_subject(ANNA)
    catalog.add_subject(BERT)
    yield catalog
    catalog.engine.dispose()


def test_the_migrations_make_the_tables_that_the_code_declares(catalog):
    with catalog.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_what_is_added_is_found_and_adding_it_again_changes_nothing(catalog):
    table = FrameTable(
        clip=CLIP.sha256, recipe="r", key="k", num_frames=3, num_faces=2, quarantine_key="q", quarantined={"no_face": 1}
    )
    snapshot = Snapshot(digest="d", uri="u", ledger_offset=1, num_frames=2, subjects={Split.TRAIN: 1}, synthetic=True)
    training = Training(
        key="t",
        model="m",
        recipe="r",
        snapshot="d",
        model_digest="w",
        model_key="k",
        version=1,
        run_id="i",
        metrics={"auroc": 0.5},
    )
    score = ScoredSubject(model_digest="w", subject="anna", key="s", summary={"palsied": True})
    assert [catalog.add_clip(CLIP), catalog.add_frame_table(table), catalog.add_snapshot(snapshot)] == [True] * 3
    assert [catalog.add_training(training), catalog.add_score(score)] == [True] * 2
    assert [catalog.add_clip(CLIP), catalog.add_frame_table(table), catalog.add_snapshot(snapshot)] == [False] * 3
    assert [catalog.add_training(training), catalog.add_score(score)] == [False] * 2
    assert not catalog.add_subject(ANNA)
    assert catalog.subjects() == [ANNA, BERT]
    assert catalog.clips() == [CLIP]
    assert catalog.frame_tables("r") == [table]
    assert catalog.snapshots() == [snapshot]
    assert catalog.training("t") == training
    assert catalog.training("another") is None
    assert catalog.scores("w") == [score]


def test_a_person_has_one_cohort(catalog):
    with pytest.raises(ContradictionError, match="subject anna is palsy and cannot be control too"):
        catalog.add_subject(replace(ANNA, cohort=Cohort.CONTROL))


def test_a_recording_belongs_to_one_person(catalog):
    catalog.add_clip(CLIP)
    with pytest.raises(ContradictionError, match="belongs to subject anna and cannot be bert's too"):
        catalog.add_clip(replace(CLIP, subject="bert"))


def test_an_answer_is_read_once_and_a_changed_one_is_a_new_row(catalog):
    assert catalog.append_answers([ANSWER, replace(ANSWER, au=AU.AU1, affected=None, side=None)]) == 2
    assert catalog.append_answers([ANSWER]) == 0
    corrected = replace(ANSWER, affected=False, side=None, version="later")
    assert catalog.append_answers([ANSWER, corrected]) == 1
    assert catalog.ledger()[-1] == corrected
    assert len(catalog.ledger(upto=2)) == 2
    assert catalog.ledger_offset() == 3


def test_the_ledger_refuses_to_forget(catalog):
    catalog.append_answers([ANSWER])
    for statement in ("UPDATE ledger SET affected = NULL", "DELETE FROM ledger"):
        with pytest.raises(sa.exc.IntegrityError, match="the ledger only grows"), catalog.engine.begin() as connection:
            connection.execute(sa.text(statement))
    assert catalog.ledger() == [ANSWER]


def test_an_answer_about_a_stranger_is_refused(catalog):
    with pytest.raises(CatalogError, match=r"answers about 1 unknown subjects \(carl, …\)"):
        catalog.append_answers([replace(ANSWER, subject="carl")])


def test_two_answers_for_one_subject_and_au_are_impossible(catalog):
    first = RegionLabels(subject="anna", affected={AU.AU1: True}, side=Side.LEFT)
    catalog.set_labels([first], ledger_offset=1)
    with pytest.raises(ContradictionError, match="two answers for one subject and AU"):
        catalog.set_labels([first, RegionLabels(subject="anna", affected={AU.AU1: False})], ledger_offset=2)
    assert catalog.labels() == [first]


def test_the_labels_are_those_of_the_last_consensus(catalog):
    catalog.set_labels([RegionLabels(subject="anna", affected={AU.AU1: True}, side=Side.LEFT)], ledger_offset=1)
    now = RegionLabels(subject="anna", affected={AU.AU2: False})
    catalog.set_labels([now], ledger_offset=2)
    assert catalog.labels() == [now]


def test_a_frame_called_unusable_stays_so(catalog):
    assert catalog.add_unusable_frames({"c:1", "c:2"}) == 2
    assert catalog.add_unusable_frames({"c:2"}) == 0
    assert catalog.unusable_frames() == {"c:1", "c:2"}


def test_what_is_skipped_is_listed_until_it_works(catalog):
    bad, worse = Skipped(item="row 3", reason="no such file"), Skipped(item="row 4", reason="empty")
    catalog.set_skipped("manifest", [bad, worse])
    catalog.set_skipped("another", [bad])
    catalog.set_skipped("manifest", [worse])
    assert catalog.skipped() == [bad, worse]


def test_nobody_changes_split(catalog):
    strata = {"anna": "palsy", "bert": "control"}
    assert catalog.add_splits({"anna": Split.TEST}, strata=strata) == 1
    assert catalog.add_splits({"anna": Split.TRAIN, "bert": Split.TRAIN}, strata=strata) == 1
    assert catalog.splits() == {"anna": Split.TEST, "bert": Split.TRAIN}


def _open(url: str) -> int:
    return len(open_catalog(url).subjects())


def test_several_processes_may_open_a_new_catalog_at_once(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(_open, [f"sqlite:///{tmp_path}/new.db"] * 4) == [0] * 4


def test_a_database_that_cannot_be_reached_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CatalogError, match="the catalog's database URL cannot be read"):
        open_catalog("nonsense")
    with pytest.raises(CatalogError, match="the catalog cannot be reached"):
        open_catalog("postgresql+psycopg://nobody@127.0.0.1:1/nothing")


SEEN = SeenAnnotation(annotation="7", task=1, subject="anna", version="2026-11-23T00:00:00Z")
STATE = PullState(
    project="3 2026-11-23T00:00:00+00:00",
    title="ViTAU reader-a",
    reader="reader-a",
    stage=Stage.READER,
    seen_until="2026-11-23T00:00:00+00:00",
    whole_at="2026-11-23T00:00:00+00:00",
    number=1,
)


def test_what_a_pull_saw_replaces_what_was_seen_before_and_can_be_forgotten(catalog):
    other = replace(SEEN, subject="nobody we know", problem="unknown subject")
    catalog.note_seen(STATE.project, [SEEN, other])
    catalog.note_seen("another project", [SEEN])
    catalog.note_seen(STATE.project, [replace(SEEN, gone=True, held=True)])
    catalog.note_pull(STATE)
    catalog.note_pull(replace(STATE, number=2))
    assert catalog.seen_annotations(STATE.project) == [replace(SEEN, gone=True, held=True), other]
    assert catalog.pull_states() == [replace(STATE, number=2)]
    catalog.forget_pull(STATE.project)
    assert (catalog.seen_annotations(STATE.project), catalog.pull_states()) == ([], [])
    assert catalog.seen_annotations("another project") == [SEEN]


def test_ten_thousand_annotations_are_noted_at_once(catalog):
    many = [replace(SEEN, annotation=f"{number:05}") for number in range(10_000)]
    catalog.note_seen(STATE.project, many)
    assert catalog.seen_annotations(STATE.project) == many


def test_what_a_reader_said_is_one_entry_per_answer_in_the_order_of_the_ledger(catalog):
    answers = [replace(ANSWER, au=au) for au in AUS]
    back = [replace(row, version="retracted", affected=None, side=None, retracted=True) for row in answers]
    catalog.append_answers([*answers, *back, *(replace(row, reader="reader-b", annotation="8") for row in answers)])
    assert catalog.said("reader-a", Stage.READER) == [
        Said(annotation="1:7", subject="anna", version=ANSWER.version),
        Said(annotation="1:7", subject="anna", version="retracted", retracted=True),
    ]
    assert catalog.said("reader-a", Stage.ADJUDICATION) == []
