"""Reconciliation of a project with the ledger, by examples and by random histories of a reader."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labeling.interface.answer import Answer, to_result
from labeling.label_studio.annotations import ParsedAnnotation, ReaderProject, parse_task, parse_time
from labeling.label_studio.reconcile import count_present, loss_notice, reconcile, relevant, retract_project, updated
from vitau.schema import AU, AUS, CheckKind, CheckQuestion, LedgerEntry, LedgerRow, SeenAnnotation, Side, Stage

PROJECT = ReaderProject(id=7, title="ViTAU A", reader="A", stage=Stage.READER, made_at="2026-11-25T00:00:00+00:00")
START = datetime(2026, 11, 25, 10, tzinfo=UTC)


def at(minute: int) -> str:
    """Return a time in Label Studio's format: a whole second has no fraction."""
    return (START + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")


def result_of(*regions: AU, side: Side = Side.LEFT) -> list[dict[str, Any]]:
    return to_result(Answer(affected={au: au in regions for au in AUS}, side=side if regions else None))


def annotation(number: int, minute: int, result: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"id": number, "updated_at": at(minute), "was_cancelled": False, "result": result, "lead_time": 12.5} | more


def task(number: int, subject: str, *annotations: dict[str, Any], **data: Any) -> dict[str, Any]:
    return {"id": number, "data": {"subject": subject, "frames": ["f:0", "f:1"]} | data, "annotations": list(annotations)}


def test_an_answer_to_a_question_that_checks_the_reader_is_marked_and_so_is_its_retraction():
    question = CheckQuestion(reader="A", subject="p1", material="m", after=1, kind=CheckKind.REPEAT)
    checked = replace(PROJECT, checks=(question,))
    given = annotation(2, 5, result_of(AU.AU1))
    (again,) = parse_task(checked, task(9, "p1", given, material="m", after=1), {"p1"})
    (first,) = parse_task(checked, task(8, "p1", given, material="m", after=0), {"p1"})
    (other,) = parse_task(checked, task(7, "p1", given, material="other", after=1), {"p1"})
    assert [{row.check_kind for row in parsed.rows} for parsed in (again, first, other)] == [{CheckKind.REPEAT}, {None}, {None}]
    entry = LedgerEntry(annotation="2", subject="p1", version=at(5), check_kind=CheckKind.REPEAT)
    seen = SeenAnnotation(annotation="2", task=9, subject="p1", version=at(5))
    gone = reconcile(checked, [], [seen], [entry], num_seen=1)
    assert {(row.retracted, row.check_kind) for row in gone.rows} == {(True, CheckKind.REPEAT)}


def test_a_deleted_answer_about_one_visit_leaves_that_about_another_visit_alone():
    first = task(8, "p1", annotation(1, 3, result_of(AU.AU1)))
    later = task(9, "p1", annotation(2, 5, result_of()), visit="week-12")
    pulls = Pulls()
    _, rows = pulls.pull(first, later)
    assert {(row.annotation, row.case) for row in rows} == {("1", "p1"), ("2", "p1/week-12")}
    _, rows = pulls.pull(first, {**later, "annotations": []}, accept=True)
    assert {(row.annotation, row.case, row.retracted) for row in rows} == {("2", "p1/week-12", True)}
    assert pulls.pull(first, {**later, "annotations": []})[1] == []


def test_a_task_with_a_visit_that_no_manifest_can_state_is_a_problem():
    (parsed,) = parse_task(PROJECT, task(8, "p1", annotation(1, 3, result_of()), visit="Anna Schmidt"), {"p1"})
    assert parsed.rows == ()
    assert parsed.problem is not None
    assert "Anna" not in parsed.problem


@dataclass
class Pulls:
    """A ledger without duplicates, and the annotations that pulls have seen."""

    rows: list[LedgerRow] = field(default_factory=list)
    seen: list[SeenAnnotation] = field(default_factory=list)
    subjects: set[str] = field(default_factory=lambda: {"p1", "p2", "p3"})
    read: dict[int, list[tuple[int, str]]] = field(default_factory=dict)

    def pull(self, *tasks: dict[str, Any], keep: bool = True, **options: Any):
        parsed = [annotation for task in tasks for annotation in parse_task(PROJECT, task, self.subjects)]
        return self.append(parsed, self.seen, keep=keep, **options)

    def append(self, parsed: list[ParsedAnnotation], seen: list[SeenAnnotation], *, keep: bool = True, **options: Any):
        parsed.sort(key=lambda annotation: (parse_time(annotation.version), int(annotation.annotation)))
        done = reconcile(PROJECT, parsed, seen, self.entries(), num_seen=count_present(self.seen), **options)
        self.seen = updated(self.seen, done.seen)
        if keep:
            known = {(row.annotation, row.version, row.au) for row in self.rows}
            assert known.isdisjoint((row.annotation, row.version, row.au) for row in done.rows)
            self.rows += done.rows
        return done, list(done.rows)

    def pull_changed(self, *tasks: dict[str, Any], keep: bool, **options: Any) -> None:
        """Pull the changes since the last pull that was not killed, or everything if the counts then differ."""
        now = {task["id"]: [(given["id"], given["updated_at"]) for given in task["annotations"]] for task in tasks}
        changed = [task for task in tasks if task["annotations"] and now[task["id"]] != self.read.get(task["id"])]
        parsed = [annotation for task in changed for annotation in parse_task(PROJECT, task, self.subjects)]
        known = updated(self.seen, reconcile(PROJECT, parsed, relevant(parsed, self.seen), [], num_seen=99).seen)
        if count_present(known) == sum(map(len, now.values())):
            self.append(parsed, relevant(parsed, self.seen), keep=keep, **options)
        else:
            self.pull(*tasks, keep=keep, **options)
        if keep:
            self.read = now

    def entries(self) -> list[LedgerEntry]:
        return [
            LedgerEntry(
                annotation=row.annotation,
                subject=row.subject,
                version=row.version,
                retracted=row.retracted,
                check_kind=row.check_kind,
                visit=row.visit,
            )
            for row in self.rows
            if row.au is AUS[0]
        ]

    def last(self, subject: str, au: AU = AU.AU12) -> bool | str | None:
        """Return the ledger's last answer about a region, ``"nothing"`` if it was retracted or never given."""
        rows = [row for row in self.rows if (row.subject, row.au) == (subject, au)]
        return "nothing" if not rows or rows[-1].retracted else rows[-1].affected


def test_an_answer_is_eight_rows_with_the_frames_and_suggestions_of_the_page():
    pulls = Pulls()
    suggested = {"suggestions": {"AU12": 0.75}, "suggested_by": "vitau-regions/3"}
    _, rows = pulls.pull(task(1, "p1", annotation(5, 0, result_of(AU.AU12)), **suggested))
    assert [row.au for row in rows] == list(AUS)
    row = rows[AUS.index(AU.AU12)]
    assert (row.affected, row.side, row.lead_time_s, row.frames_shown) == (True, Side.LEFT, 12.5, ("f:0", "f:1"))
    assert (row.suggestion, row.suggested_by) == (0.75, "vitau-regions/3")
    assert {(row.suggestion, row.suggested_by) for row in rows if row.au is not AU.AU12} == {(None, None)}
    assert pulls.pull(task(1, "p1", annotation(5, 0, result_of(AU.AU12)), **suggested))[1] == []


def test_an_answer_records_whether_the_page_showed_measures_when_it_was_opened():
    before = {"frames": ["f:0"], "measures_version": "v1", "until": at(10)}

    def shown(**data: Any) -> set[str | None]:
        (parsed,) = parse_task(PROJECT, task(1, "p1", annotation(5, 0, result_of(AU.AU12)), **data), {"p1"})
        return {row.measures_shown for row in parsed.rows}

    assert (shown(measures_version="v1"), shown()) == ({"v1"}, {None})
    assert shown(measures_version=None, before=[before]) == {"v1"}, "the page was open before its measures were removed"
    earlier = {name: value for name, value in before.items() if name != "measures_version"}
    assert shown(measures_version="v1", before=[earlier]) == {None}, "an earlier version showed no measures"


def test_a_deleted_answer_is_retracted_once_and_may_come_back():
    pulls = Pulls()
    pulls.pull(task(1, "p1", annotation(5, 0, result_of(AU.AU12))))
    _, rows = pulls.pull(task(1, "p1"))
    assert {(row.version, row.retracted, row.affected, row.side) for row in rows} == {
        ("retracted 2026-11-25T10:00:00Z", True, None, None)
    }
    assert len(rows) == 8
    assert pulls.pull(task(1, "p1"))[1] == []
    pulls.pull(task(1, "p1", annotation(5, 0, result_of(AU.AU12))))
    assert pulls.last("p1") is True
    pulls.pull(task(1, "p1"))
    assert pulls.last("p1") == "nothing"


def test_of_two_answers_about_one_person_the_newest_remaining_one_is_last():
    pulls = Pulls()
    first, second = annotation(5, 0, result_of(AU.AU12)), annotation(6, 1, result_of())
    pulls.pull(task(1, "p1", first, second))
    assert pulls.last("p1") is False
    pulls.pull(task(1, "p1", first))
    assert pulls.last("p1") is True
    late = annotation(4, -5, result_of())
    pulls.pull(task(1, "p1", first, late))
    assert pulls.last("p1") is True


def test_an_answer_that_the_reader_cancels_is_retracted():
    pulls = Pulls()
    pulls.pull(task(1, "p1", annotation(5, 0, result_of(AU.AU12))))
    pulls.pull(task(1, "p1", annotation(5, 1, result_of(AU.AU12), was_cancelled=True)))
    assert pulls.last("p1") == "nothing"


def test_many_answers_that_vanish_at_once_are_held_until_the_loss_is_accepted():
    pulls = Pulls(subjects={f"p{number}" for number in range(10)})
    everything = [task(number, f"p{number}", annotation(number, 0, result_of(AU.AU12))) for number in range(10)]
    pulls.pull(*everything)
    done, rows = pulls.pull(*everything[:6])
    assert (rows, done.vanished) == ([], 4)
    assert loss_notice(PROJECT, done, pulls.seen, restored=False) == (
        "4 answers in project “ViTAU A” are gone and 0 are older than the known ones (many vanished at once): the known "
        "answers stand; bring them back in Label Studio, or run `annotate --accept-deletions`"
    )
    done, rows = pulls.pull(*everything[:6])
    assert (rows, done.vanished) == ([], 0)
    assert loss_notice(PROJECT, done, pulls.seen, restored=False) is not None, (
        "the notice is repeated until the loss is accepted"
    )
    done, rows = pulls.pull(*everything[:6], accept=True)
    assert {row.subject for row in rows if row.retracted} == {"p6", "p7", "p8", "p9"}
    assert loss_notice(PROJECT, done, pulls.seen, restored=False) is None


def test_three_of_ten_are_retracted_without_a_question():
    pulls = Pulls(subjects={f"p{number}" for number in range(10)})
    everything = [task(number, f"p{number}", annotation(number, 0, result_of(AU.AU12))) for number in range(10)]
    pulls.pull(*everything)
    _, rows = pulls.pull(*everything[:7])
    assert {row.subject for row in rows} == {"p7", "p8", "p9"}


def test_an_answer_that_comes_back_after_it_was_held_needs_no_new_row():
    pulls = Pulls()
    whole = [task(1, "p1", annotation(5, 0, result_of(AU.AU12))), task(2, "p2", annotation(6, 0, result_of()))]
    pulls.pull(*whole)
    done, _ = pulls.pull(whole[0], restored=True)
    assert done.vanished == 1
    done, rows = pulls.pull(*whole)
    assert (rows, [annotation.held for annotation in pulls.seen]) == ([], [False, False])
    assert loss_notice(PROJECT, done, pulls.seen, restored=False) is None


def test_a_restored_backup_retracts_nothing_and_a_number_assigned_again_is_another_answer():
    pulls = Pulls()
    pulls.pull(task(1, "p1", annotation(5, 10, result_of(AU.AU12))), task(2, "p2", annotation(6, 11, result_of(AU.AU12))))
    # the backup has an older version of 5 and no 6; then a reader answers about p3, and gets the number 6
    older = task(1, "p1", annotation(5, 2, result_of()))
    reused = task(3, "p3", annotation(6, 20, result_of(AU.AU12)))
    done, rows = pulls.pull(older, reused)
    assert (done.vanished, done.older) == (1, 1)
    assert {row.subject for row in rows} == {"p3"}
    assert [pulls.last(subject) for subject in ("p1", "p2", "p3")] == [True, True, True]
    pulls.pull(older, reused, accept=True)
    assert [pulls.last(subject) for subject in ("p1", "p2", "p3")] == [False, "nothing", True]


def test_an_unreadable_answer_retracts_nothing_and_is_read_once_it_can_be():
    pulls = Pulls(subjects={"p1"})
    done, _ = pulls.pull(task(1, "p1", annotation(5, 0, [{"from_name": "regions", "value": {"choices": ["AU7"]}}])))
    assert [annotation.problem for annotation in done.seen] == [
        "unknown region AU7; the regions are AU1, AU2, AU4, AU6, AU9, AU12, AU25, AU26"
    ]
    pulls.pull(task(1, "p1", annotation(5, 1, result_of(AU.AU12))), task(2, "p2", annotation(6, 0, result_of())))
    assert [annotation.problem for annotation in pulls.seen] == [
        None,
        "unknown subject; it was erased, or ViTAU did not create the task",
    ]
    assert pulls.last("p1") is True
    pulls.subjects.add("p2")
    pulls.pull(task(1, "p1", annotation(5, 1, result_of(AU.AU12))), task(2, "p2", annotation(6, 0, result_of())))
    assert (pulls.last("p2"), [annotation.problem for annotation in pulls.seen]) == (False, [None, None])
    pulls.pull(task(1, "p1", annotation(5, 2, [])), task(2, "p2", annotation(6, 0, result_of())))
    assert pulls.last("p1") is True, "an answer made unreadable is not retracted"


def test_a_task_made_by_hand_is_skipped():
    strange = {"id": 1, "data": {"subject": "p1"}, "annotations": [annotation(5, 0, result_of())]}
    (found,) = parse_task(PROJECT, strange, {"p1"})
    assert (found.rows, found.problem) == (
        (),
        "the task of subject p1 names no frames; ViTAU did not create it: delete it in Label Studio",
    )


def test_of_a_deleted_project_only_answers_not_given_anew_are_retracted():
    pulls = Pulls()
    pulls.pull(task(1, "p1", annotation(5, 0, result_of(AU.AU12))), task(2, "p2", annotation(6, 0, result_of())))
    rows = retract_project(PROJECT, pulls.seen, pulls.entries(), {"p2"})
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
def test_after_any_history_the_last_ledger_answer_is_label_studios(history):
    stored: dict[int, tuple[str, dict[str, Any]]] = {}  # annotation → its subject
    pulls = Pulls(subjects={"p0", "p1", "p2"})

    def tasks() -> list[dict[str, Any]]:
        return [task(n, f"p{n}", *(given for who, given in stored.values() if who == f"p{n}")) for n in range(3)]

    for minute, (action, person, regions) in enumerate(history):
        mine = [number for number, (who, _) in stored.items() if who == f"p{person}"]
        if action == "answer":
            stored[minute + 1] = (f"p{person}", annotation(minute + 1, minute, result_of(*regions)))
        elif action == "correct" and mine:
            stored[mine[0]] = (f"p{person}", annotation(mine[0], minute, result_of(*regions)))
        elif action == "delete" and mine:
            del stored[mine[-1]]
        elif "pull" in action:
            before = list(pulls.rows)
            pull = pulls.pull if "whole" in action else pulls.pull_changed
            pull(*tasks(), keep="killed" not in action, accept=True)
            assert pulls.rows[: len(before)] == before
    pulls.pull_changed(*tasks(), keep=True, accept=True)
    assert pulls.pull(*tasks(), accept=True)[1] == []
    for person in ("p0", "p1", "p2"):
        mine = [given for who, given in stored.values() if who == person]
        newest = max(mine, key=lambda given: (given["updated_at"], given["id"]), default=None)
        expected = "nothing" if newest is None else any("AU12" in region["value"]["choices"] for region in newest["result"])
        assert pulls.last(person) == expected


@pytest.mark.parametrize("version", ["2026-11-25T10:00:00Z", "2026-11-25T10:00:00.500000Z"])
def test_a_whole_second_is_earlier_than_its_half(version):
    pulls = Pulls()
    pulls.pull(task(1, "p1", annotation(5, 0, result_of()) | {"updated_at": "2026-11-25T10:00:00Z"}))
    done, _ = pulls.pull(task(1, "p1", annotation(5, 0, result_of(AU.AU12)) | {"updated_at": version}))
    assert done.older == 0
    assert pulls.last("p1") is (version != "2026-11-25T10:00:00Z")


def test_a_project_with_the_same_number_but_another_creation_time_is_another_project():
    assert PROJECT.identity != replace(PROJECT, made_at="2027-01-01T00:00:00+00:00").identity


def test_an_answer_on_a_page_opened_before_its_task_was_renewed_is_about_the_old_frames():
    before = [
        {"frames": ["f:0"], "suggestions": {"AU12": 0.5}, "suggested_by": "m/1", "until": at(10)},
        {"frames": ["f:1", "f:2"], "suggestions": None, "suggested_by": None, "until": at(20)},
    ]
    shown = []
    for opened, took in ((8, 0), (19, 60 * 10), (19, 0), (21, 0), (22, 60 * 5)):
        given = annotation(5, opened, result_of(AU.AU12), lead_time=took, created_at=at(opened))
        (found,) = parse_task(PROJECT, task(1, "p1", given, frames=["f:9"], before=before), {"p1"})
        shown.append((found.rows[0].frames_shown, found.rows[5].suggestion, found.rows[5].suggested_by))
    old, middle, new = (("f:0",), 0.5, "m/1"), (("f:1", "f:2"), None, None), (("f:9",), None, None)
    assert shown == [old, old, middle, new, middle]


def test_only_what_the_reader_can_mend_contradicts():
    wrong = [{"from_name": "side", "value": {"choices": ["left"]}}]
    (found,) = parse_task(PROJECT, task(1, "p1", annotation(5, 0, wrong)), {"p1"})
    assert (found.contradicts, found.problem) == (True, "the side is “left” but no region is affected; correct one of them")
    (unknown,) = parse_task(PROJECT, task(1, "p1", annotation(5, 0, wrong)), set())
    assert not unknown.contradicts


def test_answers_that_went_back_to_their_reader_are_no_accident_and_cancel_what_they_replaced():
    pulls = Pulls(subjects={f"p{number}" for number in range(6)})
    pulls.pull(task(0, "p0", annotation(10, 0, result_of(AU.AU12))))
    wrong = [{"from_name": "side", "value": {"choices": ["left"]}}]
    pulls.pull(*(task(number, f"p{number}", annotation(10 + number, 1, wrong)) for number in range(6)))
    assert pulls.last("p0") is True
    done, _ = pulls.pull(*(task(number, f"p{number}") for number in range(6)))
    assert (done.vanished, pulls.last("p0")) == (0, "nothing")


def test_an_adjudicator_settles_only_what_is_answered():
    adjudication = replace(PROJECT, stage=Stage.ADJUDICATION)
    given = annotation(5, 0, [{"from_name": "unaffected", "value": {"choices": ["AU9"]}}, *result_of()[-1:]])
    (found,) = parse_task(adjudication, task(1, "p1", given, asked=["AU9"]), {"p1"})
    assert {row.au: row.affected for row in found.rows if row.asked} == {AU.AU9: False}
    assert (len(found.rows), {row.affected for row in found.rows if not row.asked}) == (len(AUS), {None})
