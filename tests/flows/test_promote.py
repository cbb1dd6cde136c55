"""Promotion and rollback on a real registry in a file; verdicts are given, and no service runs."""

import logging
import shutil
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from mlflow import MlflowClient

from flows import promote as module
from flows.promote import evaluate, policy_for, promote_or_refuse, roll_back
from flows.promotion.champion import standing_recognition
from flows.promotion.decisions import Decision, finish_interrupted, history, last_decisions, publish
from flows.promotion.registered_models import PALSY
from flows.settings import SettingsError
from flows.workspace import Workspace
from tests.databases import empty_registry
from tests.flows.workspaces import offline_settings
from vitau.catalog.catalog import Training
from vitau.catalog.promotion_log import Action
from vitau.errors import RegistryError
from vitau.evaluation.promotion import policy as policies
from vitau.evaluation.promotion.policy import CONFOUNDED_SOURCES, PATIENTS, SMOKE, SMOKE_CONFOUNDED
from vitau.registry import registry
from vitau.registry.bundle import weights_digest
from vitau.registry.tracking import EXPERIMENT
from vitau.schema import Snapshot, Split

REASON = {"check": "recognition, AUROC", "holds": False, "sentence": "recognition, AUROC is 0.512; at least 0.7 is needed"}


@pytest.fixture(scope="module")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry with three versions of recognition; their folders contain no weights, since nothing is scored."""
    folder = tmp_path_factory.mktemp("mlflow")
    url = f"sqlite:///{shutil.copy(empty_registry(), folder / 'mlflow.db')}"
    MlflowClient(url).create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").as_uri())
    for version in (1, 2, 3):
        (bundle := folder / f"bundle-{version}").joinpath("model").mkdir(parents=True)
        (bundle / "model" / "name.txt").write_text(f"version {version}")
        assert registry.register(url, PALSY, bundle, metrics={}, lineage={})[0] == version
    return url


@pytest.fixture
def workspace(tmp_path: Path, mlflow_url: str, monkeypatch: pytest.MonkeyPatch):
    """Three trainings, the second of which the verdict refuses; no champion."""
    settings = offline_settings(tmp_path, signing_key="signs in these tests only", mlflow_url=mlflow_url)
    opened = Workspace(settings)
    opened.catalog.add_snapshot(
        Snapshot(digest="d", uri="u", ledger_offset=1, num_frames=2, subjects={Split.TEST: 1}, synthetic=True)
    )
    for version in (1, 2, 3):
        opened.catalog.add_training(training(version))
    monkeypatch.setattr(module, "verdict_facts", verdict_facts)
    client = MlflowClient(mlflow_url)
    if registry.champion(mlflow_url, PALSY) is not None:
        client.delete_registered_model_alias(PALSY, registry.CHAMPION)
    for version in client.search_model_versions(f"name = '{PALSY}'"):
        for tag in [name for name in version.tags if name.startswith(("decision", "signature"))]:
            client.delete_model_version_tag(PALSY, version.version, tag)
    yield opened
    opened.catalog.engine.dispose()


def training(version: int, recipe: str = "tiny-palsy") -> Training:
    digest = weights_digest({"model/name.txt": sha256(f"version {version}".encode()).hexdigest()})
    return Training(
        key=f"key-{version}",
        model=PALSY,
        recipe=recipe,
        snapshot="d",
        model_digest=digest,
        model_key=f"models/{digest}",
        version=version,
        run_id="r",
        metrics={},
    )


def verdict_facts(workspace: Workspace, challenger: Training, champion: Training | None, policy: Any) -> dict[str, Any]:
    bad = challenger.version == 2
    promote = not bad or policy.name == "lenient"
    return {"verdict": {"promote": promote, "policy": asdict(policy), "reasons": [REASON] if bad else []}}


def decided(workspace: Workspace, version: int, *, again: bool = False, why: str | None = None) -> Decision:
    evaluation = evaluate.fn(workspace, training(version), again=again, why=why)
    return promote_or_refuse.fn(workspace, evaluation, by="a test", why=why)


def champion(workspace: Workspace) -> int | None:
    return registry.champion(workspace.settings.mlflow_url, PALSY)


def test_a_decision_moves_the_alias_once_and_the_log_has_the_reasons(workspace, caplog):
    caplog.set_level(logging.INFO)
    first = decided(workspace, 1)
    assert (first.action, first.before, first.after, first.new) == ("promoted", None, 1, True)
    refused = decided(workspace, 2)
    assert (refused.action, refused.after, refused.against) == ("refused", 1, (REASON["sentence"],))
    assert [record.getMessage() for record in caplog.records if " is " in record.getMessage()][-2:] == [
        f"{PALSY} version 1 is promoted (record 1)",
        f"{PALSY} version 2 is refused (record 2); {REASON['sentence']}",
    ]
    assert champion(workspace) == 1
    for options in ({}, {"again": True}):
        again = decided(workspace, 1, **options), decided(workspace, 2, **options)
        assert [(decision.action, decision.record, decision.new) for decision in again] == [
            ("promoted", 1, False),
            ("refused", 2, False),
        ]
    assert len(workspace.catalog.promotions()) == 2


def test_the_last_decision_about_a_version_names_the_champion_of_today(workspace):
    assert last_decisions(workspace, [training(1)]) == []
    decided(workspace, 1)
    decided(workspace, 2)
    decided(workspace, 3)
    found = last_decisions(workspace, [training(2), training(3)])
    assert [(own.version, own.action, own.after, own.against) for own in found] == [
        (2, "refused", 3, (REASON["sentence"],)),
        (3, "promoted", 3, ()),
    ]


def test_mlflow_stores_the_record_with_the_version(workspace):
    decided(workspace, 1)
    (record,) = workspace.catalog.promotions()
    client = MlflowClient(workspace.settings.mlflow_url)
    found = client.get_model_version(PALSY, "1")
    assert (found.tags["decision"], found.tags["decision_record"], found.tags["decision_signature"]) == (
        "promoted",
        "1",
        record.signature,
    )
    local = client.download_artifacts(found.run_id, "decisions/1.json", str(workspace.folder("read")))
    assert Path(local).read_text() == record.text


def test_a_rollback_restores_the_previous_champion_and_retraining_does_not_undo_it(workspace):
    decided(workspace, 1)
    decided(workspace, 3)
    assert champion(workspace) == 3
    back = roll_back(workspace, PALSY, why="it misses smiles", by="a test")
    assert (back.version, back.before, back.after, champion(workspace)) == (3, 3, 1, 1)
    assert (decided(workspace, 3).action, champion(workspace)) == ("rolled back", 1)
    with pytest.raises(RegistryError, match=r"^version 3 of vitau-palsy was rolled back \(record 3\): give --why to make it"):
        decided(workspace, 3, again=True)
    again = decided(workspace, 3, again=True, why="the smiles were mislabelled")
    assert (again.action, again.after, champion(workspace)) == ("overridden", 3, 3)
    with pytest.raises(
        RegistryError, match=r"^no champion of vitau-palsy came before version 1: there is nothing to roll back to$"
    ):
        [roll_back(workspace, PALSY, why="", by="a test") for _ in range(2)]
    assert champion(workspace) == 1


def test_a_promotion_against_the_verdict_is_recorded_as_one(workspace):
    decided(workspace, 1)
    decision = decided(workspace, 2, again=True, why="for a demonstration")
    assert (decision.action, decision.after, decision.why) == ("overridden", 2, "for a demonstration")
    assert decision.against == (REASON["sentence"],)
    record = workspace.catalog.promotions()[-1]
    assert (record.facts["by"], record.facts["verdict"]["promote"]) == ("a test", False)


def test_a_champion_that_was_displaced_by_hand_may_come_back_by_the_same_verdict(workspace):
    decided(workspace, 1)
    decided(workspace, 3)
    decided(workspace, 1, again=True, why="the old one")
    back = decided(workspace, 3, again=True)
    assert (back.action, back.after, back.new, champion(workspace)) == ("promoted", 3, True, 3)


def test_a_decision_that_was_recorded_but_not_published_is_finished(workspace, monkeypatch):
    decided(workspace, 1)
    monkeypatch.setattr(module, "publish", lambda *_: None)  # killed between the record and the alias
    decided(workspace, 3)
    assert champion(workspace) == 1
    monkeypatch.setattr(module, "publish", publish)
    assert finish_interrupted(workspace, PALSY)[0] == 3
    assert champion(workspace) == 3
    monkeypatch.setattr(module, "publish", lambda *_: None)
    roll_back(workspace, PALSY, why="", by="a test")
    monkeypatch.setattr(module, "publish", publish)
    finished = roll_back(workspace, PALSY, why="", by="a test")
    assert (finished.after, champion(workspace), len(workspace.catalog.promotions())) == (1, 1, 3)


def test_a_refusal_that_was_recorded_but_not_published_is_finished(workspace, monkeypatch):
    decided(workspace, 1)
    monkeypatch.setattr(module, "publish", lambda *_: None)  # killed after the record
    decided(workspace, 2)
    client = MlflowClient(workspace.settings.mlflow_url)
    assert "decision" not in client.get_model_version(PALSY, "2").tags
    decided(workspace, 2)
    tags = client.get_model_version(PALSY, "2").tags
    assert (tags["decision"], tags["decision_record"], champion(workspace)) == ("refused", "2", 1)
    assert finish_interrupted(workspace, PALSY) == (1, None), "it is published once"
    assert not registry.lacks_decision(workspace.settings.mlflow_url, PALSY, 99, 1), "a version that is gone"


def test_an_alias_moved_by_hand_is_an_error_without_a_reason(workspace):
    decided(workspace, 1)
    registry.set_champion(workspace.settings.mlflow_url, PALSY, 2)
    with pytest.raises(RegistryError) as caught:
        decided(workspace, 3)
    assert str(caught.value) == (
        "the alias champion of vitau-palsy is version 2, but record 1 says 1: it was moved by hand; "
        "`promote vitau-palsy VERSION --why …` records which version it should be"
    )
    assert [entry.problem for entry in history(workspace)] == ["the alias champion is version 2, not 1"]
    assert decided(workspace, 3, again=True, why="as it should be").after == 3
    assert [entry.problem for entry in history(workspace)] == [None, None]


def test_a_champion_without_a_record_is_compared_with_and_restored(workspace):
    registry.set_champion(workspace.settings.mlflow_url, PALSY, 1)
    assert decided(workspace, 1).action == "champion"
    assert decided(workspace, 3).before == 1
    assert roll_back(workspace, PALSY, why="", by="a test").after == 1


def test_history_finds_records_missing_at_the_end(workspace):
    decided(workspace, 1)
    client = MlflowClient(workspace.settings.mlflow_url)
    client.set_model_version_tag(PALSY, "1", "decision_record", "7")
    assert [entry.problem for entry in history(workspace)] == ["MLflow has a later record, 7, which the catalog lacks"]


def test_records_of_the_policy_with_latency_are_shown_verified_and_kept(workspace):
    """Earlier versions measured megabytes and milliseconds; their records stay as they were signed."""
    slow = "time per face is 61 ms; at most 5000 ms is allowed, 2.40 times the champion's 25.4 ms (at most 2 times)"
    numbers = {"challenger": 61.0, "champion": 25.4, "times": 2.4, "limit": 5000.0, "limit_times": 2.0}
    reason = {"check": "time per face", "holds": False, "sentence": slow, "numbers": numbers}
    policy = {"name": "patients", "max_size_mb": 3000.0, "max_face_ms": 5000.0, "max_growth": 2.0, "max_slowdown": 2.0}
    verdict = {"promote": False, "policy": policy, "reasons": [reason]}
    facts = {"model": PALSY, "version": 2, "action": Action.REFUSED, "before": None, "after": None, "by": "flow retrain"}
    facts |= {"why": None, "verdict": verdict, "once": "a digest that includes the limits on latency"}
    workspace.catalog.append_promotion(facts, key=b"signs in these tests only", once=facts["once"])
    (entry,) = history(workspace)
    assert entry.problem is None
    assert entry.record.facts["verdict"]["policy"]["max_face_ms"] == 5000.0
    kept = decided(workspace, 2)
    assert (kept.action, kept.record, kept.new, kept.against) == ("refused", 1, False, (slow,))
    assert len(workspace.catalog.promotions()) == 1


def test_without_a_key_nothing_is_decided(workspace):
    unsigned = Workspace(workspace.settings.model_copy(update={"signing_key": None}))
    with pytest.raises(SettingsError, match=r"^decisions about champions are signed: set VITAU_SIGNING_KEY, or use `make up`"):
        decided(unsigned, 1)


def test_the_smoke_policy_never_applies_against_a_really_trained_model(workspace):
    smoke, tiny, settings = training(1, "smoke-palsy"), training(2), workspace.settings
    assert [policy_for(settings, smoke, None), policy_for(settings, smoke, smoke)] == [SMOKE, SMOKE]
    assert [policy_for(settings, *pair) for pair in ((smoke, tiny), (tiny, smoke), (tiny, None))] == [PATIENTS] * 3
    accepting = settings.model_copy(update={"policy": CONFOUNDED_SOURCES.name})
    assert [policy_for(accepting, own, None) for own in (smoke, tiny)] == [SMOKE_CONFOUNDED, CONFOUNDED_SOURCES]


def test_a_changed_policy_judges_a_refused_version_anew_and_no_champion(workspace, monkeypatch):
    lenient = replace(PATIENTS, name="lenient")
    monkeypatch.setattr(policies, "POLICIES", MappingProxyType({**policies.POLICIES, "lenient": lenient}))
    other = Workspace(workspace.settings.model_copy(update={"policy": "lenient"}))
    decided(workspace, 1)
    decided(workspace, 2)
    assert (decided(other, 1).new, decided(workspace, 2).new) == (False, False)
    anew = decided(other, 2)
    assert (anew.action, anew.record, anew.new, champion(workspace)) == ("promoted", 3, True, 2)
    assert workspace.catalog.promotions()[-1].facts["verdict"]["policy"]["name"] == "lenient"
    roll_back(workspace, PALSY, why="", by="a test")
    assert decided(workspace, 2).action == "rolled back", "only a person brings it back, whatever the policy"
    other.catalog.engine.dispose()


def test_new_regions_are_bundled_with_the_champion_of_recognition(workspace):
    assert standing_recognition(workspace, training(2)).version == 2
    decided(workspace, 1)
    decided(workspace, 2)
    assert standing_recognition(workspace, training(2)).version == 1
    assert {record.action for record in workspace.catalog.promotions()} == {Action.PROMOTED, Action.REFUSED}
