"""Random histories of answers, corrections, deletions, merges and pulls: the invariants of the ledger hold in each."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from labeling.consensus.consensus import Rule, consensus
from labeling.consensus.reader_checks import reader_checks
from labeling.consensus.standing_answers import ReaderAnswer, standing_answers
from labeling.sampling.staleness import shown_frames
from vitau.catalog.catalog import Catalog
from vitau.errors import CatalogError
from vitau.schema import AU, AUS, CheckKind, Cohort, LedgerRow, RegionLabels, Side, Stage, Subject, all_names

PEOPLE = ("p1", "p2", "p3")
READERS = ("reader-a", "reader-b")
PROJECTS = {**dict.fromkeys(READERS, Stage.READER), "adjudicator": Stage.ADJUDICATION}

regions = st.dictionaries(st.sampled_from(AUS), st.sampled_from([True, None]), max_size=3)


@dataclass
class Annotation:
    """An annotation in a project of Label Studio."""

    reader: str
    subject: str
    name: str
    affected: dict[AU, bool | None]
    clock: int
    check: CheckKind | None = None
    visit: str | None = None
    deleted: bool = False
    given: bool = False


@dataclass
class LabelStudio:
    annotations: list[Annotation] = field(default_factory=list)
    clock: int = 0

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    def rows(self, annotation: Annotation) -> list[LedgerRow]:
        """Return the rows that a pull reads of an annotation; of a deleted one only if it was read before."""
        if annotation.deleted and not annotation.given:
            return []
        annotation.given = True
        version = f"{annotation.clock}{'-deleted' if annotation.deleted else ''}"
        return [
            LedgerRow(
                subject=annotation.subject,
                au=au,
                reader=annotation.reader,
                stage=PROJECTS[annotation.reader],
                affected=None if annotation.deleted else annotation.affected.get(au, False),
                side=Side.LEFT if any(annotation.affected.values()) and not annotation.deleted else None,
                annotation=annotation.name,
                version=version,
                answered_at=f"2026-01-01T00:00:00.{annotation.clock:06}Z",
                retracted=annotation.deleted,
                check_kind=annotation.check,
                visit=annotation.visit,
            )
            for au in AUS
        ]


def known(labels: list[RegionLabels]) -> list[RegionLabels]:
    """Return the labels with a known region; the others have no row in the table."""
    return [label for label in labels if label.affected]


def standing_order(rows: list[LedgerRow]) -> list[tuple[str, list[tuple[str, ReaderAnswer]]]]:
    """Return the blind answers in the order in which statistics go through them."""
    return [(case, list(answers.items())) for case, answers in standing_answers(rows).blind.items()]


def key_of(row: LedgerRow) -> tuple[object, ...]:
    """Return what a later row must share to replace this one."""
    return row.annotation, row.au, row.subject, row.reader, row.stage, row.check_kind, row.visit, row.retracted


class Histories(RuleBasedStateMachine):
    """The catalog beside a model of it: a list of events, each a row or a merge, with its offset."""

    annotations = Bundle("annotations")
    new_catalog: Callable[[], Catalog]

    def __init__(self) -> None:
        super().__init__()
        self.catalog = type(self).new_catalog()
        for name in PEOPLE:
            self.catalog.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="synthetic"))
        self.studio = LabelStudio()
        self.events: list[LedgerRow | tuple[str, str]] = []
        self.keys: set[tuple[str, str, AU]] = set()
        self.batches: list[list[LedgerRow]] = []
        self.settled = 0, []

    @rule(target=annotations, reader=st.sampled_from(list(PROJECTS)), subject=st.sampled_from(PEOPLE), affected=regions)
    def answer(self, reader: str, subject: str, affected: dict[AU, bool | None]) -> Annotation:
        number = self.studio.tick()
        annotation = Annotation(reader=reader, subject=subject, name=f"{number}", affected=affected, clock=number)
        self.studio.annotations.append(annotation)
        return annotation

    @rule(
        target=annotations,
        reader=st.sampled_from(READERS),
        subject=st.sampled_from(PEOPLE),
        affected=regions,
        check=st.sampled_from(CheckKind),
    )
    def answer_a_check(self, reader: str, subject: str, affected: dict[AU, bool | None], check: CheckKind) -> Annotation:
        annotation = self.answer(reader, subject, affected)
        annotation.check = check
        return annotation

    @rule(target=annotations, subject=st.sampled_from(PEOPLE), affected=regions, visit=st.sampled_from([None, "week-12"]))
    def agree(self, subject: str, affected: dict[AU, bool | None], visit: str | None) -> MultipleResults[Annotation]:
        """Add the same answer of both readers, pull it and make it the label, which random answers rarely become."""
        found = [self.answer(reader, subject, affected) for reader in READERS]
        for annotation in found:
            annotation.visit = visit
        self.append([row for annotation in found for row in self.studio.rows(annotation)])
        self.settle()
        return multiple(*found)

    @rule(annotation=annotations, affected=regions, pulled=st.booleans())
    def correct(self, annotation: Annotation, affected: dict[AU, bool | None], pulled: bool) -> None:
        if not annotation.deleted:
            annotation.affected, annotation.clock = affected, self.studio.tick()
            self.append(self.studio.rows(annotation) if pulled else [])

    @rule(annotation=consumes(annotations), pulled=st.booleans())
    def delete(self, annotation: Annotation, pulled: bool) -> None:
        annotation.deleted, annotation.clock = True, self.studio.tick()
        self.append(self.studio.rows(annotation) if pulled else [])

    @precondition(lambda self: self.studio.annotations)
    @rule(data=st.data())
    def pull(self, data: st.DataObject) -> None:
        """Read some of the annotations, the projects in any order, and within a project in the order of its answers."""
        order = data.draw(st.permutations(list(PROJECTS)))
        chosen = data.draw(st.sets(st.sampled_from(range(len(self.studio.annotations))), min_size=1))
        found = sorted((self.studio.annotations[index] for index in chosen), key=lambda a: (order.index(a.reader), a.clock))
        self.append([row for annotation in found for row in self.studio.rows(annotation)])

    @precondition(lambda self: self.batches)
    @rule(data=st.data())
    def append_again(self, data: st.DataObject) -> None:
        """Append rows that were appended before, all or some: nothing is new."""
        again = [row for batch in data.draw(st.lists(st.sampled_from(self.batches), max_size=3)) for row in batch]
        again = again[data.draw(st.integers(0, 3)) :]
        assert self.catalog.append_answers(again) == 0

    @rule(kept=st.sampled_from(PEOPLE), merged=st.sampled_from(PEOPLE))
    def merge(self, kept: str, merged: str) -> None:
        into = {one: other for event in self.events if isinstance(event, tuple) for one, other in [event]}
        if into.get(merged) == kept:
            assert not self.catalog.merge(kept, merged, why="again")
        elif kept == merged or kept in into or merged in into:
            with pytest.raises(CatalogError):
                self.catalog.merge(kept, merged, why="impossible")
        else:
            assert self.catalog.merge(kept, merged, why="same face")
            self.events.append((merged, kept))

    @rule()
    def settle(self) -> None:
        """Make the consensus the labels, as the flow `annotate` does."""
        offset = self.catalog.ledger_offset()
        labels = consensus(self.catalog.ledger(upto=offset), READERS).labels
        self.catalog.set_labels(labels, ledger_offset=offset)
        self.settled = offset, known(list(labels))

    def append(self, rows: list[LedgerRow]) -> None:
        new = [row for row in rows if (row.annotation, row.version, row.au) not in self.keys]
        assert self.catalog.append_answers(rows) == len(new)
        self.keys |= {(row.annotation, row.version, row.au) for row in new}
        self.events += new
        self.batches.append(rows)

    def state_at(self, offset: int) -> list[LedgerRow]:
        """Return the expected ledger at an offset, by the model."""
        into = {one: other for event in self.events[:offset] if isinstance(event, tuple) for one, other in [event]}

        def name(subject: str) -> str:
            return name(into[subject]) if subject in into else subject

        return [replace(row, subject=name(row.subject)) for row in self.events[:offset] if isinstance(row, LedgerRow)]

    @invariant()
    def offsets_are_consecutive_and_no_row_changes(self) -> None:
        assert self.catalog.ledger_offset() == len(self.events)
        assert self.catalog.ledger() == self.state_at(len(self.events))

    @invariant()
    def the_labels_are_the_consensus_at_their_offset_and_there_is_one_answer_per_subject_and_au(self) -> None:
        offset, labels = self.settled
        assert self.catalog.labels() == labels
        assert known(list(consensus(self.catalog.ledger(upto=offset), READERS).labels)) == labels

    @invariant()
    def the_consensus_depends_on_standing_answers_only(self) -> None:
        rows = self.state_at(len(self.events))
        last: dict[tuple[object, ...], LedgerRow] = {}
        for row in rows:
            if row.check_kind is CheckKind.CONTROL:
                continue
            key = (row.case, row.stage, row.reader if row.stage is Stage.READER else None, row.au, row.annotation)
            last.pop(key, None)
            if not row.retracted:
                last[key] = row
        newest = {key[:-1]: row for key, row in sorted(last.items(), key=lambda item: item[1].check_kind is None)}
        kept = [row for row in last.values() if any(row is other for other in newest.values())]
        for voting in Rule:
            whole, alone = consensus(rows, READERS, rule=voting), consensus(kept, READERS, rule=voting)
            assert (whole.labels, whole.disagreements, whole.agreement) == (alone.labels, alone.disagreements, alone.agreement)

    @invariant()
    def the_newest_answers_stand_for_the_ledger(self) -> None:
        rows = self.state_at(len(self.events))
        newest, offset = self.catalog.newest_answers()
        assert offset == len(self.events)
        assert newest == [row for row in rows if row in newest]
        assert len({key_of(row) for row in newest}) == len({key_of(row) for row in rows})
        assert consensus(newest, READERS) == consensus(rows, READERS)
        assert set(shown_frames(newest)) == set(shown_frames(rows))
        assert standing_order(newest) == standing_order(rows)
        earlier = offset // 2
        then, _ = self.catalog.newest_answers(upto=earlier)
        assert consensus(then, READERS) == consensus(self.state_at(earlier), READERS)
        checked = {row.subject for row in newest if row.check_kind}
        names = {name for person in checked for name in all_names(person, self.catalog.merged_names())}
        assert reader_checks(self.catalog.answers_about(names), num_resamples=5) == reader_checks(rows, num_resamples=5)

    def teardown(self) -> None:
        for offset in range(len(self.events) + 1):
            assert self.catalog.ledger(upto=offset) == self.state_at(offset)
        self.catalog.engine.dispose()


@pytest.mark.slow
def test_the_invariants_of_the_ledger_hold_in_every_history(new_catalog):
    machine = type("Histories", (Histories,), {"new_catalog": staticmethod(new_catalog)})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)),
    )
