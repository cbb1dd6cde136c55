from datetime import UTC, datetime

import pytest

from flows.erase import pseudonyms_of, retract
from vitau.catalog.catalog import FrameTable
from vitau.errors import CatalogError, ContradictionError
from vitau.schema import AUS, Clip, Cohort, LedgerRow, Split, Stage, Subject

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC).isoformat()


class Kept:
    """The part of a workspace that has rows."""

    def __init__(self, catalog) -> None:
        self.catalog = catalog


@pytest.fixture
def workspace(new_catalog) -> Kept:
    """Three people with a clip each, answers and a split; p2 is p1 too."""
    catalog = new_catalog()
    for name in ("p1", "p2", "p3"):
        catalog.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="s", synthetic=True))
        sha = name.ljust(64, "0")
        catalog.add_clip(Clip(sha256=sha, subject=name, source="s", suffix=".mp4", mirrored=False, synthetic=True))
        catalog.add_frame_table(
            FrameTable(clip=sha, recipe="r", key="k", num_frames=1, num_faces=1, quarantine_key="q", quarantined={})
        )
        catalog.append_answers(answers(name))
    catalog.add_splits(dict.fromkeys(("p1", "p2", "p3"), Split.TRAIN), strata=dict.fromkeys(("p1", "p2", "p3"), "palsy"))
    catalog.merge("p1", "p2", why="the same face")
    return Kept(catalog)


def answers(subject: str) -> list[LedgerRow]:
    return [
        LedgerRow(
            subject=subject,
            au=au,
            reader="a",
            stage=Stage.READER,
            affected=True,
            side=None,
            annotation=f"1-{subject}",
            version=NOON,
            answered_at=NOON,
            note="a note",
        )
        for au in AUS
    ]


def test_a_person_is_erased_under_every_name_whichever_is_given(workspace):
    assert pseudonyms_of(workspace, "p1") == pseudonyms_of(workspace, "p2") == {"p1", "p2"}
    with pytest.raises(CatalogError, match="no subject p9 is in the catalog: check the pseudonym"):
        pseudonyms_of(workspace, "p9")


def test_every_answer_about_the_person_is_taken_back_once_and_nobody_elses(workspace):
    assert retract.fn(workspace, {"p1", "p2"}) == 2
    taken = [row for row in workspace.catalog.ledger() if row.retracted]
    assert {row.subject for row in taken} == {"p1"}
    assert {row.note for row in taken} == {None}
    assert retract.fn(workspace, {"p1", "p2"}) == 0, "again"


def test_nothing_is_found_of_an_erased_person_and_nobody_takes_them_in_again(workspace):
    catalog = workspace.catalog
    catalog.begin_erasure({"p1", "p2"})
    assert [subject.pseudonym for subject in catalog.subjects()] == ["p3"]
    catalog.delete_rows_of({"p1", "p2"})
    assert [clip.subject for clip in catalog.clips()] == ["p3"]
    assert len(catalog.frame_tables("r")) == 1
    assert set(catalog.splits()) == {"p3"}
    with pytest.raises(ContradictionError, match="subject p2 was erased and is not taken in again: correct the manifest"):
        catalog.add_subject(Subject(pseudonym="p2", cohort=Cohort.PALSY, source="s", synthetic=True))


def test_the_trail_says_when_and_what_had_seen_the_person_and_is_not_rewritten(workspace):
    catalog = workspace.catalog
    catalog.begin_erasure({"p1"})
    assert [(each.subject, each.finished_at) for each in catalog.erasures()] == [("p1", None)]
    catalog.finish_erasure({"p1"}, snapshots=["s1"], trainings=["vitau-palsy/3"])
    (first,) = catalog.erasures()
    assert (first.snapshots, first.trainings) == (["s1"], ["vitau-palsy/3"])
    catalog.begin_erasure({"p1"})
    catalog.finish_erasure({"p1"}, snapshots=[], trainings=[])
    assert catalog.erasures() == [first]
