"""Labeling progress: the numbers from the catalog, without any service, and the page that shows them."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from flows.annotation.consensus import resolve_consensus
from flows.annotation.key_frames import cases, find_stale_answers
from flows.annotation.pull_answers import ADJUDICATOR
from flows.measuring.grades import GradeReport, grade_report
from flows.promotion.retrain_trigger import marked_in_use
from flows.workspace import Workspace
from labeling.progress import Design, Progress, duration, progress, with_skipped
from vitau.evaluation.bootstrap import format_estimate
from vitau.pages import page_environment
from vitau.store.atomic import write_atomic

LABELING_PAGE: Final = "labeling.html"
"""File name of the page beside a report."""


def labeling_progress(workspace: Workspace) -> Progress:
    """Count the people who are labeled, who wait for a reader or disagree, and the open tasks of each reader."""
    catalog, settings = workspace.catalog, workspace.settings
    rows, _ = workspace.newest_answers()
    unreadable = [item for item in catalog.skipped() if item.item.startswith("project ")]
    agreed = resolve_consensus(workspace, rows)
    done = progress(
        agreed,
        rows,
        cases(workspace),
        design=Design(readers=settings.readers, per_person=settings.num_readers, absent=catalog.absent_readers()),
        adjudicator=ADJUDICATOR,
        skipped=unreadable,
        stale=find_stale_answers(workspace, rows),
        retrain=marked_in_use(workspace),
    )
    return with_skipped(done, {state.reader: state.num_skipped for state in catalog.pull_states()})


def write_labeling_page(workspace: Workspace, done: Progress, path: Path) -> None:
    """Write the labeling progress as an HTML page, by an atomic rename."""
    synthetic = any(subject.synthetic for subject in workspace.catalog.subjects())
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    write_atomic(path, render_labeling_page(done, at=now, synthetic=synthetic, grades=grade_report(workspace)))


def render_labeling_page(done: Progress, *, at: str, synthetic: bool = False, grades: GradeReport | None = None) -> str:
    """Render the labeling progress as a self-contained HTML page.

    Args:
        done: the numbers.
        at: time of the numbers, as text.
        synthetic: show that some people are synthetic.
        grades: the readers' grades against measures, shown if there is a grade.
    """
    environment = page_environment(Path(__file__).parent)
    environment.filters["duration"] = duration
    environment.filters["estimate"] = partial(format_estimate, digits=2, sign="+", undefined="–")
    return environment.get_template("labeling.html.j2").render(done=done, at=at, synthetic=synthetic, grades=grades)
