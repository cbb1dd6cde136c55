"""From frames to one answer per person: pull answers, push tasks, find what the readers say together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pandas as pd
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.annotation.consensus import agree
from flows.annotation.key_frames import compare_material, material_names, reader_tasks, stale
from flows.annotation.pull_answers import ADJUDICATOR, AS_USUAL, PullOptions, pull_answers
from flows.annotation.suggestions import scored_champion
from flows.annotation.task_queue import whom_to_ask
from flows.gates import gate
from flows.settings import Settings
from flows.workspace import Workspace, open_workspace
from labeling.consensus.consensus import Consensus
from labeling.label_studio.annotations import ReaderProject
from labeling.label_studio.projects import Receiver, S3Access, ensure_project
from labeling.label_studio.push import push, pushed_tasks
from labeling.sampling.staleness import shown_frames
from labeling.sampling.tasks import build_adjudication_task
from validation.rules import label_rows
from validation.suites import labels_suite
from vitau.schema import AUS, RegionLabels, Stage
from vitau.store import S3Store


@dataclass(frozen=True, kw_only=True)
class AnnotateSummary:
    """How the labels stand: people pushed to the readers in this run, labelled, waiting for a reader, disputed, adjudicated.

    ``stale`` are the labelled who look different in newer frames, until the readers have answered anew. ``notices`` are
    sentences for the operator: answers that vanished as if by accident, and that stand until somebody decides.
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


@flow(name="annotate")
def annotate(
    *, whole: bool = False, accept_deletions: bool = False, only: int | None = None, settings: Settings | None = None
) -> AnnotateSummary:
    """Take in what the readers said, give them whom they have not seen, and hand their disagreements to the adjudicator.

    With ``only``, the number of a project in Label Studio that changed, nobody new is asked and no other project is read.
    """
    return one_round(open_workspace(settings), PullOptions(whole=whole, accept_deletions=accept_deletions), only=only)


def one_round(
    workspace: Workspace,
    options: PullOptions = AS_USUAL,
    *,
    only: int | None = None,
) -> AnnotateSummary:
    """Run the flow's steps on a workspace."""
    readers, adjudication = open_projects(workspace)
    changed = [project for project in (*readers, adjudication) if only in {None, project.id}]
    new_answers, notices = pull_answers(workspace, changed, options)
    compare_material(workspace)
    pushed = push_tasks(workspace, readers) if only is None else 0
    agreed = find_consensus(workspace)
    push_disagreements(workspace, adjudication, agreed)
    rows = workspace.ledger()
    return AnnotateSummary(
        pushed=pushed,
        new_answers=new_answers,
        labeled=len(agreed.labels),
        waiting=len(agreed.waiting),
        disputed=len(agreed.disagreements),
        adjudicated=len(agreed.adjudicated),
        stale=len({answer.subject for answer in agreed.labels} & {each.subject for each in stale(workspace, rows)}),
        agreement=agreed.agreement.raw,
        alpha=agreed.agreement.alpha,
        ledger_offset=workspace.catalog.ledger_offset(),
        notices=notices,
    )


@task(cache_policy=NO_CACHE)
def open_projects(workspace: Workspace) -> tuple[list[ReaderProject], ReaderProject]:
    """Find or make one project per blind reader, and the adjudicator's."""
    store, settings = workspace.store, workspace.settings
    open_project = partial(
        ensure_project,
        workspace.label_studio,
        store_uri=settings.store,
        s3=S3Access(**asdict(store.access())) if isinstance(store, S3Store) else None,
        receiver=receiver(workspace),
    )
    readers = [open_project(f"ViTAU {reader}", reader=reader, stage=Stage.READER) for reader in settings.readers]
    return readers, open_project("ViTAU adjudication", reader=ADJUDICATOR, stage=Stage.ADJUDICATION)


