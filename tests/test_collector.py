"""Imported modules are exempt from garbage collections, in processes that ask for it only."""

import gc
from collections.abc import Iterator

import pytest

from vitau.collector import collect_seldom, collector_paused, spare_imports


@pytest.fixture
def num_frozen() -> Iterator[int]:
    """The number of objects that are exempt so far; afterwards, the collector of this process is as it was."""
    before = gc.get_threshold()
    spare_imports.cache_clear()
    yield gc.get_freeze_count()
    gc.set_threshold(*before)
    spare_imports.cache_clear()


def test_a_process_that_began_so_exempts_its_imports_once(num_frozen: int) -> None:
    collect_seldom()
    spare_imports()
    frozen = gc.get_freeze_count()
    assert frozen > num_frozen
    later = [[] for _ in range(100)]
    spare_imports()
    assert gc.get_freeze_count() <= frozen, f"{len(later)} later objects are collected as usual"


def test_another_process_is_left_alone(num_frozen: int) -> None:
    spare_imports()
    assert gc.get_freeze_count() <= num_frozen


def test_the_collector_goes_on_after_a_pause_also_after_an_error(num_frozen: int) -> None:
    with pytest.raises(ImportError), collector_paused():
        _import_in_vain()
    assert gc.isenabled()
    assert gc.get_freeze_count() > num_frozen


def _import_in_vain() -> None:
    assert not gc.isenabled()
    raise ImportError
