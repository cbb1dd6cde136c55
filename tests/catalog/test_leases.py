"""Leases, on SQLite and on PostgreSQL."""

import multiprocessing
import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from vitau.catalog.catalog import Catalog, open_catalog
from vitau.catalog.leases import REKEYING
from vitau.catalog.tables import claims, rekeyings
from vitau.errors import CatalogError


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


def test_during_a_change_of_the_key_only_that_work_gets_a_lease(catalog):
    change = {"number": 1, "before": "b", "after": "a", "retired_key": "sealed", "recorded_at": "2026-11-29T00:00:00Z"}
    with catalog.engine.begin() as connection:
        connection.execute(sa.insert(rekeyings).values(change))
    with pytest.raises(CatalogError) as caught:
        catalog.acquire_lease("frames/1", "a worker", 60)
    assert str(caught.value) == "the pseudonym key is being changed: wait for the end of `python -m flows rekey`"
    assert catalog.acquire_lease(REKEYING, "a worker", 60)
    with catalog.engine.begin() as connection:
        connection.execute(sa.update(rekeyings).values(finished_at="2026-11-29T00:01:00Z"))
    assert catalog.acquire_lease("frames/1", "a worker", 60)


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


def row(catalog: Catalog, work: str) -> sa.RowMapping:
    with catalog.engine.connect() as connection:
        return connection.execute(sa.select(claims).where(claims.c.work == work)).mappings().one()


@pytest.mark.parametrize("new_catalog", ["sqlite"], indirect=True)
def test_a_lease_from_before_the_last_boot_is_free_until_its_owner_is_heard_again(catalog):
    token = catalog.acquire_lease("a", "first", 60)
    boot = row(catalog, "a")["boot"]
    for hear in (lambda: catalog.heartbeat("first", 60), lambda: catalog.confirm_lease("a", token, 60)):
        with catalog.engine.begin() as connection:
            connection.execute(sa.update(claims).values(boot="the boot before"))
        assert catalog.leases() == {}
        assert hear()
        assert catalog.leases() == {"a": "first"}
        assert row(catalog, "a")["boot"] == boot
    with catalog.engine.begin() as connection:
        connection.execute(sa.update(claims).values(boot="the boot before"))
    assert catalog.acquire_lease("a", "second", 60) is not None
    assert catalog.leases() == {"a": "second"}


def test_a_lease_lasts_the_given_seconds_and_only_progress_moves_its_progress_mark(catalog):
    token = catalog.acquire_lease("a", "first", 100)
    taken = row(catalog, "a")
    assert taken["expires_at"] - taken["progressed_at"] == pytest.approx(100)
    assert (taken["owner"], taken["token"]) == ("first", token)
    catalog.heartbeat("first", 200)
    silent = row(catalog, "a")
    assert silent["progressed_at"] == taken["progressed_at"]
    assert 100 <= silent["expires_at"] - taken["expires_at"] < 160
    catalog.heartbeat("first", 300, progressed=True)
    heard = row(catalog, "a")
    assert heard["progressed_at"] > taken["progressed_at"]
    assert heard["expires_at"] - heard["progressed_at"] == pytest.approx(300)
    catalog.confirm_lease("a", token, 400)
    assert 100 <= row(catalog, "a")["expires_at"] - heard["expires_at"] < 160
    again = catalog.acquire_lease("a", "first", 100)
    assert row(catalog, "a")["token"] == again == token + 1


def test_heartbeat_confirmation_and_release_reach_only_the_leases_that_they_name(catalog):
    tokens = {work: catalog.acquire_lease(work, owner, 60) for work, owner in (("a", "first"), ("b", "first"), ("c", "second"))}
    before = {work: row(catalog, work)["expires_at"] for work in tokens}
    assert catalog.heartbeat("second", 600) == {"c"}
    assert not catalog.confirm_lease("b", tokens["a"], 600)
    assert catalog.confirm_lease("a", tokens["a"], 600)
    assert [row(catalog, work)["expires_at"] > before[work] + 300 for work in "abc"] == [True, False, True]
    catalog.release_leases(["a", "c"], "first")
    assert catalog.leases() == {"b": "first", "c": "second"}
    catalog.release_leases([], "first")
    assert catalog.leases() == {"b": "first", "c": "second"}
