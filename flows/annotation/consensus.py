"""The commands of the labeling manager: consensus at any ledger offset, agreement, CSV export and import, merged subjects."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from flows.erasure.keys import check_pseudonym_key, open_keys
from flows.execution.identities import known_name
from flows.measuring.grades import GradeReport, grade_report
from flows.settings import Settings
from flows.workspace import Workspace
from labeling.consensus.agreement import NUM_RESAMPLES, AgreementReport, agreement_report, answer_array
from labeling.consensus.consensus import Consensus, Rule, consensus
from labeling.consensus.csv_io import read_csv, write_csv
from labeling.consensus.kappa import PairKappa, pair_kappas
from labeling.consensus.reader_checks import ReaderChecks, reader_checks
from labeling.consensus.reader_statistics import ReaderReport, reader_reports
from labeling.consensus.severity import severity_kappas
from labeling.consensus.standing_answers import standing_answers
from vitau.catalog.catalog import Catalog
from vitau.catalog.rekeying.keys import PseudonymKeys
from vitau.errors import CatalogError, LabelingError, SnapshotError, StoreError
from vitau.schema import LedgerRow, RegionLabels, Split, Stage
from vitau.store.atomic import write_atomic


@dataclass(frozen=True, kw_only=True)
class LabelReport:
    """The agreement and statistics of the readers, and their grades against measures, at a ledger offset."""

    ledger_offset: int
    rule: Rule
    labeled: int
    waiting: int
    disputed: int
    adjudicated: int
    agreement: AgreementReport
    readers: list[ReaderReport]
    grades: GradeReport
    severity_kappas: Mapping[str, Sequence[PairKappa]]
    kappas: list[PairKappa] = field(default_factory=list)
    checks: list[ReaderChecks] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """A training whose snapshot has a person in another split than the person's current one."""

    model: str
    version: int
    snapshot: str
    split: Split


@dataclass(frozen=True, kw_only=True)
class MergeSummary:
    """The result of a merge: whether it is new, the person's split, and the trainings that used another split.

    ``damaged`` are the snapshots that cannot be read: their trainings may have used another split too.
    """

    new: bool
    kept: str
    merged: str
    ledger_offset: int
    split: Split | None
    trained_on: list[TrainedOn]
    damaged: list[str] = field(default_factory=list)


def resolve_consensus(workspace: Workspace, rows: Sequence[LedgerRow]) -> Consensus:
    """Return the consensus of some rows of the ledger by the rule of the settings."""
    settings = workspace.settings
    return consensus(
        rows,
        settings.readers,
        rule=settings.consensus_rule,
        guests=settings.guest_readers,
        per_person=settings.num_readers,
    )


def labels_at(workspace: Workspace, offset: int) -> tuple[RegionLabels, ...]:
    """Return the labels at a ledger offset by the current rule.

    Raises:
        CatalogError: the ledger ends before the offset.
    """
    last = workspace.catalog.ledger_offset()
    if offset > last:
        raise CatalogError(f"the ledger ends at offset {last}: there is no state {offset} yet")
    return resolve_consensus(workspace, workspace.newest_answers_at(offset)).labels


def label_report(workspace: Workspace, *, num_resamples: int = NUM_RESAMPLES) -> LabelReport:
    """Compute the agreement of the readers, the statistics of each, and their grades against the measures of people."""
    rows, offset = workspace.newest_answers()
    state, standing = resolve_consensus(workspace, rows), standing_answers(rows)
    readers = sorted({reader for answers in standing.blind.values() for reader in answers})
    answer_SRA = answer_array(standing, readers)
    return LabelReport(
        ledger_offset=offset,
        rule=workspace.settings.consensus_rule,
        labeled=len(state.labels),
        waiting=len(state.waiting),
        disputed=len(state.disagreements),
        adjudicated=len(state.adjudicated),
        agreement=agreement_report(standing, readers, num_resamples=num_resamples),
        readers=reader_reports(standing, state.labels, num_resamples=num_resamples),
        grades=grade_report(workspace, rows, num_resamples=num_resamples),
        kappas=pair_kappas(
            {reader: answer_SRA[:, number] for number, reader in enumerate(readers)}, num_resamples=num_resamples
        ),
        severity_kappas=severity_kappas(standing, readers, num_resamples=num_resamples),
        checks=reader_checks(workspace.answers_of_checked(rows), num_resamples=num_resamples),
    )


