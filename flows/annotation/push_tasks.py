"""Push tasks: open the readers' projects, fill their queues, and pass disagreements to the adjudicator."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, TypeAlias

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.annotation.checks import check_questions, mix_in_checks
from flows.annotation.key_frames import build_reader_tasks, find_stale_answers, material_names
from flows.annotation.pull_answers import ADJUDICATOR
from flows.annotation.suggestions import load_champion_scores, suggestible_people
from flows.annotation.task_queue import assign_people
from flows.measuring.page_block import measure_blocks
from flows.settings import Settings
from flows.workspace import Workspace
from labeling.consensus.consensus import Consensus
from labeling.label_studio.annotations import ReaderProject
from labeling.label_studio.projects import Receiver, S3Access, ensure_project
from labeling.label_studio.push import (
    PushedTask,
    delete_unanswered,
    delete_untouched,
    hide_measures,
    hide_suggestions,
    push,
    pushed_tasks,
)
from labeling.sampling.staleness import Stale, shown_frames
from labeling.sampling.tasks import build_adjudication_task, with_measures
from vitau.schema import AU, AUS, LedgerRow, Stage, person_of

Case: TypeAlias = tuple[Collection[AU], bool]
"""The regions that the adjudicator settles about a person, and whether the side is to be settled too."""


@task(cache_policy=NO_CACHE)
def open_projects(workspace: Workspace) -> tuple[list[ReaderProject], ReaderProject]:
    """Return one project per blind reader, and the adjudicator's; create those that are missing."""
    keys, settings = workspace.label_pages_keys(), workspace.settings
    open_project = partial(
        ensure_project,
        workspace.label_studio,
        store_uri=settings.store,
        severity=settings.ask_severity,
        s3=None if keys is None else S3Access(**asdict(keys)),
        receiver=webhook_receiver(settings),
    )
    readers = [open_project(f"ViTAU {reader}", reader=reader, stage=Stage.READER) for reader in settings.readers]
    return readers, open_project("ViTAU adjudication", reader=ADJUDICATOR, stage=Stage.ADJUDICATION)


@task(cache_policy=NO_CACHE)
def delete_withdrawn_tasks(workspace: Workspace, projects: Iterable[ReaderProject]) -> int:
    """Delete the unanswered tasks about people who withdrew their consent; return their number."""
    withdrawn = workspace.catalog.withdrawn_subjects()
    if not withdrawn:
        return 0
    names = workspace.catalog.merged_names()
    return sum(delete_unanswered(workspace.label_studio, project, withdrawn, names=names) for project in projects)


@task(cache_policy=NO_CACHE)
def delete_tasks_of_absent(workspace: Workspace, readers: Iterable[ReaderProject]) -> int:
    """Delete the open tasks of readers who are away, unless they have begun them; return their number."""
    absent = workspace.catalog.absent_readers()
    return sum(delete_untouched(workspace.label_studio, project) for project in readers if project.reader in absent)


@task(cache_policy=NO_CACHE)
def push_tasks(workspace: Workspace, readers: Sequence[ReaderProject]) -> int:
    """Fill every reader's queue; return the number of people who are new to a reader.

    Pictures are read only for people that a project lacks. A round without news costs one list of tasks per project.
    """
    names = workspace.catalog.merged_names()
    pushed = {reader.reader: pushed_tasks(workspace.label_studio, reader, names=names) for reader in readers}
    for reader in readers:
        hide_leaking_suggestions(workspace, reader, pushed[reader.reader])
        hide_unwanted_measures(workspace, reader, pushed[reader.reader])
    rows, _ = workspace.newest_answers()
    num_answers = {
        (shown.reader, shown.subject): len(shown.pages) for shown in shown_frames(rows) if shown.stage is Stage.READER
    }
    stale = {(answer.reader, answer.subject) for answer in find_stale_answers(workspace, rows) if answer.stage is Stage.READER}
    assigned = assign_people(workspace, pushed, num_answers, stale)
    mixed = mix_in_checks(workspace, assigned, pushed, num_answers)
    people = {reader: [*assigned[reader].again, *(subject for subject, _ in mixed[reader])] for reader in assigned}
    champion = load_champion_scores(workspace) if workspace.settings.suggest_to_readers else None
    subjects = sorted(set().union(*people.values()))
    measures = measure_blocks(workspace, subjects) if shows_measures(workspace.settings, Stage.READER) else {}
    tasks = build_reader_tasks(workspace, subjects, champion, measures)
    for reader in readers:
        mine = {
            subject: with_after(tasks[subject], num_answers.get((reader.reader, subject), 0))
            for subject in people[reader.reader]
            if subject in tasks
        }
        if checks := check_questions(reader.reader, mixed[reader.reader], mine):
            workspace.catalog.add_checks(checks)  # before they are asked: no answer is pulled as another one
        push(workspace.label_studio, reader, list(mine.values()), names=names)
    return len(tasks.keys() & {subject for own in mixed.values() for subject, kind in own if kind is None})


