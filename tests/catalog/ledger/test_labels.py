"""The labels of the last consensus, on SQLite and on PostgreSQL."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from vitau.catalog.catalog import Catalog
from vitau.catalog.tables import labels
from vitau.errors import ContradictionError
from vitau.schema import AU, Cohort, RegionLabels, Side, Subject

PROBLEM = "two answers for one subject, visit and AU, or an answer about an unknown subject: run the consensus again"


@pytest.fixture
def catalog(new_catalog: Callable[[], Catalog]) -> Catalog:
    catalog = new_catalog()
    for name in ("bert", "anna"):
        catalog.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="s"))
    return catalog


def label(name: str, side: Side | None = None, **affected: bool) -> RegionLabels:
    return RegionLabels(subject=name, affected={AU(au): value for au, value in affected.items()}, side=side)


def test_each_visit_has_a_label_of_its_own(catalog):
    given = [label("anna", Side.LEFT, AU1=True), replace(label("anna", AU1=False), visit="week-12")]
    assert catalog.set_labels(given, ledger_offset=7)
    assert catalog.labels() == given
    assert catalog.set_labels(given[1:], ledger_offset=8)
    assert catalog.labels() == given[1:]
    with pytest.raises(ContradictionError, match="two answers for one subject, visit and AU"):
        catalog.set_labels([given[1], given[1]], ledger_offset=9)


def written_at(catalog: Catalog) -> dict[tuple[str, str], int]:
    with catalog.engine.connect() as connection:
        return {(row.subject, row.au): row.ledger_offset for row in connection.execute(sa.select(labels))}


def test_labels_are_read_by_pseudonym_with_their_side_and_offset(catalog):
    assert (catalog.labels(), catalog.labels_offset()) == ([], 0)
    given = [label("bert", AU1=False), label("anna", Side.LEFT, AU1=True, AU2=False)]
    assert catalog.set_labels(given, ledger_offset=7)
    assert catalog.labels_with_offset() == ([given[1], given[0]], 7)
    assert (catalog.labels(), catalog.labels_offset()) == ([given[1], given[0]], 7)


def test_an_earlier_consensus_changes_nothing_and_a_repeated_one_is_accepted(catalog):
    assert catalog.set_labels([label("anna", Side.LEFT, AU1=True)], ledger_offset=7)
    assert catalog.set_labels([label("anna", AU1=False)], ledger_offset=6) is False
    assert catalog.labels_with_offset() == ([label("anna", Side.LEFT, AU1=True)], 7)
    assert catalog.set_labels([label("anna", AU1=False)], ledger_offset=7) is True
    assert catalog.labels_with_offset() == ([label("anna", AU1=False)], 7)


def test_labels_that_stay_are_not_written_again_and_the_others_are_replaced(catalog):
    catalog.set_labels(
        [label("anna", Side.LEFT, AU1=True, AU2=False, AU4=False), label("bert", AU1=False, AU4=False)], ledger_offset=1
    )
    catalog.set_labels([label("anna", Side.RIGHT, AU1=True, AU2=False, AU6=True), label("bert", AU4=False)], ledger_offset=2)
    assert written_at(catalog) == {("anna", "AU1"): 2, ("anna", "AU2"): 1, ("anna", "AU6"): 2, ("bert", "AU4"): 1}
    assert catalog.labels() == [label("anna", Side.RIGHT, AU1=True, AU2=False, AU6=True), label("bert", AU4=False)]
    catalog.set_labels([label("anna", Side.RIGHT, AU1=False, AU2=False)], ledger_offset=3)
    assert written_at(catalog) == {("anna", "AU1"): 3, ("anna", "AU2"): 1}
    assert catalog.set_labels([], ledger_offset=4)
    assert catalog.labels_with_offset() == ([], 4)


@pytest.mark.parametrize(
    "given", [[label("anna", AU1=False), label("anna", AU1=False)], [label("anna", AU2=False), label("carl", AU1=False)]]
)
def test_a_contradiction_or_an_unknown_person_is_refused_and_the_old_labels_stay(catalog, given):
    catalog.set_labels([label("anna", AU1=False)], ledger_offset=1)
    with pytest.raises(ContradictionError) as caught:
        catalog.set_labels(given, ledger_offset=2)
    assert str(caught.value) == PROBLEM
    assert catalog.labels_with_offset() == ([label("anna", AU1=False)], 1)
