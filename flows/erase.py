"""The erase flow: delete a person's recordings, pictures, scores, tasks and rows, and retract the answers about them.

A tombstone stays, so that nothing adds the person again. Manifests of snapshots stay without the person's rows: they record
what a model was trained on. The erasure is finished when a scan of everything finds nothing; its receipt names nobody.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.erasure.content import bury_content, whole_recordings
from flows.erasure.files import blank_logs, erase_local_files
from flows.erasure.keys import check_pseudonym_key
from flows.erasure.objects import Uses, bury, erase_objects, find_uses, redact_manifests, stored_clips
from flows.erasure.scan import SHOWN, Scan, compact, scan
from flows.erasure.services import clean_prefect, mark_versions
from flows.erasure.traces import Traces
from flows.reports.run_summary import publish_summary
from flows.settings import Settings
from flows.workspace import Workspace, open_workspace
from labeling.label_studio.projects import erase_subjects
from vitau.catalog.signing import ALGORITHM, canonical, public_key, sign
from vitau.errors import CatalogError
from vitau.schema import LedgerRow, Stage, all_names, tombstone

HOUR_S: Final = 3600


@dataclass(frozen=True, kw_only=True)
class EraseSummary:
    """The counts of an erasure, the snapshots and models that used the person, and what an administrator must do by hand.

    The models stay, marked for retraining. ``receipt`` is a signed record without an identity, which the catalog keeps too.
    """

    objects: int
    tasks: int
    answers: int
    snapshots: tuple[str, ...]
    trained: tuple[str, ...]
    damaged: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    receipt: dict[str, Any] = field(default_factory=dict)


@flow(name="erase", flow_run_name="erase", timeout_seconds=HOUR_S, on_completion=[publish_summary])
def erase(subject: str, settings: Settings | None = None) -> EraseSummary:
    """Erase a person, including every subject merged into it. After a kill, run it again: it is idempotent.

    Args:
        subject: a pseudonym, or its tombstone, which keeps the pseudonym out of Prefect's database.
        settings: read from the environment by default.

    Raises:
        CatalogError: no subject has this name, or something has a trace of the person or cannot be read; it is listed.
    """
    workspace = open_workspace(settings)
    check_pseudonym_key(workspace)
    names = pseudonyms_of(workspace, subject)
    traces = find_traces(workspace, names)
    workspace.catalog.begin_erasure(names)
    bury(workspace, names)
    by_hand = bury_content(workspace, [digest for digest, _ in traces.clips])
    uses = find_uses(workspace, names)
    uses = remember_uses(workspace, names, uses)
    counts = {"objects": erase_pictures(workspace, traces, uses)}
    counts |= {"tasks": erase_tasks(workspace, names), "answers": retract(workspace, names)}
    for step, number in (("files", erase_local_files(workspace.settings, traces)), ("runs", clean_prefect(traces))):
        counts[step] = workspace.catalog.count_deleted(names, step, number)
    counts["rows"] = erase_rows(workspace, names)
    mark_versions(workspace, uses.trained)
    by_hand += [*whole_recordings(workspace), *compact(workspace)]
    blank_logs(workspace.settings, traces)  # a service that was restarted has written again
    found = scan(workspace, traces)
    check_scan(found)
    receipt = make_receipt(workspace, names, counts, uses, found, by_hand)
    workspace.catalog.finish_erasure(names, snapshots=uses.snapshots, trainings=uses.trained, receipt=receipt)
    return EraseSummary(
        objects=counts["objects"],
        tasks=counts["tasks"],
        answers=counts["answers"],
        snapshots=uses.snapshots,
        trained=uses.trained,
        damaged=uses.damaged,
        by_hand=tuple(by_hand),
        receipt=receipt,
    )


def pseudonyms_of(workspace: Workspace, subject: str) -> set[str]:
    """Return every pseudonym of a person, given any of them or its tombstone.

    Raises:
        CatalogError: no subject has this name.
    """
    known = known_names(workspace)
    name = next((name for name in known if tombstone(name) == subject), subject)
    if name in known and name not in workspace.catalog.erased_names():
        return all_names(name, workspace.catalog.merged_names())
    if tombstone(name) in workspace.catalog.erased_names():  # an erasure that was interrupted after the rows were deleted
        return {name}
    if name in workspace.catalog.erased_names() and not name.startswith("erased-"):  # erased by an earlier version
        return all_names(name, workspace.catalog.merged_names())
    raise CatalogError(f"no subject {subject} is in the catalog: check the pseudonym")


def known_names(workspace: Workspace) -> set[str]:
    """Return the pseudonyms that the catalog knows, also those of people with nothing but an unfinished ingest."""
    return workspace.catalog.pseudonyms() | workspace.catalog.claimed_names()


def find_traces(workspace: Workspace, names: Collection[str]) -> Traces:
    """Return what identifies a person: the pseudonyms, and the clips in the catalog and in the store."""
    clips = dict(workspace.catalog.clips_of(names)) | stored_clips(workspace, names)
    return Traces(frozenset(names), tuple(sorted(clips.items())))


def remember_uses(workspace: Workspace, names: Collection[str], uses: Uses) -> Uses:
    """Record the uses of a person before the manifests are redacted; return those of interrupted runs too."""
    noted = workspace.catalog.note_uses(names, snapshots=uses.snapshots, trainings=uses.trained)
    return replace(uses, snapshots=tuple(noted.snapshots), trained=tuple(noted.trainings))


@task(cache_policy=NO_CACHE, task_run_name="erase-objects")
def erase_pictures(workspace: Workspace, traces: Traces, uses: Uses) -> int:
    """Delete the person's objects and the pages about the person, and redact manifests.

    Returns:
        The number of objects, with those of earlier attempts that were killed.
    """
    catalog, names = workspace.catalog, traces.names
    number = erase_objects(workspace, traces, uses, partial(catalog.expect_deletions, names, "objects"))
    redact_manifests(workspace, names, uses)
    return catalog.count_deleted(names, "objects", number)


@task(cache_policy=NO_CACHE, task_run_name="erase-tasks")
def erase_tasks(workspace: Workspace, names: Collection[str]) -> int:
    """Delete the person's tasks with their answers and drafts in all ViTAU projects; return the number of all attempts."""
    catalog = workspace.catalog
    number = erase_subjects(workspace.label_studio, names, on_found=partial(catalog.expect_deletions, names, "tasks"))
    return catalog.count_deleted(names, "tasks", number)


