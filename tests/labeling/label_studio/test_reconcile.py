"""What a pull concludes from what is there now and what was there before; a model of a reader drives it at random."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labeling.interface.config import Answer, to_result
from labeling.label_studio.annotations import ParsedAnnotation, ReaderProject, read_task, when
from labeling.label_studio.reconcile import concerned, merged, notice, reconcile, retract_project, standing
from vitau.schema import AU, AUS, LedgerEntry, LedgerRow, SeenAnnotation, Side, Stage

PROJECT = ReaderProject(id=7, title="ViTAU A", reader="A", stage=Stage.READER, made_at="2026-11-25T00:00:00+00:00")
START = datetime(2026, 11, 25, 10, tzinfo=UTC)


def at(minute: int) -> str:
    """A time as Label Studio writes it: a whole second has no fraction."""
    return (START + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")


def said(*regions: AU, side: Side = Side.LEFT) -> list[dict[str, Any]]:
    return to_result(Answer(affected={au: au in regions for au in AUS}, side=side if regions else None))


def annotation(number: int, minute: int, result: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"id": number, "updated_at": at(minute), "was_cancelled": False, "result": result, "lead_time": 12.5} | more


def task(number: int, subject: str, *annotations: dict[str, Any], **data: Any) -> dict[str, Any]:
    return {"id": number, "data": {"subject": subject, "frames": ["f:0", "f:1"]} | data, "annotations": list(annotations)}


@dataclass
class Pulls:
    """A ledger that appends what it does not have, and what the pulls saw."""

    rows: list[LedgerRow] = field(default_factory=list)
    seen: list[SeenAnnotation] = field(default_factory=list)
    subjects: set[str] = field(default_factory=lambda: {"p1", "p2", "p3"})
    done: dict[int, list[tuple[int, str]]] = field(default_factory=dict)

    def pull(self, *tasks: dict[str, Any], keep: bool = True, **how: Any):
        found = [one for each in tasks for one in read_task(PROJECT, each, self.subjects)]
        return self.take_in(found, self.seen, keep=keep, **how)

    def take_in(self, found: list[ParsedAnnotation], seen: list[SeenAnnotation], *, keep: bool = True, **how: Any):
        found.sort(key=lambda one: (when(one.version), int(one.annotation)))
        done = reconcile(PROJECT, found, seen, self.said(), num_seen=standing(self.seen), **how)
        self.seen = merged(self.seen, done.seen)
        if keep:
            known = {(row.annotation, row.version, row.au) for row in self.rows}
            assert known.isdisjoint((row.annotation, row.version, row.au) for row in done.rows)
            self.rows += done.rows
        return done, list(done.rows)

    def pull_changed(self, *tasks: dict[str, Any], keep: bool, **how: Any) -> None:
        """Reads what changed since the last pull that was not killed, and everything if the counts then differ."""
        now = {each["id"]: [(given["id"], given["updated_at"]) for given in each["annotations"]] for each in tasks}
        changed = [each for each in tasks if each["annotations"] and now[each["id"]] != self.done.get(each["id"])]
        found = [one for each in changed for one in read_task(PROJECT, each, self.subjects)]
        known = merged(self.seen, reconcile(PROJECT, found, concerned(found, self.seen), [], num_seen=99).seen)
        if standing(known) == sum(map(len, now.values())):
            self.take_in(found, concerned(found, self.seen), keep=keep, **how)
        else:
            self.pull(*tasks, keep=keep, **how)
        if keep:
            self.done = now

    def said(self) -> list[LedgerEntry]:
        return [
            LedgerEntry(annotation=row.annotation, subject=row.subject, version=row.version, retracted=row.retracted)
            for row in self.rows
            if row.au is AUS[0]
        ]

    def last(self, subject: str, au: AU = AU.AU12) -> bool | str | None:
        """What the ledger says last of a region, ``"nothing"`` if nothing stands."""
        rows = [row for row in self.rows if (row.subject, row.au) == (subject, au)]
        return "nothing" if not rows or rows[-1].retracted else rows[-1].affected


def test_an_answer_is_eight_rows_with_what_was_on_the_page():
    pulls = Pulls()
    suggested = {"suggestions": {"AU12": 0.75}, "suggested_by": "vitau-regions/3"}
    _, rows = pulls.pull(task(1, "p1", annotation(5, 0, said(AU.AU12)), **suggested))
    assert [row.au for row in rows] == list(AUS)
    row = rows[AUS.index(AU.AU12)]
    assert (row.affected, row.side, row.lead_time_s, row.frames_shown) == (True, Side.LEFT, 12.5, ("f:0", "f:1"))
    assert (row.suggestion, row.suggested_by) == (0.75, "vitau-regions/3")
    assert {(row.suggestion, row.suggested_by) for row in rows if row.au is not AU.AU12} == {(None, None)}
    assert pulls.pull(task(1, "p1", annotation(5, 0, said(AU.AU12)), **suggested))[1] == []


def test_a_deleted_answer_is_taken_back_once_and_may_come_back():
    pulls = Pulls()
    pulls.pull(task(1, "p1", annotation(5, 0, said(AU.AU12))))
    _, rows = pulls.pull(task(1, "p1"))
    assert {(row.version, row.retracted, row.affected, row.side) for row in rows} == {
        ("retracted 2026-11-25T10:00:00Z", True, None, None)
    }
    assert len(rows) == 8
    assert pulls.pull(task(1, "p1"))[1] == []
    pulls.pull(task(1, "p1", annotation(5, 0, said(AU.AU12))))
    assert pulls.last("p1") is True
    pulls.pull(task(1, "p1"))
    assert pulls.last("p1") == "nothing"


def test_of_two_answers_about_one_person_the_newest_that_is_left_speaks_last():
    pulls = Pulls()
    first, second = annotation(5, 0, said(AU.AU12)), annotation(6, 1, said())
    pulls.pull(task(1, "p1", first, second))
    assert pulls.last("p1") is False
    pulls.pull(task(1, "p1", first))
    assert pulls.last("p1") is True
    late = annotation(4, -5, said())
    pulls.pull(task(1, "p1", first, late))
    assert pulls.last("p1") is True


def test_an_answer_that_the_reader_cancels_is_taken_back():
    pulls = Pulls()
    pulls.pull(task(1, "p1", annotation(5, 0, said(AU.AU12))))
    pulls.pull(task(1, "p1", annotation(5, 1, said(AU.AU12), was_cancelled=True)))
    assert pulls.last("p1") == "nothing"


def test_many_that_vanish_at_once_are_held_until_somebody_accepts_it():
    pulls = Pulls(subjects={f"p{number}" for number in range(10)})
    everything = [task(number, f"p{number}", annotation(number, 0, said(AU.AU12))) for number in range(10)]
    pulls.pull(*everything)
    done, rows = pulls.pull(*everything[:6])
    assert (rows, done.vanished) == ([], 4)
    assert notice(PROJECT, done, pulls.seen, restored=False) == (
        "4 answers in project “ViTAU A” are gone and 0 are older than we know them (many vanished at once): what the readers "
        "said stands; bring them back in Label Studio, or run `annotate --accept-deletions`"
    )
    done, rows = pulls.pull(*everything[:6])
    assert (rows, done.vanished) == ([], 0)
    assert notice(PROJECT, done, pulls.seen, restored=False) is not None, "it is said until somebody decides"
    done, rows = pulls.pull(*everything[:6], accept=True)
    assert {row.subject for row in rows if row.retracted} == {"p6", "p7", "p8", "p9"}
    assert notice(PROJECT, done, pulls.seen, restored=False) is None


def test_three_of_ten_are_taken_back_without_a_question():
    pulls = Pulls(subjects={f"p{number}" for number in range(10)})
    everything = [task(number, f"p{number}", annotation(number, 0, said(AU.AU12))) for number in range(10)]
    pulls.pull(*everything)
    _, rows = pulls.pull(*everything[:7])
    assert {row.subject for row in rows} == {"p7", "p8", "p9"}


def test_what_comes_back_after_it_was_held_needs_no_new_row():
    pulls = Pulls()
    whole = [task(1, "p1", annotation(5, 0, said(AU.AU12))), task(2, "p2", annotation(6, 0, said()))]
    pulls.pull(*whole)
    done, _ = pulls.pull(whole[0], restored=True)
    assert done.vanished == 1
    done, rows = pulls.pull(*whole)
    assert (rows, [each.held for each in pulls.seen]) == ([], [False, False])
    assert notice(PROJECT, done, pulls.seen, restored=False) is None


def test_a_restored_backup_takes_nothing_back_and_a_number_given_out_again_is_another_answer():
    pulls = Pulls()
    pulls.pull(task(1, "p1", annotation(5, 10, said(AU.AU12))), task(2, "p2", annotation(6, 11, said(AU.AU12))))
    # the backup has an older version of 5 and no 6; then a reader answers about p3, and gets the number 6
    older = task(1, "p1", annotation(5, 2, said()))
    reused = task(3, "p3", annotation(6, 20, said(AU.AU12)))
    done, rows = pulls.pull(older, reused)
    assert (done.vanished, done.older) == (1, 1)
    assert {row.subject for row in rows} == {"p3"}
    assert [pulls.last(subject) for subject in ("p1", "p2", "p3")] == [True, True, True]
    pulls.pull(older, reused, accept=True)
    assert [pulls.last(subject) for subject in ("p1", "p2", "p3")] == [False, "nothing", True]


def test_what_cannot_be_read_takes_nothing_back_and_is_read_when_it_can():
    pulls = Pulls(subjects={"p1"})
    done, _ = pulls.pull(task(1, "p1", annotation(5, 0, [{"from_name": "regions", "value": {"choices": ["AU7"]}}])))
    assert [each.problem for each in done.seen] == [
        "unknown region AU7; the regions are AU1, AU2, AU4, AU6, AU9, AU12, AU25, AU26"
    ]
    pulls.pull(task(1, "p1", annotation(5, 1, said(AU.AU12))), task(2, "p2", annotation(6, 0, said())))
    assert [each.problem for each in pulls.seen] == [None, "unknown subject p2; it was erased, or the task was not made by us"]
    assert pulls.last("p1") is True
    pulls.subjects.add("p2")
    pulls.pull(task(1, "p1", annotation(5, 1, said(AU.AU12))), task(2, "p2", annotation(6, 0, said())))
    assert (pulls.last("p2"), [each.problem for each in pulls.seen]) == (False, [None, None])
    pulls.pull(task(1, "p1", annotation(5, 2, [])), task(2, "p2", annotation(6, 0, said())))
    assert pulls.last("p1") is True, "an answer made unreadable is not taken back"


def test_a_task_made_by_hand_is_no_answer():
    strange = {"id": 1, "data": {"subject": "p1"}, "annotations": [annotation(5, 0, said())]}
    (found,) = read_task(PROJECT, strange, {"p1"})
    assert (found.rows, found.problem) == (
        (),
        "the task of subject p1 names no frames; it was not made by us: delete it in Label Studio",
    )


def test_of_a_project_that_is_gone_only_what_was_not_answered_anew_is_taken_back():
    pulls = Pulls()
    pulls.pull(task(1, "p1", annotation(5, 0, said(AU.AU12))), task(2, "p2", annotation(6, 0, said())))
    rows = retract_project(PROJECT, pulls.seen, pulls.said(), {"p2"})
    assert {(row.subject, row.retracted) for row in rows} == {("p1", True)}


steps = st.lists(
    st.tuples(
        st.sampled_from(["answer", "correct", "delete", "pull", "killed pull", "whole pull", "killed whole pull", "nothing"]),
        st.integers(0, 2),
        st.sampled_from([(), (AU.AU12,), (AU.AU1, AU.AU12)]),
    ),
    max_size=30,
)


@given(steps)
@example([("answer", 0, ()), ("pull", 0, ()), ("delete", 0, ()), ("killed pull", 0, ())])
@example([("answer", 0, ()), ("killed pull", 0, ()), ("delete", 0, ())])
def test_after_any_history_the_ledger_says_last_what_label_studio_has(history):
    there: dict[int, tuple[str, dict[str, Any]]] = {}  # annotation → its person
    pulls = Pulls(subjects={"p0", "p1", "p2"})

    def tasks() -> list[dict[str, Any]]:
        return [task(n, f"p{n}", *(given for who, given in there.values() if who == f"p{n}")) for n in range(3)]

    for minute, (what, person, regions) in enumerate(history):
        mine = [number for number, (who, _) in there.items() if who == f"p{person}"]
        if what == "answer":
            there[minute + 1] = (f"p{person}", annotation(minute + 1, minute, said(*regions)))
        elif what == "correct" and mine:
            there[mine[0]] = (f"p{person}", annotation(mine[0], minute, said(*regions)))
        elif what == "delete" and mine:
            del there[mine[-1]]
        elif "pull" in what:
            before = list(pulls.rows)
            pull = pulls.pull if "whole" in what else pulls.pull_changed
            pull(*tasks(), keep="killed" not in what, accept=True)
            assert pulls.rows[: len(before)] == before
    pulls.pull_changed(*tasks(), keep=True, accept=True)
    assert pulls.pull(*tasks(), accept=True)[1] == []
    for person in ("p0", "p1", "p2"):
        mine = [given for who, given in there.values() if who == person]
        newest = max(mine, key=lambda given: (given["updated_at"], given["id"]), default=None)
        expected = "nothing" if newest is None else any("AU12" in region["value"]["choices"] for region in newest["result"])
        assert pulls.last(person) == expected


@pytest.mark.parametrize("version", ["2026-11-25T10:00:00Z", "2026-11-25T10:00:00.500000Z"])
def test_a_whole_second_is_before_its_half(version):
    pulls = Pulls()
    pulls.pull(task(1, "p1", annotation(5, 0, said()) | {"updated_at": "2026-11-25T10:00:00Z"}))
    done, _ = pulls.pull(task(1, "p1", annotation(5, 0, said(AU.AU12)) | {"updated_at": version}))
    assert done.older == 0
    assert pulls.last("p1") is (version != "2026-11-25T10:00:00Z")


def test_a_project_of_the_same_number_made_at_another_time_is_another_project():
    assert PROJECT.identity != replace(PROJECT, made_at="2027-01-01T00:00:00+00:00").identity


def test_an_answer_on_a_page_opened_before_its_task_was_renewed_is_about_what_that_page_showed():
    before = [
        {"frames": ["f:0"], "suggestions": {"AU12": 0.5}, "suggested_by": "m/1", "until": at(10)},
        {"frames": ["f:1", "f:2"], "suggestions": None, "suggested_by": None, "until": at(20)},
    ]
    shown = []
    for opened, took in ((8, 0), (19, 60 * 10), (19, 0), (21, 0), (22, 60 * 5)):
        given = annotation(5, opened, said(AU.AU12), lead_time=took, created_at=at(opened))
        (found,) = read_task(PROJECT, task(1, "p1", given, frames=["f:9"], before=before), {"p1"})
        shown.append((found.rows[0].frames_shown, found.rows[5].suggestion, found.rows[5].suggested_by))
    old, middle, new = (("f:0",), 0.5, "m/1"), (("f:1", "f:2"), None, None), (("f:9",), None, None)
    assert shown == [old, old, middle, new, middle]
