import shutil
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

from flows.execution.leases import LeaseHolder, exclusive_lease, open_batches, reap_orphaned_leases
from flows.settings import ROOT
from tests.databases import empty_catalog
from vitau.catalog.catalog import open_catalog
from vitau.errors import CatalogError, LeaseLostError, StoreError
from vitau.processes import process_identity


@pytest.fixture
def catalog(tmp_path):
    catalog = open_catalog(f"sqlite:///{shutil.copy(empty_catalog(), tmp_path / 'catalog.db')}")
    yield catalog
    catalog.engine.dispose()


def lease_two_and_fail(catalog):
    with LeaseHolder(catalog, 0.8) as leases:
        assert leases.acquire("a")
        assert leases.acquire("b")
        leases.release(["b"])
        time.sleep(1.5)
        assert set(catalog.leases()) == {"a"}
        with LeaseHolder(catalog, 60) as other:
            assert not other.acquire("a")
        raise StoreError("disk full")


def test_leases_are_renewed_and_released_at_the_end_even_after_an_error(catalog):
    with pytest.raises(StoreError):
        lease_two_and_fail(catalog)
    assert catalog.leases() == {}


def test_work_that_another_worker_holds_comes_again_when_it_is_released(catalog):
    catalog.acquire_lease("1", "other", 60)
    threading.Timer(1, catalog.release_leases, (["1"], "other")).start()
    done, batches = set(), []
    for indices in open_batches(catalog, 3, {0: "0", 1: "1", 2: "2"}, done, 2):
        batches.append(indices)
        with LeaseHolder(catalog, 60) as leases:
            done |= {index for index in indices if leases.acquire(str(index))}
    assert batches == [[0, 1], [2], [1]]


def test_work_of_a_dead_worker_comes_again_when_the_lease_expires(catalog):
    catalog.acquire_lease("0", "killed", 1.2)
    began, done = time.monotonic(), set()
    for indices in open_batches(catalog, 1, {0: "0"}, done, 1):
        with LeaseHolder(catalog, 60) as leases:
            done |= {index for index in indices if leases.acquire(str(index))}
    assert 1.2 <= time.monotonic() - began < 10


HOLDER = """
    import sys, time
    from flows.execution.leases import LeaseHolder
    from vitau.catalog.catalog import open_catalog

    with LeaseHolder(open_catalog(sys.argv[1]), 600) as leases:
        assert leases.acquire("0")
        print("acquired", flush=True)
        time.sleep(60)
"""


def test_leases_of_a_killed_process_of_this_machine_are_released_at_once(catalog):
    url = str(catalog.engine.url)
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(HOLDER), url], stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"acquired\n"
        reap_orphaned_leases(catalog)
        assert set(catalog.leases()) == {"0"}
        other.kill()
    done = set()
    for indices in open_batches(catalog, 1, {0: "0"}, done, 1):
        with LeaseHolder(catalog, 60) as leases:
            done |= {index for index in indices if leases.acquire(str(index))}
    assert done == {0}


def test_a_worker_whose_work_was_taken_over_learns_it_before_it_writes(catalog):
    lost = threading.Event()
    with LeaseHolder(catalog, 0.8, on_lost=lost.set) as suspended:
        assert suspended.acquire("a")
        assert suspended.is_held("a")
        (owner,) = catalog.leases().values()
        catalog.release_leases(["a"], owner)  # its heartbeats were not heard, and the lease expired
        with LeaseHolder(catalog, 60) as successor:
            assert successor.acquire("a")
            assert not suspended.is_held("a")
            with pytest.raises(LeaseLostError, match="another worker has taken this work over"):
                suspended.require("a")
            assert lost.wait(10)
            assert successor.is_held("a")


def test_work_without_progress_loses_its_lease(catalog):
    with LeaseHolder(catalog, 0.4, stuck_s=0.6) as stuck:
        assert stuck.acquire("a")
        for _ in range(5):
            time.sleep(0.2)
            stuck.progress()
        assert set(catalog.leases()) == {"a"}
        time.sleep(1.5)
        assert catalog.leases() == {}
        assert catalog.acquire_lease("a", "another", 60) is not None


def test_work_that_makes_progress_again_before_its_lease_expires_keeps_it(catalog):
    with LeaseHolder(catalog, 1.5, stuck_s=0.3) as slow:
        assert slow.acquire("a")
        time.sleep(0.8)  # a renewal is left out
        for _ in range(20):
            slow.progress()
            time.sleep(0.1)
        with LeaseHolder(catalog, 60) as other:
            assert not other.acquire("a")


def test_a_step_of_the_clock_does_not_free_the_lease_of_a_living_process(catalog, monkeypatch):
    with LeaseHolder(catalog, 600) as leases:
        assert leases.acquire("a")
        started = psutil.Process().create_time()
        monkeypatch.setattr(psutil.Process, "create_time", lambda _: started + 2)  # the kernel computes it from the clock
        reap_orphaned_leases(catalog)
        assert set(catalog.leases()) == {"a"}


