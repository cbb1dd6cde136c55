import threading
from types import SimpleNamespace

import pytest

from flows import annotate
from flows.promotion import retrain_trigger
from flows.webhook_server import Rounds
from vitau.errors import LabelingError, StackError


@pytest.fixture
def server(monkeypatch) -> SimpleNamespace:
    """Rounds that pull nothing real; they record their messages and their checks for a due retraining."""
    summary = SimpleNamespace(new_answers=8, labeled=1, notices=())
    recorded = SimpleNamespace(messages=[], checks=[], summary=summary, checked=threading.Semaphore(0), run=None)

    def check(_) -> str | None:
        recorded.checks.append(threading.current_thread().name)
        recorded.checked.release()
        if isinstance(recorded.run, Exception):
            raise recorded.run
        return recorded.run

    monkeypatch.setattr(annotate, "annotate", lambda **_: summary)
    monkeypatch.setattr(retrain_trigger, "retrain_if_due", check)
    monkeypatch.setattr("flows.webhook_server._MARGIN_S", 0.1)
    workspace = SimpleNamespace(settings=SimpleNamespace(retrain_quiet_s=0.2))
    recorded.rounds = Rounds(workspace, recorded.messages.append)
    return recorded


def test_after_new_answers_a_retraining_is_checked_at_once_and_again_when_the_readers_have_paused(server):
    server.rounds.run(7)
    assert len(server.checks) == 1
    assert server.checked.acquire(timeout=1)
    assert server.checked.acquire(timeout=10), "no check followed the pause of the readers"
    assert len(server.checks) == 2


def test_a_burst_of_answers_postpones_the_second_check_and_there_is_one(server):
    for _ in range(5):
        server.rounds.run(7)
    for _ in range(6):
        assert server.checked.acquire(timeout=10)
    assert not server.checked.acquire(timeout=0.6)


def test_without_new_answers_no_second_check_follows(server):
    server.summary.new_answers = 0
    server.rounds.run()
    assert server.checked.acquire(timeout=1)
    assert not server.checked.acquire(timeout=0.6)


def test_a_retraining_and_an_error_are_printed_and_the_rounds_go_on(server, monkeypatch):
    server.run = "brave-lion"
    server.rounds.check_retraining()
    assert server.messages == ["enough labels changed: retraining brave-lion"]
    server.run = StackError("Prefect does not answer")
    server.rounds.check_retraining()

    def fail(**_) -> None:
        raise LabelingError("no answer")

    monkeypatch.setattr(annotate, "annotate", fail)
    server.rounds.run()
    assert server.messages[1:] == ["Error: Prefect does not answer", "Error: no answer"]