def export_answers(catalog: Catalog, path: Path) -> int:
    """Write the ledger as a CSV file, atomically; return the number of rows."""
    rows = catalog.ledger()
    write_atomic(path, write_csv(rows))
    return len(rows)


def import_answers(workspace: Workspace, path: Path, *, source: str) -> tuple[int, int]:
    """Append the answers of a CSV file to the ledger, all or none; return the number of answers, and of new ones.

    Raises:
        LabelingError: the file cannot be read, or lines of it are wrong; every wrong line is named.
        SettingsError: another pseudonym key made the pseudonyms of the catalog.
    """
    check_pseudonym_key(workspace)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a byte order mark
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise LabelingError(f"{path} cannot be read: {reason}") from error
    find_subject = partial(find_pseudonym, workspace.catalog.pseudonyms(), cache(partial(open_keys, workspace)), source)
    try:
        rows = read_csv(text, source=source, find_subject=find_subject)
    except LabelingError as error:
        raise LabelingError(f"nothing of {path} was imported\n{error}") from error
    check_readers(workspace.settings, rows)
    return len(rows), workspace.catalog.append_answers(rows)


def find_pseudonym(known: set[str], open_once: Callable[[], PseudonymKeys], source: str, name: str) -> str | None:
    """Return the pseudonym of a person, given the pseudonym or the source's own id; ``None`` if the person is unknown."""
    return name if name in known else known_name(open_once(), source, name, known)


def check_readers(settings: Settings, rows: Sequence[LedgerRow]) -> None:
    """Raise if the consensus would ignore the reader of a blind answer.

    Raises:
        LabelingError: a reader is in neither list of the settings.
    """
    unknown = {row.reader for row in rows if row.stage is Stage.READER} - {*settings.readers, *settings.guest_readers}
    if unknown:
        raise LabelingError(
            f"readers {', '.join(sorted(unknown))} are neither in VITAU_READERS nor in VITAU_GUEST_READERS: "
            "name them there first, so that the consensus includes them"
        )


def merge_subjects(workspace: Workspace, kept: str, merged: str, *, why: str) -> MergeSummary:
    """Merge two subjects into one person, and return the trainings that used the person in another split.

    Raises:
        CatalogError: the subjects cannot be merged; the message has the reason.
    """
    catalog = workspace.catalog
    new = catalog.merge(kept, merged, why=why)
    name = catalog.merged_names()[merged]
    split = catalog.splits().get(name)
    offset = next(merge.offset for merge in catalog.merges() if merge.merged == merged)
    found, damaged = trained_on(workspace, {kept, merged}, split)
    return MergeSummary(
        new=new,
        kept=name,
        merged=merged,
        ledger_offset=offset,
        split=split,
        trained_on=found,
        damaged=damaged,
    )


def trained_on(workspace: Workspace, names: set[str], split: Split | None) -> tuple[list[TrainedOn], list[str]]:
    """Return the trainings whose snapshot has one of these names in another split than ``split``, and the damaged snapshots."""
    from vitau.data import snapshot as snapshots

    found, damaged = [], []
    for frozen in workspace.catalog.snapshots():
        trainings = workspace.catalog.trainings(frozen.digest)
        if not trainings:
            continue
        try:
            moved = snapshots.splits_of(workspace.store, frozen.digest, "subject", names) - {split}
        except (SnapshotError, StoreError):  # the answer for the other snapshots does not depend on it
            damaged.append(frozen.digest)
            continue
        found += [
            TrainedOn(model=training.model, version=training.version, snapshot=frozen.digest, split=min(moved))
            for training in trainings
            if moved
        ]
    return found, damaged
