"""The state of pulls, on SQLite and on PostgreSQL."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from vitau.catalog.catalog import Catalog
from vitau.errors import OvertakenError
from vitau.schema import PullState, SeenAnnotation, Stage

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


@pytest.fixture
def catalog(new_catalog: Callable[[], Catalog]) -> Catalog:
    return new_catalog()


def test_a_pull_replaces_the_state_of_the_one_before_and_can_be_deleted(catalog):
    other = replace(SEEN, subject="nobody we know", problem="unknown subject")
    catalog.record_seen(STATE.project, [SEEN, other])
    catalog.record_seen("another project", [SEEN])
    catalog.record_seen(STATE.project, [replace(SEEN, gone=True, held=True)])
    catalog.record_pull(STATE)
    catalog.record_pull(replace(STATE, number=2, num_skipped=3))
    assert catalog.seen_annotations(STATE.project) == [replace(SEEN, gone=True, held=True), other]
    assert catalog.pull_states() == [replace(STATE, number=2, num_skipped=3)]
    catalog.delete_pull(STATE.project)
    assert (catalog.seen_annotations(STATE.project), catalog.pull_states()) == ([], [])
    assert catalog.seen_annotations("another project") == [SEEN]


def test_ten_thousand_annotations_are_recorded_at_once(catalog):
    many = [replace(SEEN, annotation=f"{number:05}") for number in range(10_000)]
    catalog.record_seen(STATE.project, many)
    assert catalog.seen_annotations(STATE.project) == many


def test_a_pull_that_another_one_overtook_writes_nothing(catalog):
    catalog.record_pull(STATE)
    with catalog.transaction():
        catalog.check_pull(STATE.project, STATE)
        catalog.record_pull(replace(STATE, number=2))

    def record(before: PullState | None) -> None:
        with catalog.transaction():
            catalog.record_seen(STATE.project, [SEEN])
            catalog.check_pull(STATE.project, before)

    for before in (STATE, None):
        with pytest.raises(OvertakenError, match="another round pulled this project"):
            record(before)
    assert catalog.seen_annotations(STATE.project) == [], "all or none"
    assert catalog.pull_states() == [replace(STATE, number=2)]
