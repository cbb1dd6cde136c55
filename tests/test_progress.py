"""Progress: a bar on a terminal, plain lines of a reporter elsewhere, nothing else."""

import io

import pytest
from rich.console import Console

from vitau.progress import Reporter, bar, bars, stopwatch, track


def terminal(out: io.StringIO) -> Console:
    return Console(file=out, force_terminal=True, width=120)


def test_a_reporter_writes_a_line_after_some_time_without_one() -> None:
    out, now = io.StringIO(), [0.0]
    reporter = Reporter(Console(file=out, soft_wrap=True, highlight=False), clock=lambda: now[0])
    with reporter.task("draw people") as update:
        for done in range(1, 101):
            now[0] += 0.5
            update(done, 100)
    assert out.getvalue().splitlines() == [
        "draw people",
        "draw people: 30 of 100, about 35 s left",
        "draw people: 60 of 100, about 20 s left",
        "draw people: 90 of 100, about 5 s left",
    ]


def test_another_line_postpones_the_next_line_about_the_task() -> None:
    out, now = io.StringIO(), [0.0]
    reporter = Reporter(Console(file=out, soft_wrap=True, highlight=False), clock=lambda: now[0])
    with reporter.task("train") as update:
        for done in range(1, 41):
            now[0] += 1
            update(done, 100)
            if done % 10 == 0:
                reporter.line(f"epoch {done // 10}")
    assert out.getvalue().splitlines() == ["train", "epoch 1", "epoch 2", "epoch 3", "epoch 4"]


def test_a_reporter_shows_a_bar_on_a_terminal() -> None:
    out = io.StringIO()
    with Reporter(terminal(out)).task("draw people") as update:
        update(3, 10)
    assert "draw people" in out.getvalue()
    assert "3/10" in out.getvalue()


def test_a_bar_shows_its_newest_description() -> None:
    out = io.StringIO()
    with bar("bench", console=terminal(out)) as update:
        update(1, 4, "all features")
        update(2, 4)
    assert "all features" in out.getvalue()
    assert "2/4" in out.getvalue()


def test_a_bar_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    with bars() as group:
        group.add_task("one", total=1)
    assert capsys.readouterr() == ("", "")


def test_a_stopwatch_keeps_only_what_finished() -> None:
    seconds: dict[str, float] = {}
    with stopwatch(seconds, "done"):
        pass
    with pytest.raises(KeyError), stopwatch(seconds, "failed"):
        raise KeyError
    assert seconds == {"done": 0.0}
