"""Claims, on SQLite and on PostgreSQL."""

import multiprocessing
import time
from collections.abc import Callable

import pytest

from vitau.catalog.catalog import Catalog, open_catalog


@pytest.fixture
def catalog(new_catalog: Callable[[], Catalog]) -> Catalog:
    return new_catalog()


def test_work_at_which_somebody_is_cannot_be_taken_and_can_when_it_is_given_back(catalog):
    assert catalog.claim("frames/1", "anna's worker", 60)
    assert not catalog.claim("frames/1", "bert's worker", 60)
    assert catalog.claim("frames/1", "anna's worker", 60)
    catalog.release(["frames/1"], "bert's worker")
    assert catalog.claimed() == {"frames/1": "anna's worker"}
    catalog.release(["frames/1"], "anna's worker")
    assert catalog.claimed() == {}
    assert catalog.claim("frames/1", "bert's worker", 60)


def test_a_claim_that_ran_out_is_free_and_one_that_is_renewed_does_not_run_out(catalog):
    for work in ("a", "b"):
        assert catalog.claim(work, "first", 0.4)
    assert catalog.renew_claims("first", 60) == {"a", "b"}
    time.sleep(0.5)
    assert not catalog.claim("a", "second", 60)
    assert catalog.claim("c", "first", 0)
    assert set(catalog.claimed()) == {"a", "b"}
    assert catalog.claim("c", "second", 60)
    assert catalog.renew_claims("first", 60) == {"a", "b"}
    catalog.release(["a", "b", "c"], "first")
    assert catalog.claimed() == {"c": "second"}


def _take(arguments: tuple[str, int]) -> int:
    url, worker = arguments
    catalog = open_catalog(url)
    return sum(catalog.claim(str(work), str(worker), 60) for work in range(20))


def test_of_several_processes_at_once_one_gets_each_piece_of_work(catalog):
    url = catalog.engine.url.render_as_string(hide_password=False)
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        taken = pool.map(_take, [(url, worker) for worker in range(4)], chunksize=1)
    assert sum(taken) == 20
    assert set(catalog.claimed()) == {str(work) for work in range(20)}
