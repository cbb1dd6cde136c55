import threading
from types import SimpleNamespace

import pytest

from flows import annotate
from flows.promotion import retrain_trigger
from flows.webhook_server import Rounds
from vitau.errors import LabelingError, StackError


@pytest.fixture
def rounds(monkeypatch) -> SimpleNamespace:
    """Rounds that pull nothing real, with what they tell and how often they look whether it is time to train."""
    summary = SimpleNamespace(new_answers=8, labeled=1, notices=())
    found = SimpleNamespace(told=[], looks=[], summary=summary, looked=threading.Semaphore(0), run=None)

    def look(_) -> str | None:
        found.looks.append(threading.current_thread().name)
        found.looked.release()
        if isinstance(found.run, Exception):
            raise found.run
        return found.run

    monkeypatch.setattr(annotate, "annotate", lambda **_: summary)
    monkeypatch.setattr(retrain_trigger, "retrain_if_due", look)
    monkeypatch.setattr("flows.webhook_server._LATER_S", 0.1)
    workspace = SimpleNamespace(settings=SimpleNamespace(retrain_quiet_s=0.2))
    found.rounds = Rounds(workspace, found.told.append)
    return found


def test_after_new_answers_it_looks_at_once_and_again_when_the_readers_have_paused(rounds):
    rounds.rounds.pull(7)
    assert len(rounds.looks) == 1
    assert rounds.looked.acquire(timeout=1)
    assert rounds.looked.acquire(timeout=10), "nobody looked when the readers had paused"
    assert len(rounds.looks) == 2


def test_a_burst_puts_the_second_look_off_and_there_is_one(rounds):
    for _ in range(5):
        rounds.rounds.pull(7)
    for _ in range(6):
        assert rounds.looked.acquire(timeout=10)
    assert not rounds.looked.acquire(timeout=0.6)


def test_without_new_answers_there_is_nothing_to_wait_for(rounds):
    rounds.summary.new_answers = 0
    rounds.rounds.pull()
    assert rounds.looked.acquire(timeout=1)
    assert not rounds.looked.acquire(timeout=0.6)


def test_a_retraining_is_told_and_what_goes_wrong_too_without_an_end_to_the_rounds(rounds, monkeypatch):
    rounds.run = "brave-lion"
    rounds.rounds.look()
    assert rounds.told == ["enough labels changed: retraining brave-lion"]
    rounds.run = StackError("Prefect cannot be asked")
    rounds.rounds.look()

    def fail(**_) -> None:
        raise LabelingError("no answer")

    monkeypatch.setattr(annotate, "annotate", fail)
    rounds.rounds.pull()
    assert rounds.told[1:] == ["Error: Prefect cannot be asked", "Error: no answer"]
