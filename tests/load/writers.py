"""Parallel writers on the ledger and on the object store."""

import random
from collections import Counter
from functools import cache
from typing import Final

from tests.load.measure import Clock, Figures, run_writers
from vitau.catalog.catalog import Catalog, open_catalog
from vitau.schema import AUS, Cohort, LedgerRow, Side, Stage, Subject
from vitau.store import Store, open_store, sha256_of

ANSWERS: Final = 3
"""Answers of a writer, one row per region each."""
OWN_OBJECTS: Final = 5
SHARED_OBJECTS: Final = 5
"""Objects that every writer tries to create; one of them may."""
OBJECT_BYTES: Final = 200_000
"""About a frame table of the demo."""


def write_ledger(name: str, url: str, *, processes: int, threads: int) -> Figures:
    """Append answers by parallel writers, each twice, and compare the ledger with what was sent."""
    catalog = open_catalog(url)
    catalog.add_subject(Subject(pseudonym="anna", cohort=Cohort.PALSY, source="s"))
    catalog.engine.dispose()  # a connection must not be shared with the children

    @cache
    def opened() -> Catalog:
        return open_catalog(url)

    def write(number: int, clock: Clock) -> int:
        new = 0
        for answer in range(ANSWERS):
            rows = [_row(number, answer, region) for region in range(len(AUS))]
            with clock.timed():
                new += opened().append_answers(rows)
            new += opened().append_answers(rows)  # as a pull that was killed does again
        return new

    wall_s, latencies_s, new = run_writers(write, processes=processes, threads=threads)
    found = Counter((row.annotation, row.au) for row in catalog.ledger())
    sent = processes * threads * ANSWERS * len(AUS)
    broken = catalog.broken_ledger_rows()
    catalog.engine.dispose()
    return Figures(
        name=name,
        pieces=sent,
        lost=sent - len(found),
        duplicated=sum(found.values()) - len(found) + max(0, sum(new) - sent) + len(broken),
        wall_s=wall_s,
        latencies_s=latencies_s,
        note=f"rows, {len(AUS)} per answer; chain {'broken' if broken else 'verified'}",
    )


def _row(writer: int, answer: int, region: int) -> LedgerRow:
    return LedgerRow(
        subject="anna",
        au=AUS[region],
        reader=f"reader-{writer}",
        stage=Stage.READER,
        affected=region == 0,
        side=Side.LEFT,
        annotation=f"{writer}-{answer}",
        version="v",
        answered_at="2026-11-23T00:00:00Z",
    )


def write_store(name: str, uri: str, *, processes: int, threads: int) -> Figures:
    """Create objects by parallel writers, some of them the same, and read every one of them again."""

    @cache
    def opened() -> Store:
        return open_store(uri)

    def write(number: int, clock: Clock) -> list[str]:
        created = []
        for key, data in _objects(number):
            with clock.timed():
                if opened().put(key, data):
                    created.append(key)
        return created

    wall_s, latencies_s, created = run_writers(write, processes=processes, threads=threads)
    store, writers = open_store(uri), processes * threads
    wins = Counter(key for keys in created for key in keys)
    expected: dict[str, set[str]] = {}
    for number in range(writers):
        for key, data in _objects(number):
            expected.setdefault(key, set()).add(sha256_of(data))
    found = set(store.keys())
    right = {key for key in found & expected.keys() if sha256_of(store.get(key)) in expected[key]}
    return Figures(
        name=name,
        pieces=len(expected),
        lost=len(expected) - len(right),
        duplicated=len(found - expected.keys()) + sum(wins[key] != 1 for key in expected),
        wall_s=wall_s,
        latencies_s=latencies_s,
        note=f"objects of {OBJECT_BYTES // 1000} kB, each created once in {len(latencies_s)} puts",
    )


def _objects(writer: int) -> list[tuple[str, bytes]]:
    """Return the keys and the bytes of a writer's objects; those of shared keys differ between writers."""
    data = random.Random(writer).randbytes(OBJECT_BYTES)
    own = [(f"load/{writer}/{number}", data[number:]) for number in range(OWN_OBJECTS)]
    return [*own, *((f"load/shared/{number}", data[number:]) for number in range(SHARED_OBJECTS))]