@task(cache_policy=NO_CACHE)
def push_tasks(workspace: Workspace, readers: Sequence[ReaderProject]) -> int:
    """Fill every reader's queue with people to be asked again or for the first time; returns how many are new to a reader.

    The pictures are looked for only where a project lacks somebody: a round in which nothing is new costs one list per project.
    """
    client, catalog = workspace.label_studio, workspace.catalog
    names = catalog.merged_names()
    asked = {reader.reader: pushed_tasks(client, reader, names=names) for reader in readers}
    rows = workspace.ledger()
    heard = {(each.reader, each.subject): len(each.pages) for each in shown_frames(rows) if each.stage is Stage.READER}
    looks_new = {(each.reader, each.subject) for each in stale(workspace, rows) if each.stage is Stage.READER}
    wishes = whom_to_ask(workspace, asked, heard, looks_new)
    wanted = sorted({who for wish in wishes.values() for who in (*wish.again, *wish.new)})
    tasks = reader_tasks(workspace, wanted, scored_champion(workspace) if workspace.settings.suggest_to_readers else None)
    pushed = [
        push(
            client,
            reader,
            [ask(tasks[who], after=heard.get((reader.reader, who), 0)) for who in (*wish.again, *wish.new) if who in tasks],
            names=names,
        )
        for reader in readers
        for wish in [wishes[reader.reader]]
    ]
    return max(pushed, default=0)


@task(cache_policy=NO_CACHE)
def find_consensus(workspace: Workspace) -> Consensus:
    """Find the one answer per person in the ledger, pass gate 2, and make it the labels."""
    catalog = workspace.catalog
    offset = catalog.ledger_offset()
    agreed = agree(workspace, workspace.ledger(upto=offset))
    if list(agreed.labels) != catalog.labels():
        if agreed.labels:  # none are left where every answer was taken back
            cohorts = {subject.pseudonym: subject.cohort for subject in catalog.subjects()}
            rows = label_rows(label_table(agreed.labels), cohorts, agreed.agreement.raw)
            gate(workspace, rows, labels_suite(workspace.settings.agreement_floor))
        catalog.set_labels(agreed.labels, ledger_offset=offset)
    return agreed


@task(cache_policy=NO_CACHE)
def push_disagreements(workspace: Workspace, adjudication: ReaderProject, agreed: Consensus) -> int:
    """Hand the adjudicator the people about whom the readers differ, with what each reader said.

    A reader who is being asked again is waited for. A ruling is asked for again where newer frames look different.
    """
    catalog, client = workspace.catalog, workspace.label_studio
    rows, names = workspace.ledger(), catalog.merged_names()
    looks_new = stale(workspace, rows)
    old = {stage: {each.subject for each in looks_new if each.stage is stage} for stage in Stage}
    disputed = {case.subject: (case.regions, case.side) for case in agreed.disagreements}
    again = {who: (AUS, True) for who in agreed.adjudicated if who in old[Stage.ADJUDICATION]}
    cases = {who: what for who, what in (disputed | again).items() if who not in old[Stage.READER]}
    if not cases:
        return 0
    ruled = {each.subject: len(each.pages) for each in shown_frames(rows) if each.stage is Stage.ADJUDICATION}
    asked, current = pushed_tasks(client, adjudication, names=names), material_names(workspace)
    done = {task.subject for task in asked if task.covers(current.get(task.subject), ruled.get(task.subject, 0))}
    lacking = [who for who in sorted(cases) if who not in done]
    champion = scored_champion(workspace) if workspace.settings.suggest_to_adjudicator else None
    tasks = reader_tasks(workspace, lacking)
    answers = [row for row in rows if row.stage is Stage.READER]
    built = []
    for who, made in tasks.items():
        regions, side = cases[who]
        said = [row for row in answers if row.subject == who]
        suggested = champion.suggestions(who) if champion else None
        by = champion.name if champion and suggested else None
        built.append(
            build_adjudication_task(
                ask(made, after=ruled.get(who, 0)), said, regions, side=side, suggestions=suggested, suggested_by=by
            )
        )
    return push(client, adjudication, built, names=names)


def ask(task: Mapping[str, Any], *, after: int) -> dict[str, Any]:
    """Say in a task after how many answers of its reader it is asked."""
    return {**task, "data": {**task["data"], "after": after}}


def receiver(workspace: Workspace) -> Receiver | None:
    """Return where Label Studio should say that answers changed, if the settings name a place."""
    settings = workspace.settings
    if settings.webhook_url is None or settings.webhook_secret is None:
        return None
    return Receiver(url=settings.webhook_url, secret=settings.webhook_secret.get_secret_value())


def label_table(labels: Iterable[RegionLabels]) -> pd.DataFrame:
    """Lay labels out as gate 2 reads them: one row per person and AU."""
    rows: list[Mapping[str, Any]] = [
        {"subject": answer.subject, "au": au.value, "affected": answer.affected[au], "side": answer.side and str(answer.side)}
        for answer in labels
        for au in AUS
        if au in answer.affected
    ]
    return pd.DataFrame(rows, columns=["subject", "au", "affected", "side"])