def erase_rows(workspace: Workspace, names: Collection[str]) -> int:
    """Delete the person's rows and forget the person in the ledger, all or nothing; return the number of all attempts."""
    catalog = workspace.catalog
    with catalog.transaction():
        return catalog.count_deleted(names, "rows", catalog.delete_rows_of(names) + catalog.forget(names))


@task(cache_policy=NO_CACHE, task_run_name="take-back")
def retract(workspace: Workspace, names: Collection[str]) -> int:
    """Retract every standing answer about the person in the ledger; return the number of all attempts."""
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
    number = len({(row.reader, row.stage, row.annotation) for row in retractions})
    workspace.catalog.expect_deletions(names, "answers", number)
    workspace.catalog.append_answers(retractions)
    return workspace.catalog.count_deleted(names, "answers", number)


def check_scan(found: Scan) -> None:
    """Raise CatalogError with the traces that remain; the person's names in them are hidden."""
    if found.traces:
        more = f"; and {len(found.traces) - SHOWN} more" if len(found.traces) > SHOWN else ""
        raise CatalogError(
            f"the erasure is not finished: these have a trace or cannot be read: {'; '.join(found.traces[:SHOWN])}{more}. "
            "Delete them, or restore damaged objects, which `fsck` lists, from a copy; then run it again"
        )


def make_receipt(
    workspace: Workspace,
    names: Collection[str],
    counts: dict[str, int],
    uses: Uses,
    found: Scan,
    by_hand: list[str],
) -> dict[str, Any]:
    """Return the receipt of an erasure: no identity, only tombstones, counts and what was scanned; signed if there is a key.

    It covers every attempt: the start is that of the first, and the counts are those of all.
    """
    marks = sorted(workspace.catalog.marks_of(names))
    started = min(erasure.recorded_at for erasure in workspace.catalog.erasures() if erasure.subject in marks)
    facts: dict[str, Any] = {
        "erased": marks,
        "started_at": datetime.fromisoformat(started).isoformat(timespec="seconds"),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "deleted": counts,
        "used_in": asdict(uses),
        "traces_found": found.places,
        "by_hand": by_hand,
    }
    key = workspace.settings.signing_key
    if key is None:
        return facts
    secret = key.get_secret_value().encode()
    signature = {"algorithm": ALGORITHM, "public_key": public_key(secret), "signature": sign(canonical(facts), secret)}
    return facts | {"signed": signature}
