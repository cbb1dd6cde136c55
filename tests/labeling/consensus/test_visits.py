"""The visits of answers, by the clips that were shown and by what is stated of those today."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from labeling.consensus.consensus import Rule, consensus
from labeling.consensus.visits import assign_visits
from vitau.schema import AU, AUS, Clip, LedgerRow, Side, Stage


def clip(name: str, visit: str | None = None, *, subject: str = "p1", taken_at: str | None = None) -> Clip:
    return Clip(sha256=name, subject=subject, source="s", suffix=".mp4", visit=visit, taken_at=taken_at)


def answer(*clips: str, visit: str | None = None, reader: str = "a", regions: tuple[AU, ...] = (), number: int = 1):
    return [
        LedgerRow(
            subject="p1",
            au=au,
            reader=reader,
            stage=Stage.READER,
            affected=au in regions,
            side=Side.LEFT if regions else None,
            annotation=f"{reader}{number}",
            version="v",
            answered_at="2026-11-30T10:00:00Z",
            frames_shown=tuple(f"{name}:0" for name in clips),
            visit=visit,
        )
        for au in AUS
    ]


def cases(rows: list[LedgerRow], clips: list[Clip]) -> set[str]:
    return {row.case for row in assign_visits(rows, clips)}


TWO = [clip("c1", "1", taken_at="2026-01-01"), clip("c2", "week-12", taken_at="2026-04-01")]


def test_without_visits_the_rows_stay_as_they_are():
    rows = answer("c1", "c2")
    assert assign_visits(rows, [clip("c1"), clip("c2", "1")]) == rows
    assert assign_visits([], TWO) == []


def test_an_answer_is_about_the_visit_of_the_clips_that_were_shown():
    assert cases(answer("c1"), TWO) == {"p1"}
    assert cases(answer("c2"), TWO) == {"p1/week-12"}, "an old answer, from before visits"
    assert cases(answer("c2", visit="week-12"), TWO) == {"p1/week-12"}


def test_a_corrected_manifest_takes_the_answers_along():
    renamed = [TWO[0], replace(TWO[1], visit="month-3")]
    assert cases(answer("c2", visit="week-12"), renamed) == {"p1/month-3"}
    exchanged = [replace(TWO[0], visit="week-12"), replace(TWO[1], visit="1")]
    assert cases(answer("c1"), exchanged) == {"p1/week-12"}
    assert cases(answer("c2", visit="week-12"), exchanged) == {"p1"}


def test_an_answer_about_several_visits_or_without_frames_is_about_that_of_its_row_or_the_earliest():
    named = [clip("c2", "week-12", taken_at="2026-04-01"), clip("c1", "baseline", taken_at="2026-01-01")]
    assert cases(answer("c1", "c2"), TWO) == {"p1"}
    assert cases(answer("c1", "c2"), named) == {"p1/baseline"}
    assert cases(answer(), named) == {"p1/baseline"}, "an imported answer"
    assert cases(answer(visit="week-12"), named) == {"p1/week-12"}
    assert cases(answer("gone", visit="week-1"), named) == {"p1/baseline"}
    assert cases(answer(visit="2"), [clip("x", subject="other")]) == {"p1/2"}, "nothing is known of a person without clips"


def test_a_retraction_is_about_the_visit_of_its_answer():
    given = answer("c2")
    gone = [replace(row, affected=None, side=None, retracted=True, version="w", frames_shown=()) for row in given]
    assert cases([*given, *gone], TWO) == {"p1/week-12"}
    rows = assign_visits([*answer("c1", number=2), *given, *gone], TWO)
    assert consensus(rows, ["a"]).waiting == ("p1/week-12",)


def test_a_recovered_patient_does_not_keep_affected():
    rows = [
        row
        for reader in ("a", "b")
        for row in (*answer("c1", reader=reader, regions=(AU.AU12,)), *answer("c2", reader=reader, number=2))
    ]
    first, later = consensus(assign_visits(rows, TWO), ["a", "b"]).labels
    assert (first.case, first.affected[AU.AU12], first.side) == ("p1", True, Side.LEFT)
    assert (later.case, later.subject, later.visit) == ("p1/week-12", "p1", "week-12")
    assert not any(later.affected.values())


readings = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["c1", "c2"]), st.sets(st.sampled_from(AUS), max_size=2)), max_size=6
)


@given(readings, st.sampled_from(Rule))
def test_the_label_of_a_visit_depends_on_its_own_answers_only(found, rule):
    rows = [
        row
        for number, (reader, name, regions) in enumerate(found)
        for row in answer(name, reader=reader, regions=tuple(regions), number=number)
    ]
    whole = consensus(assign_visits(rows, TWO), ["a", "b"], rule=rule)
    for name, visit in (("c1", None), ("c2", "week-12")):
        own = consensus([row for row in rows if row.frames_shown == (f"{name}:0",)], ["a", "b"], rule=rule)
        assert [replace(label, visit=visit) for label in own.labels] == [x for x in whole.labels if x.visit == visit]
        assert [replace(case, visit=visit) for case in own.disagreements] == [
            case for case in whole.disagreements if case.visit == visit
        ]
