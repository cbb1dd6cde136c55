"""Reconcile a project with the ledger: compute new rows, retractions, and which losses look like accidents.

Pure functions; ``labeling.label_studio.pull`` makes the requests. The ledger's last answer of a reader about a person is always
that of the newest annotation:

    in Label Studio              earlier pulls              the ledger gets
    --------------------------   ------------------------   ----------------------------------------------------------------
    an annotation                never seen                 its answer
    an annotation, newer         seen                       its answer again, with the new version
    an annotation                retracted                  its answer again: it was put back
    nothing                      seen                       a retraction, and the newest remaining answer once more
    nothing, many at once        seen                       nothing: they are held until an operator accepts the loss
    an annotation, older         seen                       nothing: an old backup was restored, the known answer stands
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from labeling.label_studio.annotations import ParsedAnnotation, ReaderProject, parse_time
from vitau.schema import AUS, LedgerEntry, LedgerRow, SeenAnnotation, Skipped

MAX_DELETIONS = 3
MAX_DELETED_SHARE = 0.2
"""A pull that misses more annotations than the number, and more than the share of a project's, takes it for an accident."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconciled:
    """Ledger rows to append, in order, and the new state of each annotation that changed.

    ``vanished`` counts the annotations that are newly held, ``older`` those that went back to an older version.
    """

    rows: tuple[LedgerRow, ...]
    seen: tuple[SeenAnnotation, ...]
    vanished: int = 0
    older: int = 0


def reconcile(
    project: ReaderProject,
    parsed: Sequence[ParsedAnnotation],
    seen: Iterable[SeenAnnotation],
    entries: Iterable[LedgerEntry],
    *,
    num_seen: int,
    restored: bool = False,
    accept: bool = False,
) -> Reconciled:
    """Compare the annotations of a project with those seen before and with the ledger, by the table of this module.

    Write ``seen`` of the result before its rows: after a kill in between, the next pull finds what the ledger lacks.

    Args:
        project: the reader's project.
        parsed: every annotation of the tasks that were read, in the order of answering.
        seen: the earlier state of the annotations of these tasks.
        entries: the ledger's entries of this reader, in its order.
        num_seen: how many annotations the whole project had at the last pull.
        restored: an old backup of Label Studio was restored, so that missing annotations are an accident.
        accept: trust Label Studio, whatever is missing.
    """
    before = {(annotation.annotation, annotation.subject): annotation for annotation in seen}
    present = {annotation.key for annotation in parsed}
    older = {
        annotation.key
        for annotation in parsed
        if annotation.key in before and parse_time(annotation.version) < parse_time(before[annotation.key].version)
    }
    missing = [annotation for key, annotation in before.items() if key not in present]
    newly_missing = [annotation for annotation in missing if not annotation.gone]
    readable = sum(annotation.problem is None for annotation in newly_missing)  # the others may have gone back to their reader
    many = readable > max(MAX_DELETIONS, MAX_DELETED_SHARE * num_seen)
    held = newly_missing if (restored or older or many) and not accept else []
    deleted = [annotation for annotation in missing if annotation not in held and (accept or not annotation.held)]
    trusted = [annotation for annotation in parsed if accept or annotation.key not in older]
    changed = [
        *(replace(annotation, gone=True, held=True) for annotation in held),
        *(replace(annotation, gone=True, held=False) for annotation in deleted if not annotation.gone or annotation.held),
        *(now for annotation in trusted if (now := _seen(annotation)) != before.get(annotation.key)),
    ]
    return Reconciled(
        rows=tuple(_missing_rows(project, trusted, deleted, entries)),
        seen=tuple(changed),
        vanished=len(held),
        older=0 if accept else len(older),
    )


def retract_project(
    project: ReaderProject, seen: Iterable[SeenAnnotation], entries: Iterable[LedgerEntry], answered: Collection[str]
) -> list[LedgerRow]:
    """Return the rows that retract the answers of a deleted project, except about subjects ``answered`` in its successor."""
    deleted = [annotation for annotation in seen if annotation.subject not in answered]
    return _missing_rows(project, [], deleted, entries)


def relevant(parsed: Iterable[ParsedAnnotation], seen: Iterable[SeenAnnotation]) -> list[SeenAnnotation]:
    """Return the seen annotations of the tasks that were read, and those that are gone.

    A pull may have been killed after it marked an annotation as gone and before the ledger got the retraction.
    """
    tasks = {annotation.task for annotation in parsed}
    return [annotation for annotation in seen if annotation.task in tasks or (annotation.gone and not annotation.held)]


