"""Evidence on SQLite and on PostgreSQL: predictions for people who were left out, and looks that only grow."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from vitau.catalog.catalog import Catalog
from vitau.catalog.evidence import LeftOut, Look
from vitau.errors import ContradictionError
from vitau.schema import Cohort, Subject

ANNA = LeftOut(training="t", subject="a" * 20, num_frames=3, num_folds=1, palsy_score=0.75, threshold=0.5)
BERT = LeftOut(training="t", subject="b" * 20, num_frames=2, num_folds=4, regions={"AU1": 0.25}, right_score=0.5)
LOOK = Look(key="k", snapshot="d", protocol="lopo", model="vitau-palsy", purpose="promotion")


@pytest.fixture
def catalog(new_catalog: Callable[[], Catalog]) -> Catalog:
    catalog = new_catalog()
    for prediction in (ANNA, BERT):
        catalog.add_subject(Subject(pseudonym=prediction.subject, cohort=Cohort.PALSY, source="synthetic"))
    return catalog


def test_predictions_are_stored_once_and_found_by_their_training(catalog):
    assert (catalog.add_left_out([BERT, ANNA]), catalog.add_left_out([ANNA])) == (2, 0)
    assert catalog.left_out("t") == [ANNA, BERT]
    assert catalog.left_out("another") == []
    catalog.add_left_out([replace(ANNA, palsy_score=0.1)])
    assert catalog.left_out("t")[0].palsy_score == 0.75


def test_an_erased_person_is_deleted_from_the_predictions_and_cannot_come_back(catalog):
    catalog.add_left_out([ANNA, BERT])
    catalog.begin_erasure({ANNA.subject})
    with pytest.raises(ContradictionError, match="a person was erased and cannot be added again"):
        catalog.add_left_out([replace(ANNA, training="u"), replace(BERT, training="u")])
    assert catalog.left_out("u") == [], "all or none"
    catalog.delete_rows_of({ANNA.subject})
    assert catalog.left_out("t") == [BERT]


def test_a_look_is_counted_once_and_never_taken_back(catalog):
    assert (catalog.add_look(LOOK), catalog.add_look(replace(LOOK, purpose="report"))) == (True, False)
    assert catalog.looks() == [LOOK]
    for statement in ("DELETE FROM looks", "UPDATE looks SET model = 'm'"):
        with pytest.raises(sa.exc.DBAPIError, match="looks only grow"), catalog.engine.begin() as connection:
            connection.execute(sa.text(statement))
    catalog.delete_rows_of({ANNA.subject})
    assert catalog.looks() == [LOOK], "an erasure keeps the count: it names nobody"
