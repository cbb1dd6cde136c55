"""Consensus: combine the answers of several readers and an adjudicator into one label per person and visit.

Where people were seen once, a person here is a case: one person at one visit (:mod:`vitau.schema.visits`).

Each reader answers each region of a person once, blind to the others: *yes* (affected), *no* (not affected) or *?* (cannot
tell). "Cannot tell" is a missing value, never a *no*. The answers come from :mod:`labeling.consensus.standing_answers`; — is a
missing answer. While fewer readers than the study's design asks for have answered, the person waits, whatever the rule. By
default every reader answers about everybody:

    readers      adjudicator   verdict       the region is
    ----------   -----------   -----------   -------------------------------------------------------
    yes —        anything      waiting       open until every reader has answered

In a design of 2 of 5 readers, the person waits until any two of the five have answered all regions. A third reader's answer
counts like theirs, and one with a region left open does not count until it is complete.

A *rule* decides when the readers agree. Otherwise an adjudicator, who sees their answers, gives a *ruling*. Let R readers
answer about a person: n₁ of them *yes*, n₀ *no*, and R − n₁ − n₀ *cannot tell*. The readers agree on k ∈ {0, 1}

    unanimous      if n_k = R ≥ 1
    majority       if n_k > (n₀ + n₁) / 2 and n₀ + n₁ ≥ 2
    adjudicated    never

Rule ``unanimous``: all readers give the same answer.

    yes yes      anything      agreed        affected
    no  no       anything      agreed        not affected
    yes no       not asked     disputed      open
    yes ?        not asked     disputed      open: one answer is not a double reading
    yes no       yes           adjudicated   affected
    yes no       no            adjudicated   not affected
    yes no       ?             unclear       left out: the adjudicator cannot tell either
    ?   ?        not asked     unclear       left out
    ?   ?        yes           adjudicated   affected

Rule ``majority``: more than half of the readers who can tell give the same answer, and at least two can tell.

    yes yes no   anything      agreed        affected
    no  no  yes  anything      agreed        not affected
    yes yes ?    anything      agreed        affected
    yes yes      anything      agreed        affected
    yes ?   ?    not asked     disputed      open: one answer is not a double reading
    yes no  ?    not asked     disputed      open: half is not more than half
    yes no       not asked     disputed      open
    yes no  ?    yes           adjudicated   affected
    yes no  ?    no            adjudicated   not affected
    yes no  ?    ?             unclear       left out: the adjudicator cannot tell either
    ?   ?   ?    not asked     unclear       left out
    ?   ?   ?    yes           adjudicated   affected

Rule ``adjudicated``: the adjudicator rules on every region.

    yes yes      not asked     disputed      open
    no  no       not asked     disputed      open
    ?   ?        not asked     disputed      open
    yes yes      yes           adjudicated   affected
    yes yes      no            adjudicated   not affected
    yes yes      ?             unclear       left out: the adjudicator cannot tell

The side follows the same tables, with left, right and both in place of *yes* and *no*. It is resolved only for a person with an
affected region. A person gets a label when no region is open and, if one is affected, the side is resolved.

*Guest readers* belong to another study, whose answers were imported. Their answers count for the people they read, and no
person waits for them. A region that a guest did not answer counts as *?*. A person waits for our own readers if one of them has
begun, or if no guest has answered.

The rules are those of double reading with adjudication. Readers are not weighted by their estimated accuracy, unlike in Dawid
and Skene, Appl Stat 1979, 28: 20–28.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from labeling.consensus.agreement import Agreement, answer_array, coincidences, measure
from labeling.consensus.standing_answers import ReaderAnswer, side_of, standing_answers
from vitau.schema import AU, AUS, LedgerRow, RegionLabels, Side, case_name, split_case

T = TypeVar("T", bool, Side)


class Rule(StrEnum):
    """The condition under which the readers agree, by the tables of this module."""

    UNANIMOUS = "unanimous"
    MAJORITY = "majority"
    ADJUDICATED = "adjudicated"


class Verdict(StrEnum):
    """The state of one question, by the tables of this module."""

    AGREED = "agreed"
    ADJUDICATED = "adjudicated"
    UNCLEAR = "unclear"
    DISPUTED = "disputed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """The open questions about one person at one visit: these regions, and the side if ``side`` is true."""

    subject: str
    regions: tuple[AU, ...]
    side: bool
    visit: str | None = None

    @property
    def case(self) -> str:
        """The name of the person at this visit."""
        return case_name(self.subject, self.visit)


@dataclass(frozen=True, kw_only=True, slots=True)
class Consensus:
    """The labels of a study and the open questions, in the order of pseudonyms.

    Each case of the ledger, one person at one visit, is in exactly one of ``labels``, ``disagreements`` and ``waiting``.
    ``adjudicated`` holds the labeled cases whose label needed a ruling.
    """

    labels: tuple[RegionLabels, ...]
    disagreements: tuple[Disagreement, ...]
    waiting: tuple[str, ...]
    adjudicated: tuple[str, ...]
    agreement: Agreement
    agreement_by_au: Mapping[AU, Agreement]


def consensus(
    rows: Iterable[LedgerRow],
    readers: Sequence[str],
    *,
    rule: Rule = Rule.UNANIMOUS,
    guests: Collection[str] = (),
    per_person: int | None = None,
) -> Consensus:
    """Combine the answers of a ledger into labels.

    Args:
        rows: the ledger, in its order.
        readers: our own blind readers.
        rule: when the readers agree.
        guests: the readers of other studies.
        per_person: how many of our readers must have answered about a person; all of them by default.

    Raises:
        ValueError: a blind answer is by none of the ``readers`` and ``guests``.
    """
    standing = standing_answers(rows)
    all_readers = [*readers, *sorted(set(guests) - set(readers))]
    if unknown := {reader for answers in standing.blind.values() for reader in answers} - set(all_readers):
        raise ValueError(
            f"blind answers of {', '.join(sorted(unknown))}, but the readers are {', '.join(all_readers)}; name them all"
        )
    labels, disagreements, waiting, adjudicated = [], [], [], []
    for subject in sorted(standing.subjects):
        by_reader = standing.blind.get(subject, {})
        if _is_waiting(by_reader, readers, len(readers) if per_person is None else min(per_person, len(readers))):
            waiting.append(subject)
            continue
        answers = [answer for reader, answer in by_reader.items() if reader not in readers or _is_complete(answer)]
        resolved = _resolve_subject(subject, answers, standing.rulings.get(subject, {}), rule)
        if isinstance(resolved, Disagreement):
            disagreements.append(resolved)
            continue
        labels.append(resolved)
        if isinstance(_resolve_subject(subject, answers, {}, rule), Disagreement):
            adjudicated.append(subject)
    cell_SAK = coincidences(answer_array(standing, all_readers))
    return Consensus(
        labels=tuple(labels),
        disagreements=tuple(disagreements),
        waiting=tuple(waiting),
        adjudicated=tuple(adjudicated),
        agreement=measure(cell_SAK.sum(1)),
        agreement_by_au={au: measure(cell_SAK[:, index]) for index, au in enumerate(AUS)},
    )


def resolve(
    answers: Sequence[T | None], ruling: T | None, *, ruled: bool, rule: Rule = Rule.UNANIMOUS
) -> tuple[Verdict, T | None]:
    """Resolve one question by the tables of this module; the second value is ``None`` if it is open or left out.

    Args:
        answers: the readers' answers; ``None`` is "cannot tell".
        ruling: the adjudicator's answer; ``None`` is "cannot tell", or no ruling yet.
        ruled: whether there is a ruling.
        rule: when the readers agree.
    """
    known = [answer for answer in answers if answer is not None]
    if rule is Rule.UNANIMOUS and known and all(answer == known[0] for answer in answers):
        return Verdict.AGREED, known[0]
    if rule is Rule.MAJORITY and len(known) >= 2:
        most_frequent = max(known, key=known.count)
        if known.count(most_frequent) > len(known) / 2:
            return Verdict.AGREED, most_frequent
    if ruling is not None:
        return Verdict.ADJUDICATED, ruling
    if ruled or not (known or rule is Rule.ADJUDICATED):
        return Verdict.UNCLEAR, None
    return Verdict.DISPUTED, None


def _is_waiting(by_reader: Mapping[str, ReaderAnswer], readers: Sequence[str], per_person: int) -> bool:
    """Return whether fewer of our own readers than ``per_person`` have answered about a person."""
    ours = [by_reader[reader] for reader in readers if by_reader.get(reader)]
    if by_reader and not ours:
        return False  # only guests have answered
    return sum(map(_is_complete, ours)) < per_person


def _is_complete(answer: ReaderAnswer) -> bool:
    return all(au in answer for au in AUS)


def _resolve_subject(
    case: str, answers: Sequence[ReaderAnswer], ruling: ReaderAnswer, rule: Rule
) -> RegionLabels | Disagreement:
    """Return the label of one case, or the open questions; ``ruling`` is empty without an adjudicator's answer."""
    subject, visit = split_case(case)
    verdicts, affected = {}, {}
    for au in AUS:
        regions = [_affected(answer, au) for answer in answers]
        verdicts[au], region = resolve(regions, _affected(ruling, au), ruled=au in ruling, rule=rule)
        if region is not None:
            affected[au] = region
    side = None
    if any(affected.values()):
        _, side = resolve([side_of(answer) for answer in answers], side_of(ruling), ruled=bool(ruling), rule=rule)
    disputed = tuple(au for au in AUS if verdicts[au] is Verdict.DISPUTED)
    side_open = any(affected.values()) and side is None
    if disputed or side_open:
        return Disagreement(subject=subject, regions=disputed, side=side_open, visit=visit)
    return RegionLabels(subject=subject, affected=affected, side=side, visit=visit)


def _affected(answer: ReaderAnswer, au: AU) -> bool | None:
    return answer[au].affected if au in answer else None
