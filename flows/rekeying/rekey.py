"""The rekey flow: a new pseudonym key for everyone, after the old one leaked or a person who knew it left.

People keep their recordings, labels, splits, scores and models. No identifiers are needed: a new pseudonym is the HMAC of the
old one under the new key. Nothing else may run meanwhile. After a kill, run it again: each step is idempotent, and objects
under old names are deleted only when everything has its new name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from prefect import flow
from pydantic import SecretStr

from flows.erasure.keys import check_pseudonym_key, strong_key
from flows.erasure.scan import SHOWN, compact, scan
from flows.execution.leases import exclusive_lease
from flows.rekeying.change import Change
from flows.rekeying.manifests import damaged_snapshots, replace_manifests, rows_digests
from flows.rekeying.objects import changed_objects, copy_objects, delete_old_objects, names_in_store, old_keys, rewrite_pages
from flows.rekeying.services import clean_runs, other_runs, rename_in_files, rename_tasks
from flows.reports.run_summary import publish_summary
from flows.settings import Settings, SettingsError
from flows.workspace import Workspace, open_workspace
from labeling.label_studio.projects import rename_subjects
from vitau.catalog.leases import REKEYING
from vitau.catalog.rekeying.journal import Rekeying
from vitau.catalog.rekeying.keys import fingerprint, new_names, unseal_names
from vitau.catalog.rekeying.renaming import Renaming
from vitau.errors import CatalogError
from vitau.schema import is_erased


@dataclass(frozen=True, kw_only=True)
class RekeySummary:
    """The counts of a change of the key by step, what an administrator must do by hand, and the signed record.

    A run that continues an interrupted one counts what it did itself. ``changed`` is false if the catalog had the key already.
    """

    changed: bool
    people: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    by_hand: tuple[str, ...] = ()
    record: str | None = None
    signature: str | None = None


@dataclass(frozen=True, kw_only=True)
class RekeyPlan:
    """Counts of what a change of the key would rename, and the problems that forbid it."""

    people: int
    erased: int
    objects: int
    tasks: int
    ledger_rows: int
    snapshots: int
    problems: tuple[str, ...]


def rename_rows(change: Change) -> int:
    """Rename people in all rows, in one transaction; nothing to do if an interrupted run did."""
    workspace, entry = change.workspace, change.entry
    if entry.renamed_at is not None:
        return 0
    key = workspace.settings.signing_key
    return workspace.catalog.rename_people(
        entry.number,
        change.new_key,
        change.renaming.names,
        changed_objects=changed_objects(change),
        signing_key=None if key is None else key.get_secret_value().encode(),
    )


Step = Callable[[Change], int]
STEPS: Final[Mapping[str, Step]] = {
    "copied objects": copy_objects,
    "tasks": rename_tasks,
    "rows": rename_rows,
    "manifests": replace_manifests,
    "pages": rewrite_pages,
    "deleted objects": delete_old_objects,
    "files": rename_in_files,
    "runs": clean_runs,
}
"""In this order: nothing is deleted before all rows have the new names."""
End = Callable[[Change], list[str]]


def search(change: Change) -> list[str]:
    """Compact the databases and search everything for old names; return what must be done by hand.

    Raises:
        CatalogError: old names remain, in the places that are listed.
    """
    by_hand = compact(change.workspace)
    found = scan(change.workspace, change.old_names)
    if found.traces:
        listed = "; ".join(found.traces[:SHOWN]) + ("; …" if len(found.traces) > SHOWN else "")
        raise CatalogError(
            f"the change of the key is not finished: {len(found.traces)} places have old pseudonyms ({listed}): "
            "delete them there, and run it again"
        )
    return by_hand


@flow(name="rekey", flow_run_name="rekey", on_completion=[publish_summary])
def rekey(settings: Settings | None = None) -> RekeySummary:
    """Replace the pseudonym key of the settings by the new one.

    Raises:
        SettingsError: a key is missing, weak, or not the one that the catalog expects.
        CatalogError: other work is running, something is damaged, or old names remain.
    """
    return change_key(replace(open_workspace(settings), rekeying=True))


def change_key(workspace: Workspace, steps: Mapping[str, Step] = STEPS, end: End = search) -> RekeySummary:
    """Run the steps of a change of the key, or those that an interrupted run left."""
    new = new_key(workspace)
    with exclusive_lease(workspace.catalog, REKEYING, workspace.settings.lease_s) as lease:
        entry = begin(workspace, new)
        if entry is None:
            return RekeySummary(changed=False)
        assert entry.names is not None, "an unfinished change keeps the names"
        renaming = Renaming(unseal_names(new, entry.names))
        change = Change(workspace=workspace, entry=entry, new_key=new, renaming=renaming, progress=lease.progress)
        counts = {}
        for name, step in steps.items():
            lease.require(REKEYING)
            counts[name] = step(change)
        by_hand = end(change)
        done = finish(change)
    return RekeySummary(
        changed=True,
        people=len(renaming.names),
        counts=counts,
        by_hand=tuple(by_hand),
        record=done.record,
        signature=done.signature,
    )


def plan(workspace: Workspace) -> RekeyPlan:
    """Return what a change of the key would rename, and the problems that forbid it; nothing is changed."""
    new, catalog = new_key(workspace), workspace.catalog
    names, erased = catalog.named_people() | names_in_store(workspace.store), catalog.erased_names()
    renaming = Renaming(new_names(new, names))
    shown = Change(workspace=workspace, entry=_NOT_BEGUN, new_key=new, renaming=renaming)
    return RekeyPlan(
        people=sum(not is_erased(name, erased) for name in names),
        erased=len(erased),
        objects=len(old_keys(shown)),
        tasks=rename_subjects(workspace.label_studio, renaming.value, dry_run=True),
        ledger_rows=catalog.ledger_offset(),
        snapshots=len(catalog.snapshots()),
        problems=tuple(find_problems(workspace)),
    )


def new_key(workspace: Workspace) -> bytes:
    """Return the new key.

    Raises:
        SettingsError: there is none, or it could be guessed.
    """
    secret: SecretStr | None = workspace.settings.new_pseudonym_key
    if secret is None:
        raise SettingsError(
            "VITAU_NEW_PSEUDONYM_KEY is not set: export the key that replaces VITAU_PSEUDONYM_KEY, "
            "such as the output of `openssl rand -hex 20`"
        )
    return strong_key(secret, "VITAU_NEW_PSEUDONYM_KEY")


def begin(workspace: Workspace, new: bytes) -> Rekeying | None:
    """Return the unfinished change of the key, or begin one; ``None`` if the catalog has the new key already.

    Raises:
        SettingsError: the present or the new key is not the one that the catalog expects.
        CatalogError: other work is running, or something forbids the change.
    """
    catalog = workspace.catalog
    unfinished = next((entry for entry in catalog.rekeyings() if entry.finished_at is None), None)
    if unfinished is not None:
        if unfinished.after != fingerprint(new):
            raise SettingsError(
                f"VITAU_NEW_PSEUDONYM_KEY has the fingerprint {fingerprint(new)}, but a change to the key {unfinished.after} "
                "is unfinished: set that key, and run it again"
            )
        check_nothing_runs()
        return unfinished
    if catalog.noted_fingerprint() == fingerprint(new):
        return None
    present = workspace.settings.require_pseudonym_key()
    check_pseudonym_key(workspace)
    problems = find_problems(workspace)
    if problems:
        raise CatalogError(f"the pseudonym key cannot be changed: {'; '.join(problems)}")
    entry = catalog.begin_rekeying(present, new, names_in_store(workspace.store))
    try:
        check_nothing_runs()  # from here on no flow begins; one that began before is listed by Prefect
    except Exception:
        catalog.abandon_rekeying(entry.number)
        raise
    return entry


def check_nothing_runs() -> None:
    """Raise CatalogError if other flows are running."""
    runs = other_runs()
    if runs:
        raise CatalogError(
            f"{len(runs)} flows are running ({', '.join(sorted(runs)[:SHOWN])}): wait for their end, "
            "or delete runs in Prefect whose process is gone"
        )


def find_problems(workspace: Workspace) -> list[str]:
    """Return what forbids a change of the key."""
    catalog, problems = workspace.catalog, []
    unfinished = [erasure for erasure in catalog.erasures() if erasure.finished_at is None]
    if unfinished:
        problems.append(f"{len(unfinished)} erasures are unfinished: run `erase` again for {unfinished[0].subject}")
    if broken := catalog.broken_ledger_rows():
        problems.append(f"{len(broken)} rows of the ledger were changed: see `python -m flows labels verify`")
    problems += [
        f"the manifest of snapshot {digest[:12]} is damaged: restore it from a backup, or delete the object"
        for digest in damaged_snapshots(workspace)
    ]
    people = Renaming({name: name for name in catalog.named_people()})
    if named := [record.number for record in catalog.promotions() if people.has_old(record.text.encode())]:
        problems.append(f"record {named[0]} of the promotions names a person: it is signed, and cannot be changed")
    if not catalog.owns_ledger():
        problems.append("this database role cannot change the ledger: set VITAU_CATALOG_OWNER to the address of its owner")
    signed = any("signed" in (erasure.receipt or {}) for erasure in catalog.erasures())
    if signed and workspace.settings.signing_key is None:
        problems.append("receipts of erasures are signed, and are signed again: set VITAU_SIGNING_KEY")
    return problems


def finish(change: Change) -> Rekeying:
    """Record the change: what the ledger and the snapshots are from now on, signed if there is a signing key."""
    workspace, catalog = change.workspace, change.workspace.catalog
    offset, key = catalog.ledger_offset(), workspace.settings.signing_key
    facts: dict[str, Any] = {
        "people": len(change.renaming.names),
        "ledger": {"offset": offset, "digest": catalog.ledger_digest(offset)},
        "snapshots": rows_digests(workspace),
    }
    return catalog.finish_rekeying(change.entry.number, facts, None if key is None else key.get_secret_value().encode())


_NOT_BEGUN: Final = Rekeying(
    number=0,
    before="",
    after="",
    names=None,
    retired_key="",
    renamed_at=None,
    finished_at=None,
    record=None,
    signature=None,
    recorded_at="",
)
