"""What the readers say together: one answer per person, the questions still open, and how far the readers agree.

Every reader answers every region of a person once, blind to the others: *yes* (affected), *no*, or *?* (cannot tell, an
absence and never a no). One row of the ledger is one such answer; what a reader said last is what that reader says now, and an
answer taken back was never given (—). While a reader has not answered, the region waits, by every rule:

    readers      adjudicator   verdict       the region is
    ----------   -----------   -----------   -------------------------------------------------------
    yes —        anything      waiting       open until every reader has answered

A *rule* says when the readers' answers are the answer, and when the adjudicator is asked, who sees what they said. By the rule
``unanimous`` all readers must say the same:

    yes yes      anything      agreed        affected
    no  no       anything      agreed        not affected
    yes no       not asked     disputed      open
    yes ?        not asked     disputed      open: one voice is not a double reading
    yes no       yes           adjudicated   affected
    yes no       no            adjudicated   not affected
    yes no       ?             unclear       left out, nobody could judge it
    ?   ?        not asked     unclear       left out
    ?   ?        yes           adjudicated   affected

By the rule ``majority`` more than half of those who can tell must, and at least two of them:

    yes yes no   anything      agreed        affected
    no  no  yes  anything      agreed        not affected
    yes yes ?    anything      agreed        affected
    yes yes      anything      agreed        affected
    yes ?   ?    not asked     disputed      open: one voice is not a double reading
    yes no  ?    not asked     disputed      open: half is not more than half
    yes no       not asked     disputed      open
    yes no  ?    yes           adjudicated   affected
    yes no  ?    no            adjudicated   not affected
    yes no  ?    ?             unclear       left out, nobody could judge it
    ?   ?   ?    not asked     unclear       left out
    ?   ?   ?    yes           adjudicated   affected

By the rule ``adjudicated`` the adjudicator looks at every case, and hers is the word that counts:

    yes yes      not asked     disputed      open
    no  no       not asked     disputed      open
    ?   ?        not asked     disputed      open
    yes yes      yes           adjudicated   affected
    yes yes      no            adjudicated   not affected
    yes yes      ?             unclear       left out, nobody could judge it

The side follows the same tables, with the sides in the place of yes and no; it is asked only of a person with an affected
region. A person gets labels when nothing about them is open.

*Guests* are readers of another study, whose answers came in by file. They are heard about the people whom they read, nobody
waits for a guest, and a region that a guest did not answer is one that the guest cannot tell. Our own readers are waited for
where one of them has begun, or no guest has spoken.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from labeling.consensus.agreement import Agreement, answers, coincidences, measure
from labeling.consensus.standing_answers import Voice, last_words, side_of
from vitau.schema import AU, AUS, LedgerRow, RegionLabels, Side

T = TypeVar("T", bool, Side)


class Rule(StrEnum):
    """When the readers' answers are the answer; the tables at the top of the page say how."""

    UNANIMOUS = "unanimous"
    MAJORITY = "majority"
    ADJUDICATED = "adjudicated"


