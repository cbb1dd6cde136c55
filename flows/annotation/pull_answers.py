"""From Label Studio into the ledger: what the readers said since the last pull, and what an operator must be told about it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_logger

from flows.workspace import Workspace
from labeling.label_studio.annotations import ReaderProject
from labeling.label_studio.pull import pull, write_pull_number
from labeling.label_studio.reconcile import retract_project
from vitau.schema import AUS, Cohort

ADJUDICATOR: Final = "adjudicator"


@dataclass(frozen=True, kw_only=True)
class PullOptions:
    """How to pull: ``whole`` reads everything again, ``accept_deletions`` takes what vanished as meant."""

    whole: bool = False
    accept_deletions: bool = False


AS_USUAL: Final = PullOptions()


@task(cache_policy=NO_CACHE)
def pull_answers(
    workspace: Workspace,
    projects: Sequence[ReaderProject],
    options: PullOptions = AS_USUAL,
) -> tuple[int, tuple[str, ...]]:
    """Append to the ledger what the projects say; returns how many rows are new, and what the operator must be told.

    What was seen is noted first, then the ledger is written, and how far that was is noted last: killed anywhere, the next pull
    reads the same again and appends what the ledger lacks.
    """
    client, catalog = workspace.label_studio, workspace.catalog
    subjects = catalog.pseudonyms()
    new, notices = 0, []
    for project in projects:
        lost, gone = settle_gone(workspace, project, accept=options.accept_deletions)
        pulled = pull(
            client,
            project,
            subjects,
            state={state.project: state for state in catalog.pull_states()}.get(project.identity),
            seen=catalog.seen_annotations(project.identity),
            entries=catalog.ledger_entries(project.reader, project.stage),
            **asdict(options),
        )
        catalog.record_seen(project.identity, pulled.seen)
        new += lost + catalog.append_answers(pulled.rows)
        catalog.add_unusable_frames(pulled.unusable_frames)
        catalog.set_skipped(f"label-studio-{project.id}", pulled.skipped)
        catalog.record_pull(pulled.state)
        if pulled.seen:
            write_pull_number(client, pulled.state)
        notices += [*gone, *([pulled.notice] if pulled.notice else [])]
        if pulled.skipped:
            notices.append(f"{len(pulled.skipped)} answers of {project.title} cannot be read; `flows status` says why")
    for notice in notices:
        get_logger(__name__).warning(notice)
    return new, tuple(notices)


def settle_gone(workspace: Workspace, project: ReaderProject, *, accept: bool) -> tuple[int, list[str]]:
    """Look for projects of this title that were read before and are gone; their answers stand until somebody accepts it."""
    catalog = workspace.catalog
    answered = {each.subject for each in catalog.seen_annotations(project.identity) if not each.gone}
    new, notices = 0, []
    for state in catalog.pull_states():
        if state.title != project.title or state.project == project.identity:
            continue
        said = catalog.ledger_entries(project.reader, project.stage)
        rows = retract_project(project, catalog.seen_annotations(state.project), said, answered)
        if rows and not accept:
            notices.append(
                f"project “{project.title}” is not the one that was read before (deleted, or Label Studio set up anew): "
                f"the {len(rows) // len(AUS)} answers read from it stand; run `annotate --accept-deletions` to take them back"
            )
            continue
        new += catalog.append_answers(rows)
        catalog.delete_pull(state.project)
    return new, notices


def palsied(workspace: Workspace) -> list[str]:
    """Return the people who are asked about: a control has no affected region."""
    return [subject.pseudonym for subject in workspace.catalog.subjects() if subject.cohort is Cohort.PALSY]
