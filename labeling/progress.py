"""How far the labelling is: what the people and the readers still wait for, and how long that will take."""

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labeling.consensus.consensus import Consensus
from labeling.consensus.standing_answers import Voice, last_words, newest
from labeling.sampling.staleness import Stale
from vitau.schema import LedgerRow, Skipped, Stage


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderProgress:
    """One reader: people answered and still open, how long an answer takes (median, s), and how long the open ones will.

    Of the ``open``, ``again`` are answered but look different in newer frames: the answer stands, and is asked for anew. Both
    times are absent while no answer says how long it took.
    """

    reader: str
    answered: int
    open: int
    median_s: float | None = None
    left_s: float | None = None
    again: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The state of the labels of everybody who is asked about.

    Each of the ``subjects`` is in exactly one of ``labelled`` (of whom ``adjudicated`` needed the adjudicator), ``waiting`` for
    a reader, and ``disagreed``. Of the labelled, ``stale`` look different in newer frames: their labels stand until the readers
    have answered anew.
    """

    subjects: int
    labelled: int
    waiting: int
    disagreed: int
    adjudicated: int
    readers: tuple[ReaderProgress, ...]
    skipped: tuple[Skipped, ...] = ()
    stale: int = 0


def progress(
    agreed: Consensus,
    rows: Iterable[LedgerRow],
    everybody: Collection[str],
    *,
    readers: Sequence[str],
    adjudicator: str,
    skipped: Iterable[Skipped] = (),
    stale: Iterable[Stale] = (),
) -> Progress:
    """What the ledger's ``rows`` and the consensus about them say of ``everybody`` who is asked about.

    Args:
        agreed: the consensus of ``rows``.
        rows: the ledger, in its order.
        everybody: the pseudonyms of the people whom the readers are asked about.
        readers: the blind readers.
        adjudicator: who is asked about the disagreements.
        skipped: answers that cannot be read.
        stale: answers that stand though newer frames look different.
    """
    words = last_words(rows)
    again: dict[Stage, list[Stale]] = {stage: [] for stage in Stage}
    for each in stale:
        if each.subject in everybody:
            again[each.stage].append(each)
    disagreed = {case.subject for case in agreed.disagreements} & set(everybody)
    labelled = {answer.subject for answer in agreed.labels} & set(everybody)
    blind = [
        _reader(
            reader, {who: said[reader] for who, said in words.blind.items() if reader in said}, everybody, again[Stage.READER]
        )
        for reader in readers
    ]
    return Progress(
        subjects=len(everybody),
        labelled=len(labelled),
        waiting=len(everybody) - len(labelled) - len(disagreed),
        disagreed=len(disagreed),
        adjudicated=len(set(agreed.adjudicated) & labelled),
        readers=(
            *blind,
            _reader(adjudicator, words.rulings, disagreed | (words.rulings.keys() & set(everybody)), again[Stage.ADJUDICATION]),
        ),
        skipped=tuple(skipped),
        stale=len(labelled & {each.subject for asked_again in again.values() for each in asked_again}),
    )


def table(done: Progress) -> str:
    """The progress as lines for a terminal."""
    lines = [
        f"{done.subjects} people: {done.labelled} labelled, of whom {done.adjudicated} were adjudicated",
        f"{done.waiting} wait for a reader, {done.disagreed} for the adjudicator",
        *([f"{done.stale} labels are stale: newer frames look different, and are asked about again"] if done.stale else []),
        "",
        f"{'reader':20} {'answered':>8} {'open':>6} {'median':>8} {'time left':>10}",
    ]
    for each in done.readers:
        median = "–" if each.median_s is None else f"{each.median_s:.0f} s"
        lines.append(f"{each.reader:20} {each.answered:8} {each.open:6} {median:>8} {duration(each.left_s):>10}")
    if done.skipped:
        lines += ["", f"{len(done.skipped)} answers cannot be read:", *(f"{each.item}: {each.reason}" for each in done.skipped)]
    return "\n".join(lines)


def status_table(projects: Iterable[Mapping[str, Any]]) -> str:
    """What Label Studio alone knows, ``count_answers``, as lines for a terminal."""
    lines = [f"{'project':40} {'people':>7} {'answered':>9} {'open':>6}"]
    for each in projects:
        still = each["subjects"] - each["answered"]
        lines.append(f"{each['project']:40} {each['subjects']:7} {each['answered']:9} {still:6}")
    return "\n".join(lines)


def duration(seconds: float | None) -> str:
    """A time as people say it: ``45 s``, ``12 min``, ``3 h 20 min``; a dash if it is not known."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _reader(reader: str, voices: Mapping[str, Voice], asked: Collection[str], stale: Iterable[Stale]) -> ReaderProgress:
    """What one reader did, from person → what the reader says of them now."""
    said = [newest(voice) for who, voice in voices.items() if who in asked]
    times = [row.lead_time_s for row in said if row.lead_time_s is not None]
    median = statistics.median(times) if times else None
    again = sum(each.reader == reader for each in stale)
    still = len(asked) - len(said) + again
    return ReaderProgress(
        reader=reader,
        answered=len(said),
        open=still,
        median_s=median,
        left_s=None if median is None else still * median,
        again=again,
    )