def test_the_second_worker_waits_until_the_first_has_finished_the_same_training(catalog):
    order, waiting = [], threading.Event()

    def second() -> None:
        with exclusive_lease(catalog, "trainings/1", 60, on_wait=waiting.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with exclusive_lease(catalog, "trainings/1", 60):
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_holder_counts_only_its_own_leases_and_forgets_those_that_it_released(catalog):
    with LeaseHolder(catalog, 60) as holder, LeaseHolder(catalog, 60) as other:
        assert holder.acquire("a")
        assert other.acquire("b")
        assert not holder.acquire("b")
        assert not holder.is_held("b")
        with pytest.raises(LeaseLostError) as caught:
            holder.require("b")
        assert str(caught.value) == (
            "another worker has taken this work over, because this one was silent, suspended or without progress: "
            "nothing more is written; the other worker completes it"
        )
        holder.require("a")
        first = holder.token("a")
        holder.release(["a"])
        assert not holder.is_held("a")
        with pytest.raises(KeyError):
            holder.token("a")
        assert holder.acquire("a")
        assert holder.token("a") > first
        assert len(set(catalog.leases().values())) == 2, "every holder has an owner of its own"


def test_of_several_leases_all_that_are_wanted_are_acquired_or_none(catalog):
    with LeaseHolder(catalog, 60) as holder, LeaseHolder(catalog, 60) as other:
        assert other.acquire("b")
        assert holder.acquire("earlier")
        assert holder.acquire_some(["a", "b", "c", "d"], 2) == ["a", "c"]
        assert set(catalog.leases()) == {"earlier", "a", "b", "c"}, "one that was not wanted stays free"
        for name in ("earlier", "a", "c"):
            holder.require(name)
            assert holder.token(name) > 0
        assert other.acquire_some(["a", "c", "d"], 2) == []
        assert set(catalog.leases()) == {"earlier", "a", "b", "c"}, "the free one is free again"
        assert not other.is_held("d")
        assert holder.acquire_some(["a", "e"], 1) == ["a"], "its own lease is renewed"
        holder.release(["a", "never acquired"])
        assert set(catalog.leases()) == {"earlier", "b", "c"}


def test_work_that_acquires_several_leases_again_and_again_makes_progress(catalog):
    with LeaseHolder(catalog, 0.4, stuck_s=0.6) as holder:
        for _ in range(4):
            time.sleep(0.3)
            assert holder.acquire_some(["a"], 1) == ["a"]
        holder.require("a")


def test_the_loss_of_a_lease_is_reported_once_and_a_released_one_is_none(catalog):
    lost = []
    with LeaseHolder(catalog, 2.0, on_lost=lambda: lost.append(time.monotonic())) as holder:  # a busy machine pauses for 0.2 s
        for work in ("a", "b", "c"):
            assert holder.acquire(work)
        holder.release(["c"])
        time.sleep(2.5)
        assert lost == []
        (owner,) = set(catalog.leases().values())
        catalog.release_leases(["a"], owner)
        time.sleep(2.5)
        assert len(lost) == 1
        assert catalog.leases() == {"b": owner}, "the others are still renewed"


def test_a_holder_without_a_listener_survives_the_loss_and_a_short_outage(catalog, monkeypatch):
    heartbeat, calls = catalog.heartbeat, []

    def interrupted(owner: str, lease_s: float, *, progressed: bool) -> set[str]:
        calls.append(progressed)
        if len(calls) == 2:
            raise CatalogError("the server restarts")
        return heartbeat(owner, lease_s, progressed=progressed)

    monkeypatch.setattr(catalog, "heartbeat", interrupted)
    with LeaseHolder(catalog, 1.2) as holder:
        assert holder.acquire("a")
        assert holder.acquire("b")
        (owner,) = set(catalog.leases().values())
        catalog.release_leases(["a"], owner)
        time.sleep(2.4)
        assert len(calls) >= 4
        assert catalog.leases() == {"b": owner}
    assert calls[0] is True
    assert not any(calls[2:]), "progress is passed on once"


def test_the_waiting_worker_tells_it_once_and_learns_of_the_loss_of_its_own_lease(catalog):
    waits, lost = [], threading.Event()
    catalog.acquire_lease("a", "other", 60)
    threading.Timer(1.2, catalog.release_leases, (["a"], "other")).start()
    with exclusive_lease(catalog, "a", 0.8, on_wait=lambda: waits.append(1), on_lost=lost.set) as holder:
        assert waits == [1]
        assert holder.is_held("a")
        (owner,) = catalog.leases().values()
        catalog.release_leases(["a"], owner)
        assert lost.wait(10)
    with exclusive_lease(catalog, "b", 0.4, stuck_s=0.2):
        time.sleep(1)
        assert catalog.leases() == {}, "without progress it renews nothing"


def test_a_dead_owner_loses_every_lease_and_a_living_or_foreign_one_none(catalog):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        dead = f"{process_identity(process.pid)}:1"
        for work in ("a", "b"):
            catalog.acquire_lease(work, dead, 60)
        catalog.acquire_lease("c", "elsewhere", 60)
        reap_orphaned_leases(catalog)
        assert set(catalog.leases()) == {"a", "b", "c"}
        process.kill()
    reap_orphaned_leases(catalog)
    assert catalog.leases() == {"c": "elsewhere"}
