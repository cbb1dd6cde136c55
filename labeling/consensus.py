"""What the readers say together: one answer per person, the questions still open, and how far the readers agree.

Every reader answers every region of a person once, blind to the others: *yes* (affected), *no*, or *?* (cannot tell, an
absence and never a no). One row of the ledger is one such answer, and the ledger is in order: the last row of a reader about
a region is what that reader says now. Where all readers say the same, that is the answer. Where they do not, the adjudicator
is asked, who sees what they said:

    readers     adjudicator   verdict       the region is
    ---------   -----------   -----------   ------------------------------------------------
    yes   yes   anything      agreed        affected
    no    no    anything      agreed        not affected
    yes   no    not asked     disputed      open
    yes   ?     not asked     disputed      open: one voice is not a double reading
    yes   no    yes           adjudicated   affected
    yes   no    no            adjudicated   not affected
    yes   no    ?             unclear       left out, nobody could judge it
    ?     ?     not asked     unclear       left out
    ?     ?     yes           adjudicated   affected
    yes   —     anything      waiting       open until every reader has answered

The side follows the same table, with the sides in the place of yes and no; it is asked only of a person with an affected
region. A person gets labels when nothing about them is open.

Raw agreement is the share of pairs of answers to one region of one person that are equal: with two readers, the share of
cells. Krippendorff's α = 1 − D_o / D_e sets the disagreement that is observed against the one expected by chance (nominal,
"cannot tell" missing): K. Krippendorff, *Content Analysis*, 4th ed., 2018, ch. 12.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations
from typing import TypeVar

import krippendorff
import numpy as np

from vitau.schema import AU, AUS, LedgerRow, RegionLabels, Side, Stage

T = TypeVar("T", bool, Side)


class Verdict(StrEnum):
    """How a question stands; the table at the top of the page says when."""

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
class Agreement:
    """How far the blind readers agree.

    ``num_pairs`` pairs of answers were compared; ``raw`` is the share of equal ones and absent without a pair, ``alpha`` is
    Krippendorff's and absent where only one kind of answer was given.
    """

    raw: float | None
    alpha: float | None
    num_pairs: int


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


def consensus(rows: Iterable[LedgerRow], readers: Sequence[str]) -> Consensus:
    """What ``readers`` and the adjudicator say together in ``rows``, which are in the ledger's order.

    Raises:
        ValueError: a blind answer of somebody who is not among ``readers``.
    """
    blind, rulings = _last_words(rows)
    if strangers := {reader for voices in blind.values() for reader in voices} - set(readers):
        raise ValueError(
            f"blind answers of {', '.join(sorted(strangers))}, but the readers are {', '.join(readers)}; name them all"
        )
    labels, disagreements, waiting, adjudicated = [], [], [], []
    for subject in sorted(blind.keys() | rulings.keys()):
        voices = [blind.get(subject, {}).get(reader, _Voice()) for reader in readers]
        if any(au not in voice.affected for voice in voices for au in AUS):
            waiting.append(subject)
            continue
        settled = _settle(subject, voices, rulings.get(subject, _Voice()))
        if isinstance(settled, Disagreement):
            disagreements.append(settled)
            continue
        labels.append(settled)
        if isinstance(_settle(subject, voices, _Voice()), Disagreement):
            adjudicated.append(subject)
    return Consensus(
        labels=tuple(labels),
        disagreements=tuple(disagreements),
        waiting=tuple(waiting),
        adjudicated=tuple(adjudicated),
        agreement=_agreement(blind, readers, AUS),
        agreement_by_au={au: _agreement(blind, readers, [au]) for au in AUS},
    )


def judge(answers: Sequence[T | None], ruling: T | None, *, ruled: bool) -> tuple[Verdict, T | None]:
    """One question by the table at the top of the page: the readers' ``answers``, and the ``ruling`` if she has ``ruled``."""
    said = {answer for answer in answers if answer is not None}
    if len(said) == 1 and None not in answers:
        return Verdict.AGREED, said.pop()
    if ruling is not None:
        return Verdict.ADJUDICATED, ruling
    return (Verdict.UNCLEAR if ruled or not said else Verdict.DISPUTED), None


@dataclass(kw_only=True, slots=True)
class _Voice:
    """What one person says about another so far, region by region."""

    affected: dict[AU, bool | None] = field(default_factory=dict)
    side: Side | None = None


def _last_words(rows: Iterable[LedgerRow]) -> tuple[dict[str, dict[str, _Voice]], dict[str, _Voice]]:
    """The blind voices, subject → reader → voice, and the adjudicator's, subject → voice; later rows replace earlier ones."""
    blind: dict[str, dict[str, _Voice]] = defaultdict(lambda: defaultdict(_Voice))
    rulings: dict[str, _Voice] = defaultdict(_Voice)
    for row in rows:
        voice = rulings[row.subject] if row.stage is Stage.ADJUDICATION else blind[row.subject][row.reader]
        voice.affected[row.au] = row.affected
        voice.side = row.side
    return blind, rulings


def _settle(subject: str, voices: Sequence[_Voice], ruling: _Voice) -> RegionLabels | Disagreement:
    """The labels of one person, or what is open about them; a silent ``ruling`` is that of an adjudicator not asked yet."""
    verdicts, affected = {}, {}
    for au in AUS:
        verdicts[au], answer = judge(
            [voice.affected[au] for voice in voices], ruling.affected.get(au), ruled=au in ruling.affected
        )
        if answer is not None:
            affected[au] = answer
    side = None
    if any(affected.values()):
        _, side = judge([voice.side for voice in voices], ruling.side, ruled=bool(ruling.affected))
    disputed = tuple(au for au in AUS if verdicts[au] is Verdict.DISPUTED)
    side_open = any(affected.values()) and side is None
    if disputed or side_open:
        return Disagreement(subject=subject, regions=disputed, side=side_open)
    return RegionLabels(subject=subject, affected=affected, side=side)


def _agreement(blind: Mapping[str, Mapping[str, _Voice]], readers: Sequence[str], aus: Sequence[AU]) -> Agreement:
    silent = _Voice()
    answers = np.array(
        [[voices.get(reader, silent).affected.get(au) for voices in blind.values() for au in aus] for reader in readers],
        dtype=float,  # None becomes nan: "cannot tell" and "has not answered" are both absences
    )
    paired = answers[:, np.isfinite(answers).sum(axis=0) >= 2]
    pairs = [(one, other) for column in paired.T for one, other in combinations(column[np.isfinite(column)], 2)]
    kinds = np.unique(paired[np.isfinite(paired)])
    return Agreement(
        raw=float(np.mean([one == other for one, other in pairs])) if pairs else None,
        alpha=float(krippendorff.alpha(paired, level_of_measurement="nominal")) if len(kinds) > 1 else None,
        num_pairs=len(pairs),
    )
