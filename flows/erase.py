"""Erase a person: recordings, pictures, scores, tasks and rows. What is left are answers about a pseudonym, all taken back.

The pseudonym itself stays, or the next ingest would bring the person back. So do the manifests of snapshots, which say what a
model was trained on: pseudonyms and labels, no pictures.
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
    """What an erasure took away, and the models that learnt from the person: they stay until somebody retrains."""

    objects: int
    tasks: int
    answers: int
    snapshots: tuple[str, ...]
    trained: tuple[str, ...]


@flow(name="erase", flow_run_name="erase", timeout_seconds=HOUR_S)
def erase(subject: str, settings: Settings | None = None) -> EraseSummary:
    """Erase a person by pseudonym, under every name that was merged into it; killed anywhere, running it again goes on.

    Raises:
        CatalogError: nobody has this pseudonym.
    """
    workspace = open_workspace(settings)
    names = pseudonyms_of(workspace, subject)
    workspace.catalog.begin_erasure(names)
    tasks = erase_tasks(workspace, names)
    answers = retract(workspace, names)
    seen, trained = seen_by(workspace, names)
    objects = erase_objects(workspace, names, seen)
    workspace.catalog.delete_rows_of(names)
    workspace.catalog.finish_erasure(names, snapshots=seen, trainings=trained)
    return EraseSummary(objects=objects, tasks=tasks, answers=answers, snapshots=tuple(seen), trained=tuple(trained))


def pseudonyms_of(workspace: Workspace, subject: str) -> set[str]:
    """Return every pseudonym of a person."""
    if subject not in workspace.catalog.pseudonyms():
        raise CatalogError(f"no subject {subject} is in the catalog: check the pseudonym")
    return all_names(subject, workspace.catalog.merged_names())


@task(cache_policy=NO_CACHE, task_run_name="erase-tasks")
def erase_tasks(workspace: Workspace, names: Collection[str]) -> int:
    """Delete the person's tasks, answers and drafts included, in every project of ours; returns how many."""
    return erase_subjects(workspace.label_studio, names)


@task(cache_policy=NO_CACHE, task_run_name="take-back")
def retract(workspace: Workspace, names: Collection[str]) -> int:
    """Take back in the ledger every answer about the person that stands; returns how many."""
    last: dict[tuple[str, Stage, str, str], LedgerRow] = {}
    for row in workspace.catalog.ledger():
        if row.subject in names:
            last[row.reader, row.stage, row.annotation, row.au] = row
    taken = [
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
    workspace.catalog.append_answers(taken)
    return len({(row.reader, row.stage, row.annotation) for row in taken})


def seen_by(workspace: Workspace, names: Collection[str]) -> tuple[list[str], list[str]]:
    """List the snapshots that hold the person, and the models, ``name/version``, that were trained on them or chosen by them.

    A model that was only tested on somebody has learnt nothing from them.
    """
    catalog = workspace.catalog
    splits: dict[str, set[str]] = {}
    for frozen in catalog.snapshots():
        rows = snapshots.load(workspace.store, frozen.digest)
        theirs = rows.filter(pc.is_in(rows["subject"], pa.array(sorted(names))))
        if len(theirs):
            splits[frozen.digest] = set(theirs["split"].to_pylist())
    learnt = [digest for digest, found in splits.items() if found != {Split.TEST}]
    return list(splits), [f"{each.model}/{each.version}" for digest in learnt for each in catalog.trainings(digest)]


@task(cache_policy=NO_CACHE, task_run_name="erase-objects")
def erase_objects(workspace: Workspace, names: Collection[str], seen: Sequence[str]) -> int:
    """Delete the person's objects, and the reports that may show them; returns how many."""
    store = workspace.store
    models = {found[0] for key in store.keys(layout.SCORES) if (found := layout.parse_score_key(key))}
    prefixes = [layout.subject_prefix(name) for name in names]
    prefixes += [layout.score_prefix(model, name) for model in models for name in names]
    prefixes += [layout.report_prefix(digest) for digest in seen]  # the next rescoring writes them anew
    shutil.rmtree(workspace.settings.work / "crops", ignore_errors=True)  # this machine's cache of decoded faces
    return sum(store.erase(prefix) for prefix in prefixes)
