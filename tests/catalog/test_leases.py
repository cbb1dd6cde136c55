"""Leases, on SQLite and on PostgreSQL."""

import multiprocessing
import time
from collections.abc import Callable

import pytest

from vitau.catalog.catalog import Catalog, open_catalog


@pytest.fixture
def catalog(new_catalog: Callable[[], Catalog]) -> Catalog:
    return new_catalog()


def test_a_lease_excludes_other_owners_until_it_is_released(catalog):
    assert catalog.acquire_lease("frames/1", "anna's worker", 60)
    assert not catalog.acquire_lease("frames/1", "bert's worker", 60)
    assert catalog.acquire_lease("frames/1", "anna's worker", 60)
    catalog.release_leases(["frames/1"], "bert's worker")
    assert catalog.leases() == {"frames/1": "anna's worker"}
    catalog.release_leases(["frames/1"], "anna's worker")
    assert catalog.leases() == {}
    assert catalog.acquire_lease("frames/1", "bert's worker", 60)


def test_an_expired_lease_is_free_and_a_heartbeat_prevents_expiry(catalog):
    for work in ("a", "b"):
        assert catalog.acquire_lease(work, "first", 0.4)
    assert catalog.heartbeat("first", 60) == {"a", "b"}
    time.sleep(0.5)
    assert not catalog.acquire_lease("a", "second", 60)
    assert catalog.acquire_lease("c", "first", 0)
    assert set(catalog.leases()) == {"a", "b"}
    assert catalog.acquire_lease("c", "second", 60)
    assert catalog.heartbeat("first", 60) == {"a", "b"}
    catalog.release_leases(["a", "b", "c"], "first")
    assert catalog.leases() == {"c": "second"}


def _take(arguments: tuple[str, int]) -> int:
    url, worker = arguments
    catalog = open_catalog(url)
    return sum(catalog.acquire_lease(str(work), str(worker), 60) is not None for work in range(20))


def test_one_of_several_concurrent_processes_gets_each_lease(catalog):
    url = catalog.engine.url.render_as_string(hide_password=False)
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        taken = pool.map(_take, [(url, worker) for worker in range(4)], chunksize=1)
    assert sum(taken) == 20
    assert set(catalog.leases()) == {str(work) for work in range(20)}


def test_fencing_tokens_grow_and_only_the_current_one_is_confirmed(catalog):
    first = catalog.acquire_lease("a", "first", 0.2)
    assert catalog.confirm_lease("a", first, 0)
    second = catalog.acquire_lease("a", "second", 60)
    assert second > first
    assert not catalog.confirm_lease("a", first, 60)
    assert catalog.confirm_lease("a", second, 60)
    catalog.release_leases(["a"], "second")
    assert not catalog.confirm_lease("a", second, 60)
    assert catalog.acquire_lease("a", "first", 60) > second, "a token never comes again"


def test_the_clock_of_the_workers_may_be_set_and_frees_no_lease(catalog, monkeypatch):
    catalog.acquire_lease("a", "first", 60)
    now_s = time.time()
    monkeypatch.setattr(time, "time", lambda: now_s + 3600)
    assert catalog.leases() == {"a": "first"}
    assert catalog.acquire_lease("a", "second", 60) is None
