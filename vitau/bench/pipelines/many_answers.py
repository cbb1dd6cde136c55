"""A catalog with the answers of many people, most of them corrected several times."""

from pathlib import Path
from typing import Final

from vitau.catalog.catalog import Catalog, open_catalog
from vitau.schema import AUS, Cohort, LedgerRow, Side, Stage, Subject

READERS: Final = ("reader-a", "reader-b")
VERSIONS: Final = {"reader-a": 7, "reader-b": 6}
ROWS_PER_PERSON: Final = sum(VERSIONS.values()) * len(AUS)
_AT_ONCE: Final = 500
"""People whose answers are appended in one transaction."""


def fill_catalog(path: Path, num_people: int) -> Catalog:
    """Write a catalog whose people were each read by two readers, who corrected their answers; return it."""
    catalog = open_catalog(f"sqlite:///{path}")
    with catalog.transaction():
        for number in range(num_people):
            person = Subject(pseudonym=f"{number:032x}", cohort=Cohort.PALSY, source="generated", synthetic=True)
            catalog.add_subject(person)
    for start in range(0, num_people, _AT_ONCE):
        people = range(start, min(start + _AT_ONCE, num_people))
        catalog.append_answers([row for number in people for row in _answers(number)])
    return catalog


def _answers(number: int) -> list[LedgerRow]:
    return [
        LedgerRow(
            subject=f"{number:032x}",
            au=au,
            reader=reader,
            stage=Stage.READER,
            affected=(number + region + version) % 3 == 0,
            side=Side.LEFT,
            annotation=f"{reader} {number}",
            version=f"{version}",
            answered_at=f"2026-11-{version + 1:02}T00:00:00Z",
            frames_shown=(f"{number:064x}:0",),
        )
        for reader in READERS
        for version in range(VERSIONS[reader])
        for region, au in enumerate(AUS)
    ]
