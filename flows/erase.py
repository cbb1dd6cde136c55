"""The erase flow: delete a person's recordings, pictures, scores, tasks and rows, and retract the answers about them.

The pseudonym stays, so that the next ingest does not add the person again. The manifests of snapshots stay too: they record
what a model was trained on, in pseudonyms and labels, without pictures.
"""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.settings import Settings
from flows.workspace import Workspace, open_workspace
from labeling.label_studio.projects import erase_subjects
from vitau.data import layout
from vitau.data import snapshot as snapshots
from vitau.errors import CatalogError
from vitau.schema import LedgerRow, Split, Stage, all_names

HOUR_S: Final = 3600


@dataclass(frozen=True, kw_only=True)
class EraseSummary:
    """The counts of an erasure, and the snapshots and models that used the person; they stay until the next training."""

    objects: int
    tasks: int
    answers: int
    snapshots: tuple[str, ...]
    trained: tuple[str, ...]


@flow(name="erase", flow_run_name="erase", timeout_seconds=HOUR_S)
def erase(subject: str, settings: Settings | None = None) -> EraseSummary:
    """Erase a person by pseudonym, including every subject merged into it. After a kill, run it again: it is idempotent.

    Raises:
        CatalogError: no subject has this pseudonym.
    """
    workspace = open_workspace(settings)
    names = pseudonyms_of(workspace, subject)
    workspace.catalog.begin_erasure(names)
    tasks = erase_tasks(workspace, names)
    answers = retract(workspace, names)
    frozen_in, trained = find_uses(workspace, names)
    objects = erase_objects(workspace, names, frozen_in)
    workspace.catalog.delete_rows_of(names)
    workspace.catalog.finish_erasure(names, snapshots=frozen_in, trainings=trained)
    return EraseSummary(objects=objects, tasks=tasks, answers=answers, snapshots=tuple(frozen_in), trained=tuple(trained))


def pseudonyms_of(workspace: Workspace, subject: str) -> set[str]:
    """Return every pseudonym of a person."""
    if subject not in workspace.catalog.pseudonyms():
        raise CatalogError(f"no subject {subject} is in the catalog: check the pseudonym")
    return all_names(subject, workspace.catalog.merged_names())


@task(cache_policy=NO_CACHE, task_run_name="erase-tasks")
def erase_tasks(workspace: Workspace, names: Collection[str]) -> int:
    """Delete the person's tasks with their answers and drafts in all ViTAU projects; return their number."""
    return erase_subjects(workspace.label_studio, names)


@task(cache_policy=NO_CACHE, task_run_name="take-back")
def retract(workspace: Workspace, names: Collection[str]) -> int:
    """Retract every standing answer about the person in the ledger; return their number."""
    last: dict[tuple[str, Stage, str, str], LedgerRow] = {}
    for row in workspace.catalog.ledger():
        if row.subject in names:
            last[row.reader, row.stage, row.annotation, row.au] = row
    retractions = [
        replace(
            row,
            affected=None,
            side=None,
            version=f"erased {row.version}",
            frames_shown=(),
            note=None,
            retracted=True,
            marks=(),
        )
        for row in last.values()
        if not row.retracted
    ]
    workspace.catalog.append_answers(retractions)
    return len({(row.reader, row.stage, row.annotation) for row in retractions})


def find_uses(workspace: Workspace, names: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the snapshots with the person, and the models, ``name/version``, trained or selected on the person.

    A model that was only tested on the person learned nothing from them.
    """
    catalog = workspace.catalog
    splits: dict[str, set[str]] = {}
    for frozen in catalog.snapshots():
        rows = snapshots.load(workspace.store, frozen.digest)
        theirs = rows.filter(pc.is_in(rows["subject"], pa.array(sorted(names))))
        if len(theirs):
            splits[frozen.digest] = set(theirs["split"].to_pylist())
    learned = [digest for digest, found in splits.items() if found != {Split.TEST}]
    return list(splits), [
        f"{training.model}/{training.version}" for digest in learned for training in catalog.trainings(digest)
    ]


@task(cache_policy=NO_CACHE, task_run_name="erase-objects")
def erase_objects(workspace: Workspace, names: Collection[str], frozen_in: Sequence[str]) -> int:
    """Delete the person's objects, and the reports that may show them; return the number of objects."""
    store = workspace.store
    models = {found[0] for key in store.keys(layout.SCORES) if (found := layout.parse_score_key(key))}
    prefixes = [layout.subject_prefix(name) for name in names]
    prefixes += [layout.score_prefix(model, name) for model in models for name in names]
    prefixes += [layout.report_prefix(digest) for digest in frozen_in]  # the next rescoring writes them anew
    shutil.rmtree(workspace.settings.work / "crops", ignore_errors=True)  # the cache of decoded faces on this machine
    return sum(store.erase(prefix) for prefix in prefixes)
