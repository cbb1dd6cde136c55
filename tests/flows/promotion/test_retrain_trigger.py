"""The retraining trigger: when a retraining is requested, and under which key."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from flows.promotion import retrain_trigger
from flows.promotion.retrain_trigger import (
    last_trained,
    learned_from_erased,
    marked_in_use,
    num_changed,
    quiet,
    retrain_if_due,
)
from flows.workspace import Workspace
from tests.flows.workspaces import offline_settings
from vitau.catalog.catalog import Training
from vitau.schema import AU, AUS, Cohort, LedgerRow, RegionLabels, Side, Snapshot, Split, Stage, Subject

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    settings = offline_settings(tmp_path, readers=("a", "b"), retrain_cells=9, retrain_quiet_s=600)
    workspace = Workspace(settings)
    for name in ("p1", "p2", "p3"):
        workspace.catalog.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="s", synthetic=True))
    return workspace


@pytest.fixture
def requests(monkeypatch) -> list[str]:
    """The keys of the requested retrainings; the journey of the full stack covers Prefect's part."""
    keys: list[str] = []
    monkeypatch.setattr(retrain_trigger, "request", lambda _, *, key: keys.append(key) or "run")
    return keys


def answer_as_both(workspace: Workspace, subject: str, *, at: datetime = NOON, affected: AU = AU.AU1, number: int = 1) -> None:
    """Append the answers of both readers, and set the labels that follow."""
    rows = [
        LedgerRow(
            subject=subject,
            au=au,
            reader=reader,
            stage=Stage.READER,
            affected=au is affected,
            side=Side.LEFT,
            annotation=f"{reader}-{subject}-{number}",
            version=at.isoformat(),
            answered_at=at.isoformat(),
        )
        for reader in ("a", "b")
        for au in AUS
    ]
    workspace.catalog.append_answers(rows)
    labels = retrain_trigger.resolve_consensus(workspace, workspace.catalog.ledger()).labels
    workspace.catalog.set_labels(labels, ledger_offset=workspace.catalog.ledger_offset())


def train(workspace: Workspace, digest: str) -> None:
    """Record a snapshot of the current labels and a training on it."""
    offset = workspace.catalog.ledger_offset()
    workspace.catalog.add_snapshot(
        Snapshot(digest=digest, uri="u", ledger_offset=offset, num_frames=1, subjects={Split.TRAIN: 1}, synthetic=True)
    )
    training = Training(
        key=digest, model="m", recipe="r", snapshot=digest, model_digest="d", model_key="k", version=1, run_id="r", metrics={}
    )
    workspace.catalog.add_training(training)


def test_enough_changed_labels_trigger_a_retraining_once_the_readers_pause(workspace, requests):
    later = NOON + timedelta(seconds=600)
    answer_as_both(workspace, "p1")
    assert retrain_if_due(workspace, at=later) is None, "8 labels of 9"
    answer_as_both(workspace, "p2")
    assert retrain_if_due(workspace, at=later - timedelta(seconds=1)) is None, "the pause is shorter than 600 s"
    assert requests == []
    assert retrain_if_due(workspace, at=later) == "run"


def test_a_change_has_one_key_however_often_it_is_requested(workspace, requests):
    for subject in ("p1", "p2"):
        answer_as_both(workspace, subject)
    for _ in range(10):
        retrain_if_due(workspace, at=NOON + timedelta(hours=1))
    assert len(requests) == 10
    assert len(set(requests)) == 1
    answer_as_both(workspace, "p3", at=NOON + timedelta(hours=2))
    retrain_if_due(workspace, at=NOON + timedelta(hours=3))
    assert len(set(requests)) == 2


def test_changes_count_from_the_last_trained_snapshot_not_from_one_that_was_only_frozen(workspace, requests):
    answer_as_both(workspace, "p1")
    train(workspace, "trained")
    answer_as_both(workspace, "p2")
    workspace.catalog.add_snapshot(
        Snapshot(digest="frozen", uri="u", ledger_offset=32, num_frames=1, subjects={Split.TRAIN: 1}, synthetic=True)
    )
    trained = last_trained(workspace)
    assert trained is not None
    assert trained.digest == "trained"
    assert num_changed(workspace, trained, workspace.catalog.labels()) == len(AUS)
    train(workspace, "again")
    assert num_changed(workspace, last_trained(workspace), workspace.catalog.labels()) == 0
    assert retrain_if_due(workspace, at=NOON + timedelta(hours=1)) is None


def test_a_correction_a_new_side_and_a_removed_label_count_as_changes(workspace):
    answer_as_both(workspace, "p1")
    train(workspace, "trained")
    trained = last_trained(workspace)
    (answer,) = workspace.catalog.labels()
    assert num_changed(workspace, trained, [replace(answer, side=Side.RIGHT)]) == 1, "the one region that is affected"
    gone: list[RegionLabels] = []
    assert num_changed(workspace, trained, gone) == len(AUS)
    answer_as_both(workspace, "p1", at=NOON + timedelta(minutes=1), affected=AU.AU2, number=2)
    assert num_changed(workspace, trained, workspace.catalog.labels()) == 2, "AU1 no longer, AU2 now"


def test_readers_without_answers_count_as_paused(workspace):
    assert quiet(workspace, NOON)


def test_an_erasure_of_a_person_who_taught_the_newest_version_triggers_a_retraining(workspace, requests):
    answer_as_both(workspace, "p1")
    train(workspace, "trained")
    later = NOON + timedelta(hours=1)
    assert retrain_if_due(workspace, at=later) is None
    workspace.catalog.begin_erasure({"p3"})
    workspace.catalog.finish_erasure({"p3"}, snapshots=["trained"], trainings=["m/1"])
    assert retrain_trigger.learned_from_erased(workspace) == ["m/1"]
    assert retrain_if_due(workspace, at=later) == "run"
    assert requests[0].endswith("-erased")


def test_a_champion_that_learned_from_an_erased_person_stays_marked_after_a_newer_version_was_refused(workspace):
    train(workspace, "first")
    workspace.catalog.begin_erasure({"p1"})
    workspace.catalog.note_uses({"p1"}, snapshots=[], trainings=["m/1"])
    assert marked_in_use(workspace) == ["m/1"], "the newest version"
    facts = {"model": "m", "version": 1, "action": "promoted", "before": None, "after": 1, "by": "a test"}
    workspace.catalog.append_promotion(facts, key=b"signs in these tests only")
    add_version(workspace, 2)
    assert learned_from_erased(workspace) == []
    assert marked_in_use(workspace) == ["m/1"], "the champion"
    facts |= {"version": 2, "before": 1, "after": 2}
    workspace.catalog.append_promotion(facts, key=b"signs in these tests only")
    assert marked_in_use(workspace) == []


def add_version(workspace: Workspace, version: int) -> None:
    (trained,) = workspace.catalog.trainings("first")
    workspace.catalog.add_training(replace(trained, key=str(version), version=version))
