"""Reads of a catalog with the answers of many people, most of them corrected several times."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from vitau.bench.measure import Case, Watch, compare
from vitau.catalog.catalog import Catalog, open_catalog
from vitau.schema import AUS, Cohort, LedgerRow, Side, Stage, Subject

READERS: Final = ("reader-a", "reader-b")
VERSIONS: Final = {"reader-a": 7, "reader-b": 6}
ROWS_PER_PERSON: Final = sum(VERSIONS.values()) * len(AUS)
_AT_ONCE: Final = 500
"""People whose answers are appended in one transaction."""
SOME: Final = 100
"""People who are looked up, each alone, and rows by which an earlier offset is before the end."""
READS: Final[Mapping[str, Callable[[Catalog], object]]] = {
    "read the newest answers": lambda catalog: catalog.newest_answers(),
    "read the answers of an earlier offset": lambda catalog: catalog.newest_answers(upto=catalog.ledger_offset() - SOME),
    "read the annotations of a reader": lambda catalog: catalog.ledger_entries(READERS[0], Stage.READER),
    "count the answers": lambda catalog: catalog.count_answers(),
}
"""Reads whose results grow with the number of people."""


def answer_cases(folder: Path, num_people: int, rounds: int, watch: Watch, at_least: float) -> Sequence[Case]:
    """Read a ledger of many people as reports, `lineage` and a round of labeling do, beside one of a tenth of them."""
    few = max(1, num_people // 10)
    catalogs = {count: fill_catalog(folder / f"{count}.db", count) for count in (few, num_people)}

    def case(name: str, work: Callable[[Catalog], object], repeats: int, amount: int) -> Case:
        return compare(
            f"{name}, {num_people} people and {num_people * ROWS_PER_PERSON} rows of the ledger",
            partial(_repeat, partial(work, catalogs[num_people]), 1),
            partial(_repeat, partial(work, catalogs[few]), repeats),
            lambda _mine, _theirs: {"max_difference": 0.0},
            amount=amount,
            unit="people/s",
            rounds=rounds,
            watch=watch,
            at_least=at_least,
        )

    some = min(SOME, few)
    return [
        *(case(name, work, num_people // few, num_people) for name, work in READS.items()),
        case(f"look up {some} people", partial(_look_up, some), 1, some),
    ]


def _repeat(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()


def _look_up(count: int, catalog: Catalog) -> None:
    """Read everything about some people, one by one, as `lineage` does."""
    for number in range(count):
        names = {f"{number:032x}"}
        catalog.ledger_offsets(names)
        catalog.answers_about(names)
        catalog.find_clips(names=names)
        catalog.scores(subjects=names)


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
