"""Which subjects are asked about, asked about again, and which tasks are renewed."""

import pytest

from labeling.label_studio.push import PushedTask, due_subjects

NOW = {"p1": "m2", "p2": "m2"}


def task(material: str | None = "m2", *, answered: bool = False, after: int = 0, subject: str = "p1") -> PushedTask:
    return PushedTask(id=1, subject=subject, material=material, answered=answered, after=after)


@pytest.mark.parametrize(
    ("tasks", "answered", "stale", "expected"),
    [
        ([], 0, False, "new"),
        ([task()], 0, False, "nothing"),
        ([task("m1")], 0, False, "again"),
        ([task(None)], 0, False, "again"),
        ([task("m1", answered=True)], 0, False, "nothing"),  # its answer was not read yet, or cannot be
        ([task("m1", answered=True)], 1, False, "nothing"),
        ([task("m1", answered=True)], 1, True, "again"),
        ([], 1, True, "again"),  # the project was made anew
        ([task("m1", answered=True), task(after=1)], 1, True, "nothing"),
        ([task("m1", answered=True), task("m1", after=1)], 1, True, "again"),
        ([task("m1", answered=True), task(answered=True, after=1)], 1, True, "nothing"),  # answered since the last pull
        ([task(answered=True)], 1, True, "again"),  # renewed while the page was open: the older frames were shown
        ([task("m1", answered=True), task("m1")], 1, False, "nothing"),
    ],
)
def test_a_person_is_asked_about_once_and_again_only_where_the_answer_is_stale(tasks, answered, stale, expected):
    again, new = due_subjects(
        [*tasks, task(subject="p2")], NOW, answered={"p1": answered} if answered else {}, stale={"p1"} if stale else set()
    )
    assert (again, new) == (["p1"] if expected == "again" else [], ["p1"] if expected == "new" else [])
