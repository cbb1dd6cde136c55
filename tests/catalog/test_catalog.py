import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

import vitau.catalog
from vitau.catalog.catalog import Catalog, FrameTable, ScoredSubject, Training, open_catalog
from vitau.catalog.tables import metadata
from vitau.errors import CatalogError, ContradictionError
from vitau.schema import Clip, Cohort, Comparison, Skipped, Snapshot, Split, Subject

ANNA = Subject(pseudonym="anna", cohort=Cohort.PALSY, source="synthetic", synthetic=True)
BERT = Subject(pseudonym="bert", cohort=Cohort.CONTROL, source="synthetic", synthetic=True)
CLIP = Clip(sha256="a" * 64, subject="anna", source="synthetic", suffix=".mp4", synthetic=True)


@pytest.fixture
def catalog(new_catalog: Callable[[], Catalog]) -> Catalog:
    catalog = new_catalog()
    catalog.add_subject(ANNA)
    catalog.add_subject(BERT)
    return catalog


def test_the_migrations_create_the_tables_that_the_code_declares(catalog):
    with catalog.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_migration_to_visits_keeps_the_clips_and_their_history(dialect, tmp_path, request):
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    if dialect == "postgresql":
        server = sa.make_url(request.getfixturevalue("postgresql_url"))
        administrator = sa.create_engine(server, isolation_level="AUTOCOMMIT")
        with administrator.connect() as connection:
            connection.execute(sa.text("CREATE DATABASE before_visits"))
        administrator.dispose()
        url = server.set(database="before_visits").render_as_string(hide_password=False)
    engine, config = sa.create_engine(url), Config()
    config.set_main_option("script_location", str(Path(vitau.catalog.__file__).parent / "migrations"))
    with engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "0018")
        connection.execute(sa.text("INSERT INTO subjects VALUES ('anna', 'palsy', 's', false, 't')"))
        clip = "INSERT INTO clips (sha256, subject, source, suffix, mirrored, synthetic, licence, recorded_at) "
        connection.execute(sa.text(clip + "VALUES ('c', 'anna', 's', '.mp4', true, false, 'CC0', 't')"))
        stated = "INSERT INTO statements (clip, statement, number, mirrored, recorded_at) VALUES ('c', 'm', 1, true, 't')"
        connection.execute(sa.text(stated))
    engine.dispose()
    catalog = open_catalog(url)
    known = Clip(sha256="c", subject="anna", source="s", suffix=".mp4", mirrored=True, licence="CC0")
    assert catalog.clips() == [known]
    assert not catalog.is_news(known, "m")
    catalog.engine.dispose()


def test_added_rows_are_found_and_adding_them_again_changes_nothing(catalog):
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


def test_an_unusable_frame_stays_unusable(catalog):
    assert catalog.add_unusable_frames({"c:1", "c:2"}) == 2
    assert catalog.add_unusable_frames({"c:2"}) == 0
    assert catalog.unusable_frames() == {"c:1", "c:2"}


def test_a_skipped_item_is_listed_until_it_works(catalog):
    bad, worse = Skipped(item="row 3", reason="no such file"), Skipped(item="row 4", reason="empty")
    catalog.set_skipped("manifest", [bad, worse])
    catalog.set_skipped("another", [bad])
    catalog.set_skipped("manifest", [worse])
    assert catalog.skipped() == [bad, worse]


def test_a_split_never_changes(catalog):
    strata = {"anna": "palsy", "bert": "control"}
    assert catalog.add_splits({"anna": Split.TEST}, strata=strata) == 1
    assert catalog.add_splits({"anna": Split.TRAIN, "bert": Split.TRAIN}, strata=strata) == 1
    assert catalog.splits() == {"anna": Split.TEST, "bert": Split.TRAIN}


def _open(url: str) -> int:
    return len(open_catalog(url).subjects())


def test_several_processes_can_open_a_new_catalog_at_once(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(_open, [f"sqlite:///{tmp_path}/new.db"] * 4) == [0] * 4


def test_an_unreachable_database_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CatalogError, match="the catalog's database URL cannot be read"):
        open_catalog("nonsense")
    with pytest.raises(CatalogError, match="the catalog cannot be reached"):
        open_catalog("postgresql+psycopg://nobody@127.0.0.1:1/nothing")


def test_a_comparison_is_recorded_once(catalog):
    first = Comparison(subject="anna", material="m1", shown="s", frames=("c:1", "c:2"), difference=0.25)
    unknown = replace(first, material="m2", difference=None)
    assert [catalog.add_comparison(comparison) for comparison in (unknown, first, replace(first, difference=0.5))] == [
        True,
        True,
        False,
    ]
    assert catalog.comparisons() == [first, unknown]


def test_the_model_of_the_newest_score_is_the_champion_of_the_last_scoring(catalog):
    assert catalog.last_scored_by() is None
    for digest, subject in (("one", "anna"), ("two", "anna"), ("two", "bert"), ("one", "anna")):
        catalog.add_score(ScoredSubject(model_digest=digest, subject=subject, key="s", summary={}))
    assert catalog.last_scored_by() == "two"
    assert catalog.training_of("two") is None
