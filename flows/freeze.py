"""The freeze flow: join frames and labels, pass gate 3, and write a snapshot."""

from collections.abc import Sequence

import pyarrow as pa
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_logger

from flows.annotation.person_labels import clips_with_label, first_labels
from flows.execution.clip_worker import frames_version
from flows.gates import gate
from flows.identity.lookalikes import compare_people
from flows.reports.run_summary import publish_summary
from flows.settings import Settings
from flows.workspace import Workspace, open_workspace
from validation.rules import snapshot_rows
from validation.suites import snapshot_suite
from vitau.catalog.catalog import FrameTable
from vitau.data import snapshot as snapshots
from vitau.data.splits import assign
from vitau.data.usable_frames import UsableFrames
from vitau.schema import AUS, SNAPSHOT_COLUMNS, Clip, Cohort, RegionLabels, Snapshot, Split, Subject


@flow(name="freeze", flow_run_name="freeze", on_completion=[publish_summary])
def freeze(settings: Settings | None = None) -> Snapshot:
    """Freeze the usable frames of every labeled person, each in the recorded split."""
    workspace = open_workspace(settings)
    labels, offset = workspace.catalog.labels_with_offset()
    people = labeled_people(workspace, labels)
    splits = assign_splits(workspace, people)
    rows = collect_rows(workspace, people, splits, labels)
    check_people(workspace, rows)
    snapshot = snapshots.freeze(rows, workspace.store, offset, workspace.catalog.ledger_digest(offset))
    workspace.catalog.add_snapshot(snapshot)
    return snapshot


def labeled_people(workspace: Workspace, answers: Sequence[RegionLabels]) -> dict[str, tuple[Subject, RegionLabels]]:
    """Return the labeled people by pseudonym: patients have the consensus, controls have no affected region.

    A patient has the label of the earliest labeled visit. People of unknown status are left out and counted, also those with
    labels.
    """
    labels = first_labels(workspace, answers)
    people = {}
    if withdrawn := workspace.catalog.withdrawn_subjects():
        get_logger(__name__).warning("%d people withdrew their consent and are left out", len(withdrawn))
    if unknown := unknown_people(workspace):
        get_logger(__name__).warning(
            "%d people of unknown status are left out, %d of them with labels: state what they are with `labels cohort`",
            len(unknown),
            len(unknown & labels.keys()),
        )
    for subject in workspace.catalog.subjects():
        if subject.cohort is Cohort.CONTROL:
            people[subject.pseudonym] = subject, RegionLabels(subject=subject.pseudonym, affected=dict.fromkeys(AUS, False))
        elif subject.cohort is Cohort.PALSY and subject.pseudonym in labels:
            people[subject.pseudonym] = subject, labels[subject.pseudonym]
    return people


def unknown_people(workspace: Workspace) -> set[str]:
    """Return the people of unknown status, who are in no snapshot until it is stated what they are."""
    return {subject.pseudonym for subject in workspace.catalog.subjects() if subject.cohort is Cohort.UNKNOWN}


@task(cache_policy=NO_CACHE)
def assign_splits(workspace: Workspace, people: dict[str, tuple[Subject, RegionLabels]]) -> dict[str, Split]:
    """Record a split for people without one, stratified by cohort and balanced by the number of affected regions."""
    cohorts = {name: subject.cohort.value for name, (subject, _) in people.items()}
    spread = {name: float(sum(answer.affected.values())) for name, (_, answer) in people.items()}
    assigned = assign(cohorts, existing=workspace.catalog.splits(), spread=spread)
    workspace.catalog.add_splits(assigned, strata=cohorts)
    return workspace.catalog.splits()


@task(cache_policy=NO_CACHE)
def collect_rows(
    workspace: Workspace,
    people: dict[str, tuple[Subject, RegionLabels]],
    splits: dict[str, Split],
    labels: Sequence[RegionLabels],
) -> pa.Table:
    """Return the usable frames of labeled people as rows of a snapshot.

    The frames of a patient's visit are left out where the visit has no label, or another one than the person.
    """
    catalog = workspace.catalog
    labeled, other = clips_with_label(workspace, labels)
    if other:
        get_logger(__name__).warning(
            "%d visits are left out: their labels are not those of the person's first visit", len(other)
        )
    clips = {clip.sha256: clip for clip in catalog.clips()}
    usable = UsableFrames(workspace.store, catalog.unusable_frames())
    columns: dict[str, list[object]] = {name: [] for name in SNAPSHOT_COLUMNS}
    for table in catalog.frame_tables(frames_version()):
        clip = clips[table.clip]
        if clip.subject not in people:
            continue
        if table.clip in labeled or people[clip.subject][0].cohort is Cohort.CONTROL:
            indices = usable.indices(table)
            columns["frame_index"] += indices
            for name, value in facts_of_frames(clip, table, people[clip.subject], splits).items():
                columns[name] += [value] * len(indices)
    missing = set(people) - set(columns["subject"])
    if missing:
        get_run_logger().warning("%d labeled people have no usable frame and are left out", len(missing))
    return pa.table(columns, snapshots.snapshot_schema())


@task(cache_policy=NO_CACHE)
def check_people(workspace: Workspace, rows: pa.Table) -> None:
    """Pass gate 3: no person in two splits, no face in two people, both cohorts in each split, sources not confounded."""
    settings = workspace.settings
    owners = dict(zip(rows["frames_key"].to_pylist(), rows["subject"].to_pylist(), strict=True))
    below = max(settings.identity_floor, settings.identity_warning)
    check = compare_people(workspace, owners, below=below)
    suite = snapshot_suite(settings.identity_floor, identity_warning=settings.identity_warning)
    gate(workspace, snapshot_rows(rows, check.nearest), suite)


def facts_of_frames(
    clip: Clip, table: FrameTable, person: tuple[Subject, RegionLabels], splits: dict[str, Split]
) -> dict[str, object]:
    """Return the columns of a snapshot that are the same for all frames of a clip."""
    subject, answer = person
    return {
        "subject": subject.pseudonym,
        "clip": clip.sha256,
        "frames_key": table.key,
        "source": clip.source,
        "cohort": subject.cohort.value,
        "split": splits[subject.pseudonym].value,
        "side": answer.side and answer.side.value,
        **{au.value: answer.affected.get(au) for au in AUS},
    }
