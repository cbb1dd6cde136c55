import subprocess
import sys
import textwrap
import threading
import time

import pytest

from flows.execution.leases import Holding, release_the_dead, shares
from flows.settings import ROOT
from vitau.catalog.catalog import open_catalog
from vitau.errors import StoreError


@pytest.fixture
def claims(tmp_path):
    catalog = open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    yield catalog
    catalog.engine.dispose()


def hold_two_and_fail(claims):
    with Holding(claims, 0.8) as holding:
        assert holding.take("a")
        assert holding.take("b")
        holding.release(["b"])
        time.sleep(1.5)
        assert set(claims.claimed()) == {"a"}
        with Holding(claims, 60) as other:
            assert not other.take("a")
        raise StoreError("no room")


def test_what_is_held_is_renewed_and_given_back_at_the_end_even_after_an_error(claims):
    with pytest.raises(StoreError):
        hold_two_and_fail(claims)
    assert claims.claimed() == {}


def test_work_of_another_comes_again_when_the_other_has_given_it_back(claims):
    claims.claim("1", "other", 60)
    threading.Timer(1, claims.release, (["1"], "other")).start()
    done, handed_out = set(), []
    for places in shares(claims, 3, {0: "0", 1: "1", 2: "2"}, done, 2):
        handed_out.append(places)
        with Holding(claims, 60) as holding:
            done |= {place for place in places if holding.take(str(place))}
    assert handed_out == [[0, 1], [2], [1]]


def test_work_of_one_who_died_comes_again_when_the_lease_ends(claims):
    claims.claim("0", "killed", 1.2)
    began, done = time.monotonic(), set()
    for places in shares(claims, 1, {0: "0"}, done, 1):
        with Holding(claims, 60) as holding:
            done |= {place for place in places if holding.take(str(place))}
    assert 1.2 <= time.monotonic() - began < 10


HOLDER = """
    import sys, time
    from flows.execution.leases import Holding
    from vitau.catalog.catalog import open_catalog

    with Holding(open_catalog(sys.argv[1]), 600) as holding:
        assert holding.take("0")
        print("taken", flush=True)
        time.sleep(60)
"""


def test_what_a_process_of_this_machine_had_that_was_killed_is_free_at_once(claims):
    url = str(claims.engine.url)
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(HOLDER), url], stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"taken\n"
        release_the_dead(claims)
        assert set(claims.claimed()) == {"0"}
        other.kill()
    done = set()
    for places in shares(claims, 1, {0: "0"}, done, 1):
        with Holding(claims, 60) as holding:
            done |= {place for place in places if holding.take(str(place))}
    assert done == {0}
