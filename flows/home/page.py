"""The labeling manager's page, from the catalog and the store alone: no service needs to run."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from flows.annotation.consensus import resolve_consensus
from flows.annotation.key_frames import cases
from flows.home.consensus_files import consensus_rows
from flows.reports.labeling import labeling_progress
from flows.workspace import Workspace
from labeling.consensus.agreement import Agreement, AgreementReport, agreement_report
from labeling.consensus.consensus import Disagreement
from labeling.consensus.reader_checks import ReaderChecks, reader_checks
from labeling.consensus.severity import case_severities
from labeling.consensus.standing_answers import ReaderAnswer, StandingAnswers, side_of, standing_answers
from labeling.progress import Progress, duration
from vitau.data.layout import key_frame_key, parse_frame_name
from vitau.errors import StoreError
from vitau.evaluation.bootstrap import format_estimate
from vitau.pages import data_uri, page_environment
from vitau.schema import AU, REGION_NAMES, LedgerRow, all_names

REFRESH_S: Final = 30
MAX_SHOWN: Final = 12
"""People with pictures on the page; more would make it slow."""
NUM_RESAMPLES: Final = 200
FEWEST_PEOPLE: Final = 10
"""With fewer people, an interval that resamples them is too narrow."""
RELIABLE: Final = 0.8
TENTATIVE: Final = 0.667
"""Krippendorff's limits of α: K. Krippendorff, Content Analysis, 4th ed., 2018, ch. 12."""


@dataclass(frozen=True, kw_only=True)
class DisputedPerson:
    """A disagreement: each disputed question with the answers of ``readers``, and the pictures that were shown."""

    case: str
    readers: tuple[str, ...]
    questions: tuple[tuple[str, tuple[str, ...]], ...]
    pictures: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Home:
    """The contents of the page; ``absent`` are the readers who are away, ``links`` are names of pages and their addresses."""

    progress: Progress
    agreement: AgreementReport
    checks: Sequence[ReaderChecks]
    disputed: Sequence[DisputedPerson]
    num_disputed: int
    rows: Sequence[Sequence[str]]
    absent: frozenset[str]
    synthetic: bool
    links: Mapping[str, str] = field(default_factory=dict)


def gather_home(workspace: Workspace, links: Mapping[str, str]) -> Home:
    """Gather the contents of the page from the catalog and the pictures from the store."""
    (rows, _), catalog = workspace.newest_answers(), workspace.catalog
    agreed, standing = resolve_consensus(workspace, rows), standing_answers(rows)
    readers = sorted({reader for answers in standing.blind.values() for reader in answers})
    return Home(
        progress=labeling_progress(workspace),
        agreement=agreement_report(standing, readers, num_resamples=NUM_RESAMPLES),
        checks=reader_checks(workspace.answers_of_checked(rows), num_resamples=NUM_RESAMPLES),
        disputed=[disputed_person(workspace, case, standing) for case in agreed.disagreements[:MAX_SHOWN]],
        num_disputed=len(agreed.disagreements),
        rows=consensus_rows(agreed, cases(workspace), case_severities(standing, agreed.labels)),
        absent=catalog.absent_readers(),
        synthetic=any(subject.synthetic for subject in catalog.subjects()),
        links=links,
    )


def disputed_person(workspace: Workspace, case: Disagreement, standing: StandingAnswers) -> DisputedPerson:
    """Return one disagreement with the answers to each disputed question and the pictures of the newest answer."""
    answers = standing.blind.get(case.case, {})
    readers = tuple(sorted(answers))
    questions = [(f"{au} {REGION_NAMES[au]}", tuple(_region(answers[reader], au) for reader in readers)) for au in case.regions]
    if case.side:
        questions.append(("side", tuple(str(side_of(answers[reader]) or "none") for reader in readers)))
    shown = [row for answer in answers.values() for row in answer.values()]
    return DisputedPerson(
        case=case.case,
        readers=readers,
        questions=tuple(questions),
        pictures=tuple(pictures_of(workspace, max(shown, key=lambda row: row.answered_at))) if shown else (),
    )


def pictures_of(workspace: Workspace, row: LedgerRow) -> list[str]:
    """Return the pictures that were shown for an answer as data URIs; those that the store has no more are left out."""
    names = all_names(row.subject, workspace.catalog.merged_names())
    found = []
    for frame in row.frames_shown:
        clip, index = parse_frame_name(frame)
        for name in sorted(names, key=lambda name: name != row.subject):
            with suppress(StoreError, ValueError):
                found.append(data_uri(workspace.store.get(key_frame_key(name, clip, int(index)))))
                break
    return found


def agreement_words(agreement: Agreement) -> str:
    """Return what an agreement means in plain words, by Krippendorff's limits and the lower end of the interval."""
    if agreement.raw is None:
        return "No two readers have answered about the same person yet."
    share = f"Two readers give the same answer in {agreement.raw:.0%} of the questions."
    if agreement.num_subjects < FEWEST_PEOPLE:
        return f"{share} So few people tell nothing about chance: {FEWEST_PEOPLE} or more with two answers do."
    if agreement.alpha is None:
        return f"{share} All answers are the same, so that chance cannot be taken off."
    low = agreement.alpha if agreement.alpha_interval is None else agreement.alpha_interval[0]
    if low >= RELIABLE:
        return f"{share} Beyond chance this is reliable: α is at least {RELIABLE:g} by its whole interval."
    if agreement.alpha >= RELIABLE:
        words = f"looks reliable, but the interval of α reaches below {RELIABLE:g}: read more people."
    elif agreement.alpha >= TENTATIVE:
        words = f"allows tentative conclusions only (α from {TENTATIVE:g} to {RELIABLE:g})."
    else:
        words = f"is too little (α below {TENTATIVE:g}): discuss the cases below with the readers."
    return f"{share} Beyond chance this {words}"


def short_words(agreement: Agreement) -> str:
    """Return what an agreement means in one word or two."""
    if agreement.num_subjects < FEWEST_PEOPLE:
        return "too few people"
    if agreement.raw is None or agreement.alpha is None:
        return "all the same"
    if agreement.alpha >= RELIABLE:
        return "reliable"
    return "tentative" if agreement.alpha >= TENTATIVE else "too little"


def render_home(home: Home, *, files: Mapping[str, str], at: datetime | None = None, refresh_s: int | None = REFRESH_S) -> str:
    """Render the page as one self-contained HTML document, which loads itself again every ``refresh_s`` seconds.

    Args:
        home: the contents.
        files: the consensus as files: name → address.
        at: the time that the page shows; by default now.
        refresh_s: ``None`` for a page that does not load itself again.
    """
    environment = page_environment(Path(__file__).parent)
    environment.filters |= {"duration": duration, "estimate": format_estimate, "words": agreement_words, "short": short_words}
    now = (at or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M:%S UTC")
    names = {au: f"{au} {REGION_NAMES[au]}" for au in home.agreement.by_au}
    return environment.get_template("home.html.j2").render(home=home, files=files, at=now, refresh_s=refresh_s, names=names)


def _region(answer: ReaderAnswer, au: AU) -> str:
    if au not in answer:
        return "no answer"
    return {True: "affected", False: "not affected", None: "cannot tell"}[answer[au].affected]
