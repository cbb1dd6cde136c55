"""Cohorts of people: stated at the ingest or later, appended, never changed."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from vitau.catalog import engine as engines
from vitau.catalog.catalog import Catalog, FrameTable, ScoredSubject, open_catalog
from vitau.catalog.rows import to_row
from vitau.errors import CatalogError, ContradictionError
from vitau.schema import Clip, Cohort, Subject, tombstone

ANNA = Subject(pseudonym="anna", cohort=Cohort.UNKNOWN, source="inbox")
BERT = Subject(pseudonym="bert", cohort=Cohort.PALSY, source="inbox")
CLIP = Clip(sha256="a" * 64, subject="anna", source="inbox", suffix=".mp4")
TABLE = FrameTable(clip=CLIP.sha256, recipe="r", key="k", num_frames=1, num_faces=1, quarantine_key="q", quarantined={})
WHY = "seen in the clinic"


@pytest.fixture
def catalog(new_catalog: Callable[[], Catalog]) -> Catalog:
    catalog = new_catalog()
    catalog.add_subject(ANNA)
    catalog.add_subject(BERT)
    return catalog


def cohorts(catalog: Catalog) -> dict[str, Cohort]:
    return {subject.pseudonym: subject.cohort for subject in catalog.subjects()}


def ingest(catalog: Catalog, subject: Subject, statement: str) -> bool:
    claimed = catalog.claim_clip(subject, CLIP, statement=statement, work=statement)
    return catalog.record_clip(subject, claimed, TABLE, statement=statement, stated=CLIP)


def test_a_person_of_unknown_status_gets_a_cohort_once_and_the_row_of_the_ingest_stays(catalog):
    assert cohorts(catalog) == {"anna": Cohort.UNKNOWN, "bert": Cohort.PALSY}
    assert [catalog.state_cohort("anna", Cohort.PALSY, why=WHY) for _ in range(2)] == [True, False]
    assert cohorts(catalog) == {"anna": Cohort.PALSY, "bert": Cohort.PALSY}
    with catalog.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT cohort FROM subjects WHERE pseudonym = 'anna'")).scalar() == "unknown"
        assert connection.execute(sa.text("SELECT subject, cohort, why FROM statuses")).all() == [("anna", "palsy", WHY)]


def test_a_later_contradiction_is_an_error_by_command_and_by_manifest(catalog):
    catalog.state_cohort("anna", Cohort.PALSY, why=WHY)
    with pytest.raises(ContradictionError, match="subject anna is palsy and cannot be control too"):
        catalog.state_cohort("anna", Cohort.CONTROL, why="no")
    with pytest.raises(ContradictionError, match="subject anna is palsy and cannot be control too"):
        ingest(catalog, replace(ANNA, cohort=Cohort.CONTROL), "manifest")
    with pytest.raises(ContradictionError, match="subject bert is palsy and cannot be control too"):
        catalog.state_cohort("bert", Cohort.CONTROL, why="no")
    assert cohorts(catalog) == {"anna": Cohort.PALSY, "bert": Cohort.PALSY}


def test_a_statement_needs_a_known_person_a_reason_and_a_cohort(catalog):
    with pytest.raises(CatalogError, match="no subject cleo is in the catalog"):
        catalog.state_cohort("cleo", Cohort.PALSY, why=WHY)
    with pytest.raises(CatalogError, match="the cohort of anna needs a reason"):
        catalog.state_cohort("anna", Cohort.PALSY, why=" ")
    with pytest.raises(ValueError, match="not taken back to unknown"):
        catalog.state_cohort("bert", Cohort.UNKNOWN, why=WHY)


def test_a_corrected_manifest_states_the_cohort_and_the_old_one_read_again_takes_nothing_back(catalog):
    assert ingest(catalog, ANNA, "first")
    assert not ingest(catalog, replace(ANNA, cohort=Cohort.CONTROL), "corrected")
    assert cohorts(catalog)["anna"] is Cohort.CONTROL
    assert not ingest(catalog, ANNA, "first")
    assert cohorts(catalog)["anna"] is Cohort.CONTROL


def test_an_unfinished_ingest_with_an_unknown_cohort_excludes_none_and_one_with_the_other_cohort_does(catalog):
    catalog.claim_clip(ANNA, CLIP, statement="first", work="first")
    palsied = replace(ANNA, cohort=Cohort.PALSY)
    assert catalog.conflicting_claims(palsied, CLIP) == []
    other = replace(CLIP, sha256="b" * 64)
    catalog.claim_clip(palsied, other, statement="second", work="second")
    assert [claim.work for claim in catalog.conflicting_claims(replace(ANNA, cohort=Cohort.CONTROL), CLIP)] == ["second"]
    assert catalog.conflicting_claims(ANNA, CLIP) == []


def test_merged_people_have_the_cohort_that_is_known_of_one_of_them(catalog):
    assert catalog.merge("anna", "bert", why="same face")
    assert cohorts(catalog) == {"anna": Cohort.PALSY}
    assert not catalog.state_cohort("anna", Cohort.PALSY, why=WHY)
    catalog.add_subject(replace(ANNA, pseudonym="cleo"))
    catalog.state_cohort("cleo", Cohort.CONTROL, why=WHY)
    with pytest.raises(ContradictionError, match="subject anna is palsy and cleo is control, but a person has one cohort"):
        catalog.merge("anna", "cleo", why="same face")


def test_a_statement_about_a_merged_person_is_about_the_one_that_was_kept(catalog):
    catalog.add_subject(replace(ANNA, pseudonym="cleo"))
    catalog.merge("anna", "cleo", why="same face")
    assert catalog.state_cohort("cleo", Cohort.CONTROL, why=WHY)
    assert cohorts(catalog)["anna"] is Cohort.CONTROL


def test_an_erased_person_has_no_statement_and_gets_none(catalog):
    catalog.state_cohort("anna", Cohort.PALSY, why=WHY)
    catalog.begin_erasure({"anna"})
    catalog.delete_rows_of({"anna"})
    catalog.forget({"anna"})
    with catalog.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT * FROM statuses")).all() == []
        assert connection.execute(sa.text("SELECT pseudonym FROM subjects ORDER BY 1")).scalars().all() == [
            "bert",
            tombstone("anna"),
        ]
    with pytest.raises(ContradictionError, match="the person was erased"):
        catalog.state_cohort("anna", Cohort.PALSY, why=WHY)


def test_a_catalog_of_an_earlier_version_keeps_every_row_and_its_foreign_keys(new_catalog, monkeypatch):
    current = new_catalog()
    url = current.engine.url
    if current.engine.dialect.name == "postgresql":
        with current.engine.begin() as connection:
            connection.execute(sa.text("DROP SCHEMA public CASCADE"))
            connection.execute(sa.text("CREATE SCHEMA public"))
    else:
        url = url.set(database=f"{url.database}.old")
    text = url.render_as_string(hide_password=False)

    def upgrade_to_0016(engine: sa.Engine) -> None:
        config = Config()
        config.set_main_option("script_location", f"{engines.__file__.rsplit('/', 1)[0]}/migrations")
        with engine.connect().execution_options(writing=True) as connection, connection.begin():
            config.attributes["connection"] = connection
            command.upgrade(config, "0016")

    with monkeypatch.context() as patch:
        patch.setattr(engines, "_migrate", upgrade_to_0016)
        before = engines.open_engine(text)
    metadata = sa.MetaData()
    metadata.reflect(before)
    with before.begin() as connection:
        for name, row in (
            ("subjects", {"pseudonym": "bert", "cohort": "palsy", "source": "inbox", "synthetic": False}),
            ("clips", to_row(replace(CLIP, subject="bert"))),
            ("scores", {"model_digest": "m", "subject": "bert", "key": "k", "summary": {}}),
        ):
            table = metadata.tables[name]
            known = {column: value for column, value in row.items() if column in table.c}  # later columns are left out
            connection.execute(sa.insert(table).values(**known, recorded_at="t"))
    before.dispose()
    catalog = open_catalog(text)
    assert catalog.subjects() == [BERT]
    assert [(clip.sha256, clip.subject) for clip in catalog.clips()] == [(CLIP.sha256, "bert")]
    assert catalog.scores("m") == [ScoredSubject(model_digest="m", subject="bert", key="k", summary={})]
    assert catalog.add_subject(ANNA)
    assert catalog.state_cohort("anna", Cohort.CONTROL, why=WHY)
    for orphan in (replace(CLIP, sha256="c" * 64, subject="nobody"), replace(CLIP, sha256="d" * 64, subject="unknown")):
        with pytest.raises(sa.exc.IntegrityError):
            catalog.add_clip(orphan)
    with pytest.raises(sa.exc.IntegrityError), catalog.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO subjects VALUES ('dora', 'ill', 'inbox', false, 't')"))
    catalog.engine.dispose()
