"""The labels for the people who manage them: as they were, how far they can be trusted, out, in, and two subjects made one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flows.settings import Settings
from flows.workspace import Workspace
from labeling.consensus.agreement import NUM_RESAMPLES, AgreementReport, agreement_report
from labeling.consensus.consensus import Consensus, Rule, consensus
from labeling.consensus.csv_io import read_csv, write_csv
from labeling.consensus.reader_statistics import ReaderReport, reader_reports
from labeling.consensus.standing_answers import standing_answers
from vitau.catalog.catalog import Catalog
from vitau.errors import CatalogError, LabelingError
from vitau.schema import LedgerRow, RegionLabels, Split, Stage
from vitau.store.atomic import write_atomic


@dataclass(frozen=True, kw_only=True)
class LabelReport:
    """How far the readers agree, and how each of them reads, at a ledger offset."""

    ledger_offset: int
    rule: Rule
    labeled: int
    waiting: int
    disputed: int
    adjudicated: int
    agreement: AgreementReport
    readers: list[ReaderReport]


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """A training whose snapshot holds the frames of a person in another split than the person has now."""

    model: str
    version: int
    snapshot: str
    split: Split


@dataclass(frozen=True, kw_only=True)
class MergeSummary:
    """What came of a merge: whether it is new, the split of the person now, and the trainings that saw them in another one."""

    new: bool
    kept: str
    merged: str
    ledger_offset: int
    split: Split | None
    trained_on: list[TrainedOn]


def agree(workspace: Workspace, rows: Sequence[LedgerRow]) -> Consensus:
    """What the readers say together in some rows of the ledger, by the rule of the settings."""
    settings = workspace.settings
    return consensus(rows, settings.readers, rule=settings.consensus_rule, guests=settings.guest_readers)


def labels_at(workspace: Workspace, offset: int) -> tuple[RegionLabels, ...]:
    """Rebuild the labels at a ledger offset, by today's rule.

    Raises:
        CatalogError: the ledger has not come so far.
    """
    last = workspace.catalog.ledger_offset()
    if offset > last:
        raise CatalogError(f"the ledger ends at offset {last}: there is no state {offset} yet")
    return agree(workspace, workspace.catalog.ledger(upto=offset)).labels


def label_report(workspace: Workspace, *, num_resamples: int = NUM_RESAMPLES) -> LabelReport:
    """Measure how far the readers agree, and how each of them reads."""
    offset = workspace.catalog.ledger_offset()
    rows = workspace.catalog.ledger(upto=offset)
    state, words = agree(workspace, rows), standing_answers(rows)
    readers = sorted({reader for voices in words.blind.values() for reader in voices})
    return LabelReport(
        ledger_offset=offset,
        rule=workspace.settings.consensus_rule,
        labeled=len(state.labels),
        waiting=len(state.waiting),
        disputed=len(state.disagreements),
        adjudicated=len(state.adjudicated),
        agreement=agreement_report(words, readers, num_resamples=num_resamples),
        readers=reader_reports(words, state.labels, num_resamples=num_resamples),
    )


def export_answers(catalog: Catalog, path: Path) -> int:
    """Write the ledger as a CSV, whole or not at all; returns how many answers."""
    rows = catalog.ledger()
    write_atomic(path, write_csv(rows))
    return len(rows)


def import_answers(workspace: Workspace, path: Path, *, source: str) -> tuple[int, int]:
    """Append the answers of a CSV to the ledger, all or none; returns how many there are, and how many are new.

    Raises:
        LabelingError: the file cannot be read, or a line of it is wrong; every such line is named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a mark in front
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise LabelingError(f"{path} cannot be read: {reason}") from error
    find_subject = partial(find_pseudonym, workspace.catalog.pseudonyms(), workspace.settings, source)
    try:
        rows = read_csv(text, source=source, find_subject=find_subject)
    except LabelingError as error:
        raise LabelingError(f"nothing of {path} was imported\n{error}") from error
    check_readers(workspace.settings, rows)
    return len(rows), workspace.catalog.append_answers(rows)


def find_pseudonym(known: set[str], settings: Settings, source: str, name: str) -> str | None:
    """Find a person by pseudonym or by the source's own id; ``None`` for a stranger."""
    from vitau.media.sources import pseudonym  # OpenCV and PyAV, which no other command of the labels needs

    if name in known:
        return name
    derived = pseudonym(settings.pseudonym_key.get_secret_value().encode(), source, name)
    return derived if derived in known else None


def check_readers(settings: Settings, rows: Sequence[LedgerRow]) -> None:
    """Refuse blind answers of readers whom the consensus would not know.

    Raises:
        LabelingError: some are neither ours nor guests.
    """
    strangers = {row.reader for row in rows if row.stage is Stage.READER} - {*settings.readers, *settings.guest_readers}
    if strangers:
        raise LabelingError(
            f"readers {', '.join(sorted(strangers))} are neither in VITAU_READERS nor in VITAU_GUEST_READERS: "
            "name them there first, so that the consensus hears them"
        )


def merge_subjects(workspace: Workspace, kept: str, merged: str, *, why: str) -> MergeSummary:
    """Make two subjects one person, and find the trainings that saw the person in a split that is no longer theirs.

    Raises:
        CatalogError: they cannot be one person; the sentence says why.
    """
    catalog = workspace.catalog
    new = catalog.merge(kept, merged, why=why)
    name = catalog.merged_names()[merged]
    split = catalog.splits().get(name)
    offset = next(each.offset for each in catalog.merges() if each.merged == merged)
    return MergeSummary(
        new=new,
        kept=name,
        merged=merged,
        ledger_offset=offset,
        split=split,
        trained_on=trained_on(workspace, {kept, merged}, split),
    )


def trained_on(workspace: Workspace, names: set[str], split: Split | None) -> list[TrainedOn]:
    """List the trainings whose snapshot holds one of these names in another split than ``split``."""
    from vitau.data import snapshot as snapshots

    found = []
    for frozen in workspace.catalog.snapshots():
        trainings = workspace.catalog.trainings(frozen.digest)
        if not trainings:
            continue
        rows = snapshots.load(workspace.store, frozen.digest).select(["subject", "split"])
        people = dict(zip(rows["subject"].to_pylist(), rows["split"].to_pylist(), strict=True))
        moved = {Split(people[name]) for name in names & people.keys()} - {split}
        found += [
            TrainedOn(model=each.model, version=each.version, snapshot=frozen.digest, split=min(moved))
            for each in trainings
            if moved
        ]
    return found