class Verdict(StrEnum):
    """How a question stands; the tables at the top of the page say when."""

    AGREED = "agreed"
    ADJUDICATED = "adjudicated"
    UNCLEAR = "unclear"
    DISPUTED = "disputed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """What the adjudicator must settle about one person: these regions, and the side if ``side``."""

    subject: str
    regions: tuple[AU, ...]
    side: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Consensus:
    """The state of the labels, people in the order of their pseudonyms.

    Every person of the ledger is in exactly one of ``labels``, ``disagreements`` and ``waiting``; ``adjudicated`` are those
    among the labelled who needed the adjudicator.
    """

    labels: tuple[RegionLabels, ...]
    disagreements: tuple[Disagreement, ...]
    waiting: tuple[str, ...]
    adjudicated: tuple[str, ...]
    agreement: Agreement
    agreement_by_au: Mapping[AU, Agreement]


def consensus(
    rows: Iterable[LedgerRow], readers: Sequence[str], *, rule: Rule = Rule.UNANIMOUS, guests: Collection[str] = ()
) -> Consensus:
    """What ``readers``, ``guests`` and the adjudicator say together in ``rows``, which are in the ledger's order.

    Raises:
        ValueError: a blind answer of somebody who is among neither.
    """
    words = last_words(rows)
    everybody = [*readers, *sorted(set(guests) - set(readers))]
    if strangers := {reader for voices in words.blind.values() for reader in voices} - set(everybody):
        raise ValueError(
            f"blind answers of {', '.join(sorted(strangers))}, but the readers are {', '.join(everybody)}; name them all"
        )
    labels, disagreements, waiting, adjudicated = [], [], [], []
    for subject in sorted(words.subjects):
        heard = words.blind.get(subject, {})
        if _waits(heard, readers):
            waiting.append(subject)
            continue
        voices = list(heard.values())
        settled = _settle(subject, voices, words.rulings.get(subject, {}), rule)
        if isinstance(settled, Disagreement):
            disagreements.append(settled)
            continue
        labels.append(settled)
        if isinstance(_settle(subject, voices, {}, rule), Disagreement):
            adjudicated.append(subject)
    cell_SAK = coincidences(answers(words, everybody))
    return Consensus(
        labels=tuple(labels),
        disagreements=tuple(disagreements),
        waiting=tuple(waiting),
        adjudicated=tuple(adjudicated),
        agreement=measure(cell_SAK.sum(1)),
        agreement_by_au={au: measure(cell_SAK[:, index]) for index, au in enumerate(AUS)},
    )


def resolve(
    said: Sequence[T | None], ruling: T | None, *, ruled: bool, rule: Rule = Rule.UNANIMOUS
) -> tuple[Verdict, T | None]:
    """One question by the tables at the top of the page: what the readers ``said``, and the ``ruling`` if she has ``ruled``."""
    told = [answer for answer in said if answer is not None]
    if rule is Rule.UNANIMOUS and told and all(answer == told[0] for answer in said):
        return Verdict.AGREED, told[0]
    if rule is Rule.MAJORITY and len(told) >= 2:
        favourite = max(told, key=told.count)
        if told.count(favourite) > len(told) / 2:
            return Verdict.AGREED, favourite
    if ruling is not None:
        return Verdict.ADJUDICATED, ruling
    if ruled or not (told or rule is Rule.ADJUDICATED):
        return Verdict.UNCLEAR, None
    return Verdict.DISPUTED, None


def _waits(heard: Mapping[str, Voice], readers: Sequence[str]) -> bool:
    """Whether one of our readers has still to answer about a person."""
    ours = {reader: heard.get(reader, {}) for reader in readers}
    if heard and not any(ours.values()):
        return False  # only guests have spoken
    return any(au not in voice for voice in ours.values() for au in AUS)


def _settle(subject: str, voices: Sequence[Voice], ruling: Voice, rule: Rule) -> RegionLabels | Disagreement:
    """The labels of one person, or what is open about them; a silent ``ruling`` is that of an adjudicator not asked yet."""
    verdicts, affected = {}, {}
    for au in AUS:
        said = [_told(voice, au) for voice in voices]
        verdicts[au], answer = resolve(said, _told(ruling, au), ruled=au in ruling, rule=rule)
        if answer is not None:
            affected[au] = answer
    side = None
    if any(affected.values()):
        _, side = resolve([side_of(voice) for voice in voices], side_of(ruling), ruled=bool(ruling), rule=rule)
    disputed = tuple(au for au in AUS if verdicts[au] is Verdict.DISPUTED)
    side_open = any(affected.values()) and side is None
    if disputed or side_open:
        return Disagreement(subject=subject, regions=disputed, side=side_open)
    return RegionLabels(subject=subject, affected=affected, side=side)


def _told(voice: Voice, au: AU) -> bool | None:
    return voice[au].affected if au in voice else None
