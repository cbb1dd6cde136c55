"""Elsewhere than on a terminal a training says a line now and then, and no more."""

import io

from rich.console import Console

from vitau.training.reporting.progress import Talk


def test_a_plain_line_says_how_far_it_is_after_some_silence() -> None:
    out, now = io.StringIO(), [0.0]
    talk = Talk(Console(file=out, soft_wrap=True, highlight=False), clock=lambda: now[0])
    with talk.task("draw people") as step:
        for done in range(1, 101):
            now[0] += 0.5
            step(done, 100)
    assert out.getvalue().splitlines() == [
        "draw people",
        "draw people: 30 of 100, about 35 s left",
        "draw people: 60 of 100, about 20 s left",
        "draw people: 90 of 100, about 5 s left",
    ]


def test_a_line_of_another_kind_breaks_the_silence() -> None:
    out, now = io.StringIO(), [0.0]
    talk = Talk(Console(file=out, soft_wrap=True, highlight=False), clock=lambda: now[0])
    with talk.task("train") as step:
        for done in range(1, 41):
            now[0] += 1
            step(done, 100)
            if done % 10 == 0:
                talk.say(f"epoch {done // 10}")
    assert out.getvalue().splitlines() == ["train", "epoch 1", "epoch 2", "epoch 3", "epoch 4"]


def test_on_a_terminal_there_is_a_bar() -> None:
    out = io.StringIO()
    talk = Talk(Console(file=out, force_terminal=True, width=120))
    with talk.task("draw people") as step:
        step(3, 10)
    assert "draw people" in out.getvalue()
    assert "3/10" in out.getvalue()
