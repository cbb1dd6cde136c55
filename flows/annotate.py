"""The annotate flow: pull answers, push tasks, and resolve one answer per person."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_logger

from flows.annotation.consensus import resolve_consensus
from flows.annotation.key_frames import compare_material, find_stale_answers
from flows.annotation.pull_answers import DEFAULT_PULL, PullOptions, pull_answers
from flows.annotation.push_tasks import (
    delete_tasks_of_absent,
    delete_withdrawn_tasks,
    open_projects,
    push_disagreements,
    push_tasks,
)
from flows.gates import gate
from flows.reports.run_summary import publish_summary
from flows.settings import Settings
from flows.workspace import Workspace, open_workspace
from labeling.consensus.consensus import Consensus
from validation.rules import label_rows
from validation.suites import labels_suite
from vitau.schema import AUS, RegionLabels


@dataclass(frozen=True, kw_only=True)
class AnnotateSummary:
    """The state of the labels after one round.

    Attributes:
        pushed: people new to a reader in this round.
        new_answers: rows appended to the ledger.
        labeled: people with labels.
        waiting: people who wait for a reader.
        disputed: people who wait for the adjudicator.
        adjudicated: people whose labels are a ruling.
        stale: labeled people who look different in newer frames, until the readers have answered again.
        agreement: share of cells on which two readers agree.
        alpha: Krippendorff's alpha.
        ledger_offset: of the labels.
        notices: sentences for the operator, such as answers that vanished and stand until a person accepts the deletion.
    """

    pushed: int
    new_answers: int
    labeled: int
    waiting: int
    disputed: int
    adjudicated: int
    stale: int
    agreement: float | None
    alpha: float | None
    ledger_offset: int
    notices: tuple[str, ...] = ()


@flow(name="annotate", flow_run_name="annotate", on_completion=[publish_summary])
def annotate(
    *, whole: bool = False, accept_deletions: bool = False, only: int | None = None, settings: Settings | None = None
) -> AnnotateSummary:
    """Run one round of labeling: pull answers, fill the readers' queues, and pass disagreements to the adjudicator.

    With ``only``, the number of the project in Label Studio that changed, no other project is read and no queue is filled.
    """
    options = PullOptions(whole=whole, accept_deletions=accept_deletions)
    return annotate_workspace(open_workspace(settings), options, only=only)


def annotate_workspace(
    workspace: Workspace, options: PullOptions = DEFAULT_PULL, *, only: int | None = None
) -> AnnotateSummary:
    """Run the steps of the flow on a workspace."""
    readers, adjudication = open_projects(workspace)
    changed = [project for project in (*readers, adjudication) if only in {None, project.id}]
    new_answers, notices = pull_answers(workspace, changed, options)
    compare_material(workspace)
    if only is None and (num_free := delete_tasks_of_absent(workspace, readers)):
        notices = (*notices, f"{num_free} open tasks of readers who are away go to other readers")
    pushed = push_tasks(workspace, readers) if only is None else 0
    if only is None and (num_deleted := delete_withdrawn_tasks(workspace, (*readers, adjudication))):
        notices = (*notices, f"{num_deleted} open tasks about people who withdrew their consent were deleted")
    consensus = update_labels(workspace)
    push_disagreements(workspace, adjudication, consensus)
    return summarize(workspace, consensus, pushed=pushed, new_answers=new_answers, notices=notices)


@task(cache_policy=NO_CACHE)
def update_labels(workspace: Workspace) -> Consensus:
    """Resolve the consensus of the ledger, pass gate 2, and write the labels to the catalog."""
    catalog = workspace.catalog
    rows, offset = workspace.newest_answers()
    consensus = resolve_consensus(workspace, rows)
    if list(consensus.labels) != catalog.labels() and consensus.labels:  # there are none if every answer was retracted
        known = {subject.pseudonym: subject.cohort for subject in catalog.subjects()}
        cohorts = {label.case: known[label.subject] for label in consensus.labels if label.subject in known}
        table = label_rows(label_table(consensus.labels), cohorts, consensus.agreement.raw)
        gate(workspace, table, labels_suite(workspace.settings.agreement_floor))
    if not catalog.set_labels(consensus.labels, ledger_offset=offset):
        get_logger(__name__).info("another round has written the labels of a later ledger offset: they stand")
    return consensus


def label_table(labels: Iterable[RegionLabels]) -> pd.DataFrame:
    """Return labels as a table for gate 2: one row per person, visit and AU; its subjects are cases."""
    rows: list[Mapping[str, Any]] = [
        {"subject": answer.case, "au": au.value, "affected": answer.affected[au], "side": answer.side and str(answer.side)}
        for answer in labels
        for au in AUS
        if au in answer.affected
    ]
    return pd.DataFrame(rows, columns=["subject", "au", "affected", "side"])


def summarize(
    workspace: Workspace, consensus: Consensus, *, pushed: int, new_answers: int, notices: tuple[str, ...]
) -> AnnotateSummary:
    """Count the people in each state."""
    stale = {answer.subject for answer in find_stale_answers(workspace, workspace.newest_answers()[0])}
    return AnnotateSummary(
        pushed=pushed,
        new_answers=new_answers,
        labeled=len(consensus.labels),
        waiting=len(consensus.waiting),
        disputed=len(consensus.disagreements),
        adjudicated=len(consensus.adjudicated),
        stale=len({answer.case for answer in consensus.labels} & stale),
        agreement=consensus.agreement.raw,
        alpha=consensus.agreement.alpha,
        ledger_offset=workspace.catalog.labels_offset(),
        notices=notices,
    )
