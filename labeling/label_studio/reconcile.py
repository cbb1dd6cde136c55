"""What Label Studio holds beside what was seen there before: which answers are new, which are taken back, what looks odd.

Plain values in, plain values out; ``labeling.label_studio.sync`` talks to Label Studio. The newest annotation of a
reader about a person comes last in the ledger, whatever came before it:

    in Label Studio              before                     the ledger gets
    --------------------------   ------------------------   ----------------------------------------------------------------
    an annotation                never seen                 its answer
    an annotation, newer         seen                       its answer again, under the new version
    an annotation                taken back                 its answer again: somebody put it back
    nothing                      seen                       a retraction, and the newest of those that remain once more
    nothing, many at once        seen                       nothing: they are held until somebody accepts it
    an annotation, older         seen                       nothing: an old backup was restored, what the reader said stands
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from labeling.label_studio.annotations import ParsedAnnotation, ReaderProject, when
from vitau.schema import AUS, LedgerEntry, LedgerRow, SeenAnnotation, Skipped

VANISHED_AT_MOST = 3
VANISHED_SHARE = 0.2
"""More annotations than the first number, and more than this share of those that a project had, do not vanish by hand."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconciled:
    """What follows: the rows to append, in order, and what is now known of each annotation about which something changed.

    ``vanished`` counts the annotations that are newly held, ``older`` those that went back to an older version.
    """

    rows: tuple[LedgerRow, ...]
    seen: tuple[SeenAnnotation, ...]
    vanished: int = 0
    older: int = 0


def reconcile(
    project: ReaderProject,
    found: Sequence[ParsedAnnotation],
    seen: Iterable[SeenAnnotation],
    said: Iterable[LedgerEntry],
    *,
    num_seen: int,
    restored: bool = False,
    accept: bool = False,
) -> Reconciled:
    """Sets what was ``found`` beside what was ``seen`` before and what the ledger has; the table at the top says how.

    Note what was seen before the rows are appended: killed in between, the next pull finds what the ledger lacks.

    Args:
        project: whose answers they are.
        found: every annotation of the tasks that were read, in the order of answering.
        seen: what the pulls before knew of the annotations of these tasks.
        said: what the ledger has of this reader, in its order.
        num_seen: how many annotations the whole project had when it was last read.
        restored: Label Studio is known to have gone back in time, so that whatever vanished did so by accident.
        accept: what is in Label Studio now is right, whatever vanished.
    """
    before = {(each.annotation, each.subject): each for each in seen}
    here = {each.key for each in found}
    older = {each.key for each in found if each.key in before and when(each.version) < when(before[each.key].version)}
    missing = [each for key, each in before.items() if key not in here]
    gone = [each for each in missing if not each.gone]
    many = len(gone) > max(VANISHED_AT_MOST, VANISHED_SHARE * num_seen)
    held = gone if (restored or older or many) and not accept else []
    taken = [each for each in missing if each not in held and (accept or not each.held)]
    trusted = [each for each in found if accept or each.key not in older]
    noted = [
        *(replace(each, gone=True, held=True) for each in held),
        *(replace(each, gone=True, held=False) for each in taken if not each.gone or each.held),
        *(now for each in trusted if (now := _seen(each)) != before.get(each.key)),
    ]
    return Reconciled(
        rows=tuple(_missing_rows(project, trusted, taken, said)),
        seen=tuple(noted),
        vanished=len(held),
        older=0 if accept else len(older),
    )


def retract_project(
    project: ReaderProject, seen: Iterable[SeenAnnotation], said: Iterable[LedgerEntry], answered: Collection[str]
) -> list[LedgerRow]:
    """The rows that take back what was ``seen`` in a project that is gone, but of those ``answered`` anew in its successor."""
    return _missing_rows(project, [], [each for each in seen if each.subject not in answered], said)


def concerned(found: Iterable[ParsedAnnotation], seen: Iterable[SeenAnnotation]) -> list[SeenAnnotation]:
    """Of what was ``seen`` that which ``found`` may say something about, where not all tasks were read.

    What is gone belongs to it: a pull may have been killed between noticing that and writing it into the ledger.
    """
    tasks = {one.task for one in found}
    return [each for each in seen if each.task in tasks or (each.gone and not each.held)]


def merged(seen: Iterable[SeenAnnotation], changed: Iterable[SeenAnnotation]) -> list[SeenAnnotation]:
    """What is known of every annotation, after ``changed`` replaced what was ``seen``."""
    return list({(each.annotation, each.subject): each for each in [*seen, *changed]}.values())


def standing(seen: Iterable[SeenAnnotation]) -> int:
    """How many of them are still there."""
    return sum(not each.gone for each in seen)


def skipped(project: ReaderProject, each: SeenAnnotation) -> Skipped:
    """An annotation that is no answer, with the reason."""
    return Skipped(item=f"project {project.title}, task {each.task}, annotation {each.annotation}", reason=each.problem or "")


def notice(project: ReaderProject, done: Reconciled, known: Iterable[SeenAnnotation], *, restored: bool) -> str | None:
    """What the operator must be told about answers that look lost by accident, in one sentence; nothing if none do."""
    held = sum(each.held for each in known)
    if not held and not done.older:
        return None
    cause = "an old backup of Label Studio was restored" if restored or done.older else "many vanished at once"
    return (
        f"{held} answers in project “{project.title}” are gone and {done.older} are older than we know them ({cause}): "
        "what the readers said stands; bring them back in Label Studio, or run `annotate --accept-deletions`"
    )


def _missing_rows(
    project: ReaderProject, found: Sequence[ParsedAnnotation], taken: Iterable[SeenAnnotation], said: Iterable[LedgerEntry]
) -> list[LedgerRow]:
    """What the ledger lacks: retractions first, then answers in their order, then those that must speak last once more."""
    history: dict[tuple[str, str], list[LedgerEntry]] = defaultdict(list)
    for told in said:
        history[told.annotation, told.subject].append(told)
    rows: list[LedgerRow] = []
    last: dict[str, str] = {}  # subject → the annotation that spoke last among the rows below
    newest = {one.subject: one for one in found if one.rows}
    for each in taken:
        answers = history[each.annotation, each.subject]
        if answers and not answers[-1].retracted:
            rows += _retraction(project, answers[-1])
            last[each.subject] = each.annotation
    for one in found:
        if one.rows and not _stands(one, history[one.key]):
            rows += _told(one, history[one.key])
            last[one.subject] = one.annotation
    for subject, annotation in last.items():
        if subject in newest and newest[subject].annotation != annotation:
            rows += _told(newest[subject], history[newest[subject].key])
    return rows


def _stands(one: ParsedAnnotation, told: Sequence[LedgerEntry]) -> bool:
    """Whether the ledger's last word from this annotation is its version of now."""
    return bool(told) and told[-1].version.split()[0] == one.version  # a retraction's begins with the word


def _told(one: ParsedAnnotation, told: list[LedgerEntry]) -> list[LedgerRow]:
    """The rows of an annotation, under a version that the ledger does not have; notes in ``told`` that they were told."""
    again = any(each.version == one.version for each in told)
    version = f"{one.version} again {len(told)}" if again else one.version
    told.append(LedgerEntry(annotation=one.annotation, subject=one.subject, version=version))
    return [replace(row, version=version) for row in one.rows]


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
        )
        for au in AUS
    ]


def _seen(one: ParsedAnnotation) -> SeenAnnotation:
    return SeenAnnotation(
        annotation=one.annotation, task=one.task, subject=one.subject, version=one.version, problem=one.problem
    )
