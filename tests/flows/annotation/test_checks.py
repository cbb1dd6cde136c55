"""Checks of readers among the next people of a queue."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flows.annotation.checks import Candidates, check_candidates, check_questions, mix_in
from labeling.label_studio.push import PushedTask
from vitau.schema import CheckKind, CheckQuestion

CONTROL, REPEAT = CheckKind.CONTROL, CheckKind.REPEAT
NOBODY = Candidates(controls=[], repeats=[])


def names(prefix: str, number: int) -> list[str]:
    return [f"{prefix}{index}" for index in range(number)]


def test_the_share_of_checks_is_that_of_the_settings_and_both_kinds_are_there():
    found = Counter[CheckKind | None]()
    draw = np.random.default_rng(3).random
    for _ in range(50):
        candidates = Candidates(controls=names("c", 40), repeats=names("r", 40))
        found.update(kind for _, kind in mix_in(names("p", 30), candidates, share=0.2, num_free=50, draw=draw))
    share = (found[CONTROL] + found[REPEAT]) / found.total()
    assert 0.17 < share < 0.23
    assert 0.4 < found[CONTROL] / (found[CONTROL] + found[REPEAT]) < 0.6


@given(
    st.integers(0, 20), st.integers(0, 5), st.integers(0, 5), st.floats(0, 0.5), st.integers(0, 25), st.integers(0, 2**32 - 1)
)
def test_new_people_keep_their_order_and_nobody_is_asked_about_twice(new, controls, repeats, share, num_free, seed):
    people, candidates = names("p", new), Candidates(controls=names("c", controls), repeats=names("r", repeats))
    mixed = mix_in(people, candidates, share=share, num_free=num_free, draw=np.random.default_rng(seed).random)
    subjects = [subject for subject, _ in mixed]
    assert len(set(subjects)) == len(subjects) <= num_free
    placed = [subject for subject, kind in mixed if kind is None]
    assert placed == people[: len(placed)]
    assert len(placed) == new or len(subjects) == num_free
    assert all(subject.startswith({CONTROL: "c", REPEAT: "r", None: "p"}[kind]) for subject, kind in mixed)
    assert not mixed or mixed[-1][1] is None or len(mixed) == num_free, "no check follows the last person"


def test_without_candidates_or_new_people_there_is_no_check():
    draw = iter([0.0] * 9).__next__
    assert mix_in(["p1"], NOBODY, share=0.5, num_free=9, draw=draw) == [("p1", None)]
    assert mix_in([], Candidates(controls=["c1"], repeats=[]), share=0.5, num_free=9, draw=draw) == []


def task(number: int, subject: str, material: str, *, answered: bool = True) -> PushedTask:
    return PushedTask(id=number, subject=subject, material=material, answered=answered)


def test_people_are_read_again_once_oldest_first_with_the_same_pictures_and_controls_are_new_to_the_reader():
    tasks = [
        task(1, "p2", "m2"),
        task(2, "p1", "m1"),
        task(3, "p3", "old"),
        task(4, "p4", "m4", answered=False),
        task(5, "p5", "m5"),
        task(6, "c1", "x"),
        task(7, "p6", "m6"),
    ]
    materials = {f"p{number}": f"m{number}" for number in range(1, 7)}
    found = check_candidates(tasks, {"p1", "p2", "p3", "p5", "c1"}, materials, controls=["c2", "c1", "c3"], repeated={"p5"})
    assert found == Candidates(controls=["c2", "c3"], repeats=["p2", "p1"])


def test_a_check_is_recorded_as_the_task_asks_it():
    tasks = {name: {"data": {"subject": name, "material": f"m-{name}", "after": 1}} for name in ("p1", "c1")}
    assert check_questions("a", [("p1", None), ("c1", CONTROL), ("gone", REPEAT)], tasks) == [
        CheckQuestion(reader="a", subject="c1", material="m-c1", after=1, kind=CONTROL)
    ]
