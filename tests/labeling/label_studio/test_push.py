"""Who is asked, who is asked again, and whose task is renewed."""

import pytest

from labeling.label_studio.push import AskedTask, due

NOW = {"p1": "m2", "p2": "m2"}


def task(material: str | None = "m2", *, answered: bool = False, after: int = 0, subject: str = "p1") -> AskedTask:
    return AskedTask(id=1, subject=subject, material=material, answered=answered, after=after)


@pytest.mark.parametrize(
    ("tasks", "heard", "stale", "expected"),
    [
        ([], 0, False, "new"),
        ([task()], 0, False, "nothing"),
        ([task("m1")], 0, False, "renewed"),
        ([task(None)], 0, False, "renewed"),
        ([task("m1", answered=True)], 0, False, "nothing"),  # its answer was not read yet, or cannot be
        ([task("m1", answered=True)], 1, False, "nothing"),
        ([task("m1", answered=True)], 1, True, "renewed"),
        ([], 1, True, "renewed"),  # the project was made anew
        ([task("m1", answered=True), task(after=1)], 1, True, "nothing"),
        ([task("m1", answered=True), task("m1", after=1)], 1, True, "renewed"),
        ([task("m1", answered=True), task(answered=True, after=1)], 1, True, "nothing"),  # answered since the last pull
        ([task(answered=True)], 1, True, "renewed"),  # renewed while the page was open: the older frames were shown
        ([task("m1", answered=True), task("m1")], 1, False, "nothing"),
    ],
)
def test_a_person_is_asked_about_once_and_again_only_where_the_answer_is_stale(tasks, heard, stale, expected):
    renewed, new = due(
        [*tasks, task(subject="p2")], NOW, heard={"p1": heard} if heard else {}, stale={"p1"} if stale else set()
    )
    assert (renewed, new) == (["p1"] if expected == "renewed" else [], ["p1"] if expected == "new" else [])
