"""Progress of the labeling: who waits for which reader, and the remaining time."""

import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from labeling.consensus.consensus import Consensus
from labeling.consensus.standing_answers import ReaderAnswer, newest_row, standing_answers
from labeling.sampling.staleness import Stale
from vitau.schema import LedgerRow, Skipped, Stage


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderProgress:
    """Progress of one reader: answered and open people, median time of an answer (s), and the time left for the open ones (s).

    ``again`` of the ``open`` people are answered, but look different in newer frames and are asked about again. If not all
    readers read each person, ``open`` is this reader's share of the missing answers. Both times are ``None`` if no answer was
    timed. ``num_skipped`` of the ``open`` people were skipped, or their contradictory answer was given back: they come after
    the others.
    """

    reader: str
    answered: int
    open: int
    median_s: float | None = None
    left_s: float | None = None
    again: int = 0
    num_skipped: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """The blind readers, how many of them read each person (``None``: all), and those who are away and get no new person."""

    readers: tuple[str, ...]
    per_person: int | None = None
    absent: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Progress of all readers about all ``subjects``.

    Each subject is in exactly one of ``labeled``, ``waiting`` (for a reader) and ``disagreed``. ``adjudicated`` of the labeled
    ones needed the adjudicator. ``stale`` of them look different in newer frames; their labels stand until the readers have
    answered again. ``retrain`` are the model versions in use that learned from people who were erased since.
    """

    subjects: int
    labeled: int
    waiting: int
    disagreed: int
    adjudicated: int
    readers: tuple[ReaderProgress, ...]
    skipped: tuple[Skipped, ...] = ()
    stale: int = 0
    retrain: tuple[str, ...] = ()


def progress(
    agreed: Consensus,
    rows: Iterable[LedgerRow],
    subjects: Collection[str],
    *,
    design: Design,
    adjudicator: str,
    skipped: Iterable[Skipped] = (),
    stale: Iterable[Stale] = (),
    retrain: Iterable[str] = (),
) -> Progress:
    """Compute the progress of the labeling.

    Args:
        agreed: the consensus of ``rows``.
        rows: the ledger, in its order.
        subjects: the cases to label, each one person at one visit; others are not counted.
        design: the blind readers, and how they share the people.
        adjudicator: the reader of the disagreements.
        skipped: answers that cannot be read.
        stale: standing answers about people who look different in newer frames.
        retrain: the model versions in use, ``name/version``, that learned from people who were erased since.
    """
    standing, known = standing_answers(rows), frozenset(subjects)
    again: dict[Stage, list[Stale]] = {stage: [] for stage in Stage}
    for answer in stale:
        if answer.subject in known:
            again[answer.stage].append(answer)
    disagreed = {case.case for case in agreed.disagreements} & known
    labeled = {label.case for label in agreed.labels} & known
    ruled = disagreed | (standing.rulings.keys() & known)
    read = {
        reader: {subject: answers[reader] for subject, answers in standing.blind.items() if reader in answers}
        for reader in design.readers
    }
    share = _shares(read, subjects, design)
    blind = [_reader_progress(reader, read[reader], known, again[Stage.READER], share[reader]) for reader in read]
    return Progress(
        subjects=len(subjects),
        labeled=len(labeled),
        waiting=len(subjects) - len(labeled) - len(disagreed),
        disagreed=len(disagreed),
        adjudicated=len(set(agreed.adjudicated) & labeled),
        readers=(
            *blind,
            _reader_progress(
                adjudicator, standing.rulings, ruled, again[Stage.ADJUDICATION], len(ruled - standing.rulings.keys())
            ),
        ),
        skipped=tuple(skipped),
        stale=len(labeled & {answer.subject for answers in again.values() for answer in answers}),
        retrain=tuple(retrain),
    )


def with_skipped(done: Progress, num_skipped: Mapping[str, int]) -> Progress:
    """Return the progress with the number of people that each reader skipped and has not answered, by reader."""
    readers = (replace(reader, num_skipped=num_skipped.get(reader.reader, 0)) for reader in done.readers)
    return replace(done, readers=tuple(readers))


def table(done: Progress) -> str:
    """Render the progress as lines for a terminal."""
    lines = [
        f"{done.subjects} people: {done.labeled} labeled, {done.adjudicated} of them adjudicated",
        f"{done.waiting} wait for a reader, {done.disagreed} for the adjudicator",
        *([f"{done.stale} labels are stale: newer frames look different, and are asked about again"] if done.stale else []),
        *([f"retrain after an erasure: {', '.join(done.retrain)} learned from people who were erased"] if done.retrain else []),
        "",
        f"{'reader':20} {'answered':>8} {'open':>6} {'median':>8} {'time left':>10}",
    ]
    for reader in done.readers:
        median = "–" if reader.median_s is None else f"{reader.median_s:.0f} s"
        lines.append(f"{reader.reader:20} {reader.answered:8} {reader.open:6} {median:>8} {duration(reader.left_s):>10}")
    skips = {reader.reader: reader.num_skipped for reader in done.readers if reader.num_skipped}
    lines += [f"{reader}: {number} skipped or given back, they come last" for reader, number in skips.items()]
    if done.skipped:
        lines += [
            "",
            f"{len(done.skipped)} of the answers cannot be read:",
            *(f"{skip.item}: {skip.reason}" for skip in done.skipped),
        ]
    return "\n".join(lines)


def status_table(projects: Iterable[Mapping[str, Any]]) -> str:
    """Render the counts of ``labeling.label_studio.projects.count_answers`` as lines for a terminal."""
    lines = [f"{'project':40} {'people':>7} {'answered':>9} {'open':>6}"]
    for project in projects:
        still_open = project["subjects"] - project["answered"]
        lines.append(f"{project['project']:40} {project['subjects']:7} {project['answered']:9} {still_open:6}")
    return "\n".join(lines)


def duration(seconds: float | None) -> str:
    """Format a time such as ``45 s``, ``12 min`` or ``3 h 20 min``; a dash for ``None``."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _shares(read: Mapping[str, Mapping[str, ReaderAnswer]], subjects: Collection[str], design: Design) -> dict[str, int]:
    """Return how many people wait for each reader: where others can read them too, an equal share of the missing answers."""
    unread = {reader: [subject for subject in subjects if subject not in answers] for reader, answers in read.items()}
    if (per_person := design.per_person) is None or per_person >= len(read):
        return {reader: len(missing) for reader, missing in unread.items()}
    num_answers = Counter(subject for answers in read.values() for subject in answers)
    num_missing = sum(max(per_person - num_answers[subject], 0) for subject in subjects)
    share = math.ceil(num_missing / max(len(read.keys() - design.absent), 1))
    lacking = {reader: sum(num_answers[subject] < per_person for subject in missing) for reader, missing in unread.items()}
    return {reader: 0 if reader in design.absent else min(share, lacking[reader]) for reader in read}


def _reader_progress(
    reader: str, answers: Mapping[str, ReaderAnswer], subjects: Collection[str], stale: Iterable[Stale], num_open: int
) -> ReaderProgress:
    """Compute the progress of one reader from subject → the reader's standing answer, and the number of people who wait."""
    rows = [newest_row(answer) for subject, answer in answers.items() if subject in subjects]
    times_s = [row.lead_time_s for row in rows if row.lead_time_s is not None]
    median_s = statistics.median(times_s) if times_s else None
    again = sum(answer.reader == reader for answer in stale)
    still_open = num_open + again
    return ReaderProgress(
        reader=reader,
        answered=len(rows),
        open=still_open,
        median_s=median_s,
        left_s=None if median_s is None else still_open * median_s,
        again=again,
    )
