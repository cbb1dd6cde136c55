"""Pull the readers' answers from Label Studio into the ledger, and collect notices for the operator."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Final

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_logger

from flows.workspace import Workspace
from labeling.label_studio.annotations import ReaderProject
from labeling.label_studio.give_back import give_back
from labeling.label_studio.pull import pull, write_pull_number
from labeling.label_studio.reconcile import retract_project
from vitau.errors import OvertakenError
from vitau.schema import AUS, Stage

ADJUDICATOR: Final = "adjudicator"
MAX_PULLS: Final = 5
"""Pulls of one project in a round, if other rounds overtake them; the error then ends the round, and the next one pulls."""


@dataclass(frozen=True, kw_only=True)
class PullOptions:
    """Options of a pull.

    Attributes:
        whole: read all answers again, not only those that changed.
        accept_deletions: retract answers that vanished, even if many are gone at once.
    """

    whole: bool = False
    accept_deletions: bool = False


DEFAULT_PULL: Final = PullOptions()


@task(cache_policy=NO_CACHE)
def pull_answers(
    workspace: Workspace, projects: Sequence[ReaderProject], options: PullOptions = DEFAULT_PULL
) -> tuple[int, tuple[str, ...]]:
    """Append the new answers of the projects to the ledger; return the number of new rows, and notices for the operator."""
    num_new, notices = 0, []
    for project in projects:
        num_retracted, missing = retract_missing_projects(workspace, project, accept=options.accept_deletions)
        num_pulled, found = pull_project(workspace, project, options)
        num_new += num_retracted + num_pulled
        notices += [*missing, *found]
    for notice in notices:
        get_logger(__name__).warning(notice)
    return num_new, tuple(notices)


def pull_project(workspace: Workspace, project: ReaderProject, options: PullOptions) -> tuple[int, list[str]]:
    """Append the new answers of one project to the ledger; return the number of new rows, and notices.

    If another round pulls the project at the same time and is faster, the project is read again.
    """
    for _ in range(MAX_PULLS - 1):
        with suppress(OvertakenError):
            return _pull_once(workspace, project, options)
    return _pull_once(workspace, project, options)


def _pull_once(workspace: Workspace, project: ReaderProject, options: PullOptions) -> tuple[int, list[str]]:
    """Pull a project as :func:`pull_project` does.

    The order of the writes makes it idempotent: annotations seen, frames, and last the ledger with the state of the pull. After
    a kill in between, the next pull reads the same answers again and appends those that the ledger lacks.
    """
    catalog = workspace.catalog
    state = {state.project: state for state in catalog.pull_states()}.get(project.identity)
    pulled = pull(
        workspace.label_studio,
        replace(project, checks=tuple(catalog.checks(project.reader))) if project.stage is Stage.READER else project,
        catalog.pseudonyms(),
        state=state,
        seen=catalog.seen_annotations(project.identity),
        entries=catalog.ledger_entries(project.reader, project.stage),
        **asdict(options),
    )
    erased = catalog.erased_among({seen.subject for seen in pulled.seen} | {row.subject for row in pulled.rows})
    with catalog.transaction():
        catalog.check_pull(project.identity, state)
        catalog.record_seen(project.identity, [seen for seen in pulled.seen if seen.subject not in erased])
    catalog.add_unusable_frames(pulled.unusable_frames)
    catalog.set_skipped(f"label-studio-{project.id}", pulled.skipped)
    with catalog.transaction():
        catalog.check_pull(project.identity, state)
        num_new = catalog.append_answers(pulled.rows)
        catalog.record_pull(pulled.state)
    if pulled.seen:
        write_pull_number(workspace.label_studio, pulled.state)
    given_back = give_back(workspace.label_studio, pulled.contradictory)
    notices = [pulled.notice] if pulled.notice else []
    if given_back:
        notices.append(
            f"{given_back} of the answers of {project.title} cannot be read and went back to their reader, with the reason"
        )
    if unreadable := len(pulled.skipped) - given_back:
        notices.append(f"{unreadable} of the answers of {project.title} cannot be read; `flows status` shows why")
    left_out = {row.annotation for row in pulled.rows if row.subject in erased}
    if left_out:
        notices.append(f"{len(left_out)} answers of {project.title} about erased people were left out")
    return num_new, notices


def retract_missing_projects(workspace: Workspace, project: ReaderProject, *, accept: bool) -> tuple[int, list[str]]:
    """Retract the answers of deleted projects that had this title, if ``accept``; return the number of rows, and notices.

    Without ``accept`` their answers stand, and a notice tells the operator.
    """
    catalog = workspace.catalog
    answered = {annotation.subject for annotation in catalog.seen_annotations(project.identity) if not annotation.gone}
    num_new, notices = 0, []
    for state in catalog.pull_states():
        if state.title != project.title or state.project == project.identity:
            continue
        entries = catalog.ledger_entries(project.reader, project.stage)
        rows = retract_project(project, catalog.seen_annotations(state.project), entries, answered)
        if rows and not accept:
            notices.append(
                f"project “{project.title}” is not the one that was read before (deleted, or Label Studio set up anew): "
                f"the {len(rows) // len(AUS)} answers read from it stand; run `annotate --accept-deletions` to take them back"
            )
            continue
        num_new += catalog.append_answers(rows)
        catalog.delete_pull(state.project)
    return num_new, notices