def updated(seen: Iterable[SeenAnnotation], changed: Iterable[SeenAnnotation]) -> list[SeenAnnotation]:
    """Return the state of every annotation after ``changed`` replaced what was ``seen``."""
    return list({(annotation.annotation, annotation.subject): annotation for annotation in [*seen, *changed]}.values())


def count_present(seen: Iterable[SeenAnnotation]) -> int:
    """Count the annotations that are not gone."""
    return sum(not annotation.gone for annotation in seen)


def skipped_annotation(project: ReaderProject, annotation: SeenAnnotation) -> Skipped:
    """Return the record of an annotation that cannot be read."""
    return Skipped(
        item=f"project {project.title}, task {annotation.task}, annotation {annotation.annotation}",
        reason=annotation.problem or "",
    )


def loss_notice(project: ReaderProject, result: Reconciled, known: Iterable[SeenAnnotation], *, restored: bool) -> str | None:
    """Return a sentence for the operator if answers seem to be lost by accident, else ``None``."""
    held = sum(annotation.held for annotation in known)
    if not held and not result.older:
        return None
    cause = "an old backup of Label Studio was restored" if restored or result.older else "many vanished at once"
    return (
        f"{held} answers in project “{project.title}” are gone and {result.older} are older than the known ones ({cause}): "
        "the known answers stand; bring them back in Label Studio, or run `annotate --accept-deletions`"
    )


def _missing_rows(
    project: ReaderProject,
    parsed: Sequence[ParsedAnnotation],
    deleted: Iterable[SeenAnnotation],
    entries: Iterable[LedgerEntry],
) -> list[LedgerRow]:
    """Return what the ledger lacks: retractions, then answers in their order, then answers that must be the last ones again."""
    history: dict[tuple[str, str], list[LedgerEntry]] = defaultdict(list)
    for entry in entries:
        history[entry.annotation, entry.subject].append(entry)
    rows: list[LedgerRow] = []
    last: dict[str, str] = {}  # case → the annotation of the last of the rows below
    newest = {annotation.rows[0].case: annotation for annotation in parsed if annotation.rows}
    for gone in deleted:
        recorded = history[gone.annotation, gone.subject]
        if recorded and not recorded[-1].retracted:
            rows += _retraction(project, recorded[-1])
            last[recorded[-1].case] = gone.annotation
    for annotation in parsed:
        if annotation.rows and not _is_recorded(annotation, history[annotation.key]):
            rows += _versioned_rows(annotation, history[annotation.key])
            last[annotation.rows[0].case] = annotation.annotation
    for case, number in last.items():
        if case in newest and newest[case].annotation != number:
            rows += _versioned_rows(newest[case], history[newest[case].key])
    return rows


def _is_recorded(annotation: ParsedAnnotation, history: Sequence[LedgerEntry]) -> bool:
    """Return whether the last entry of an annotation has its current version."""
    return bool(history) and history[-1].version.split()[0] == annotation.version  # a retraction's begins with the word


def _versioned_rows(annotation: ParsedAnnotation, history: list[LedgerEntry]) -> list[LedgerRow]:
    """Return the rows of an annotation with a version that the ledger does not have; add it to ``history``."""
    repeated = any(entry.version == annotation.version for entry in history)
    version = f"{annotation.version} again {len(history)}" if repeated else annotation.version
    history.append(
        LedgerEntry(
            annotation=annotation.annotation,
            subject=annotation.subject,
            version=version,
            check_kind=annotation.rows[0].check_kind,
            visit=annotation.rows[0].visit,
        )
    )
    return [replace(row, version=version) for row in annotation.rows]


def _retraction(project: ReaderProject, last: LedgerEntry) -> list[LedgerRow]:
    return [
        LedgerRow(
            subject=last.subject,
            au=au,
            reader=project.reader,
            stage=project.stage,
            affected=None,
            side=None,
            annotation=last.annotation,
            version=f"retracted {last.version}",
            answered_at=last.version.split()[0],
            retracted=True,
            check_kind=last.check_kind,
            visit=last.visit,
        )
        for au in AUS
    ]


def _seen(annotation: ParsedAnnotation) -> SeenAnnotation:
    return SeenAnnotation(
        annotation=annotation.annotation,
        task=annotation.task,
        subject=annotation.subject,
        version=annotation.version,
        problem=annotation.problem,
    )