@task(cache_policy=NO_CACHE)
def push_disagreements(workspace: Workspace, adjudication: ReaderProject, consensus: Consensus) -> int:
    """Push disagreements to the adjudicator, with the readers' answers; return the number of new tasks."""
    (rows, _), names = workspace.newest_answers(), workspace.catalog.merged_names()
    absent = workspace.catalog.absent_readers()
    stale = [answer for answer in find_stale_answers(workspace, rows) if answer.reader not in absent]
    cases = adjudication_cases(consensus, stale)
    if not cases:
        return 0
    num_rulings = {shown.subject: len(shown.pages) for shown in shown_frames(rows) if shown.stage is Stage.ADJUDICATION}
    current = material_names(workspace)
    tasks_so_far = pushed_tasks(workspace.label_studio, adjudication, names=names)
    hide_leaking_suggestions(workspace, adjudication, tasks_so_far)
    hide_unwanted_measures(workspace, adjudication, tasks_so_far)
    covered = {
        pushed.subject
        for pushed in tasks_so_far
        if pushed.covers(current.get(pushed.subject), num_rulings.get(pushed.subject, 0))
    }
    missing = {subject: case for subject, case in sorted(cases.items()) if subject not in covered}
    tasks = build_adjudication_tasks(workspace, missing, rows, num_rulings)
    return push(workspace.label_studio, adjudication, tasks, names=names)


def hide_leaking_suggestions(workspace: Workspace, project: ReaderProject, tasks: Iterable[PushedTask]) -> None:
    """Remove a model's scores from open tasks about people whose labels judge models; earlier versions showed them."""
    showing = [task for task in tasks if task.suggested and not task.answered]
    if showing:
        allowed = suggestible_people(workspace)
        hide_suggestions(workspace.label_studio, project, [task for task in showing if person_of(task.subject) not in allowed])


def shows_measures(settings: Settings, stage: Stage) -> bool:
    """Return whether the pages of a stage show measures."""
    return settings.show_measures == "everybody" or (settings.show_measures == "adjudicator" and stage is Stage.ADJUDICATION)


def hide_unwanted_measures(workspace: Workspace, project: ReaderProject, tasks: Iterable[PushedTask]) -> None:
    """Remove the measures from the open tasks of a project whose pages no longer show them."""
    showing = [task for task in tasks if task.measured and not task.answered]
    if showing and not shows_measures(workspace.settings, project.stage):
        hide_measures(workspace.label_studio, project, showing)


def adjudication_cases(consensus: Consensus, stale: Iterable[Stale]) -> dict[str, Case]:
    """Return what the adjudicator settles, by subject: disagreements, and rulings that are stale.

    A person is left out while a reader is asked again about them.
    """
    stale_subjects: dict[Stage, set[str]] = {stage: set() for stage in Stage}
    for answer in stale:
        stale_subjects[answer.stage].add(answer.subject)
    cases: dict[str, Case] = {case.case: (case.regions, case.side) for case in consensus.disagreements}
    cases |= {subject: (AUS, True) for subject in consensus.adjudicated if subject in stale_subjects[Stage.ADJUDICATION]}
    return {subject: case for subject, case in cases.items() if subject not in stale_subjects[Stage.READER]}


def build_adjudication_tasks(
    workspace: Workspace, cases: Mapping[str, Case], rows: Iterable[LedgerRow], num_rulings: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Build the adjudicator's task of each case, with the readers' answers and what the settings allow beside."""
    champion = load_champion_scores(workspace) if workspace.settings.suggest_to_adjudicator else None
    measures = measure_blocks(workspace, cases.keys()) if shows_measures(workspace.settings, Stage.ADJUDICATION) else {}
    answers: dict[str, list[LedgerRow]] = {subject: [] for subject in cases}
    for row in rows:
        if row.case in cases and row.stage is Stage.READER and row.check_kind is None:
            answers[row.case].append(row)
    tasks = []
    for subject, reader_task in build_reader_tasks(workspace, list(cases)).items():
        regions, side = cases[subject]
        suggestions = champion.suggestions(subject) if champion else None
        case = build_adjudication_task(
            with_after(reader_task, num_rulings.get(subject, 0)),
            answers[subject],
            regions,
            side=side,
            suggestions=suggestions,
            suggested_by=champion.name if champion and suggestions else None,
        )
        tasks.append(with_measures(case, measures.get(subject)))
    return tasks


def with_after(reader_task: Mapping[str, Any], num_answers: int) -> dict[str, Any]:
    """Return a task with the number of its reader's earlier answers about the person."""
    return {**reader_task, "data": {**reader_task["data"], "after": num_answers}}


def webhook_receiver(settings: Settings) -> Receiver | None:
    """Return the address that Label Studio notifies of new answers, ``None`` if the settings have none."""
    if settings.webhook_url is None or settings.webhook_secret is None:
        return None
    return Receiver(url=settings.webhook_url, secret=settings.webhook_secret.get_secret_value())
