"""The champion of a signed record, on a real registry in a file whose rows and files an intruder changes."""

import fcntl
import json
import os
import shutil
import threading
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from mlflow import MlflowClient
from pydantic import SecretStr

from flows import promote as module
from flows.annotation.suggestions import load_champion_scores
from flows.doctor.findings import CheckFailedError, NotApplicableError
from flows.doctor.services import champions
from flows.promote import evaluate, promote_or_refuse, roll_back
from flows.promotion.decisions import Decision, history
from flows.promotion.registered_models import REGIONS
from flows.rescore import fetch_champion
from flows.settings import SettingsError
from flows.workspace import Workspace
from tests.databases import empty_registry
from tests.flows.workspaces import offline_settings
from vitau.catalog.catalog import ScoredSubject, Training
from vitau.catalog.signing import public_key
from vitau.errors import ChecksumError, RegistryError
from vitau.registry import registry
from vitau.registry.bundle import SUMS, folder_digest, weights_digest, write_sums
from vitau.registry.download import pull
from vitau.registry.tracking import EXPERIMENT
from vitau.schema import Cohort, Snapshot, Split, Subject

KEY, NEW_KEY = "signs in these tests only", "signs after a change of the key"
WEIGHTS = "model/weights.safetensors"
REFUSAL = (
    "vitau-regions version 1 in the registry is not the model {by}: its files or tags were changed there; "
    "restore them from a backup, or make another version champion"
)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The address of a registry with two versions of the regions, and the folder of its files."""
    folder = tmp_path_factory.mktemp("mlflow")
    url = f"sqlite:///{shutil.copy(empty_registry(), folder / 'mlflow.db')}"
    MlflowClient(url).create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").as_uri())
    for version in (1, 2):
        (bundle := folder / f"bundle-{version}").joinpath("model").mkdir(parents=True)
        (bundle / WEIGHTS).write_text(f"weights {version}")
        assert registry.register(url, REGIONS, bundle, metrics={}, lineage={})[0] == version
    return url, folder / "artifacts"


@pytest.fixture
def files(registered: tuple[str, Path], tmp_path: Path):
    """Return a function that returns the folder of a version in the registry; the files are restored afterwards."""
    _, artifacts = registered
    shutil.copytree(artifacts, tmp_path / "backup")

    def of(version: int) -> Path:
        stored = artifacts.rglob(f"bundle/{WEIGHTS}")
        [found] = [path for path in stored if path.read_text() == f"weights {version}"]
        return found.parents[1]

    yield of
    shutil.rmtree(artifacts)
    shutil.copytree(tmp_path / "backup", artifacts)


@pytest.fixture
def workspace(registered: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two trainings that every verdict promotes; no champion and no record."""
    url, _ = registered
    monkeypatch.setattr(module, "verdict_facts", lambda *_: {"verdict": {"promote": True, "reasons": []}})
    client = MlflowClient(url)
    if registry.champion(url, REGIONS) is not None:
        client.delete_registered_model_alias(REGIONS, registry.CHAMPION)
    for version in client.search_model_versions(f"name = '{REGIONS}'"):
        for tag in [name for name in version.tags if name.startswith(("decision", "signature"))]:
            client.delete_model_version_tag(REGIONS, version.version, tag)
        client.set_model_version_tag(REGIONS, version.version, registry.DIGEST_TAG, training(int(version.version)).model_digest)
    opened = Workspace(offline_settings(tmp_path, signing_key=KEY, mlflow_url=url))
    opened.catalog.add_snapshot(
        Snapshot(digest="d", uri="u", ledger_offset=1, num_frames=2, subjects={Split.TEST: 1}, synthetic=True)
    )
    for version in (1, 2):
        opened.catalog.add_training(training(version))
    yield opened
    opened.catalog.engine.dispose()


def training(version: int) -> Training:
    digest = weights_digest({WEIGHTS: sha256(f"weights {version}".encode()).hexdigest()})
    return Training(
        key=f"key-{version}",
        model=REGIONS,
        recipe="tiny-regions",
        snapshot="d",
        model_digest=digest,
        model_key=f"models/{digest}",
        version=version,
        run_id="r",
        metrics={},
    )


def decided(workspace: Workspace, version: int, *, why: str | None = None) -> Decision:
    evaluation = evaluate.fn(workspace, training(version), again=why is not None, why=why)
    return promote_or_refuse.fn(workspace, evaluation, by="a test", why=why)


def score_files(workspace: Workspace) -> str:
    """Return the weights that `rescore` and `monitor` would load."""
    return (fetch_champion.fn(workspace) / WEIGHTS).read_text()


def rekeyed(workspace: Workspace, key: str | None) -> Workspace:
    changed = workspace.settings.model_copy(update={"signing_key": None if key is None else SecretStr(key)})
    return Workspace(changed)


def test_the_champion_of_the_last_record_is_loaded_and_downloaded_once(workspace, monkeypatch):
    decided(workspace, 1)
    decided(workspace, 2)
    assert score_files(workspace) == "weights 2"
    roll_back(workspace, REGIONS, why="", by="a test")
    assert score_files(workspace) == "weights 1"
    monkeypatch.setattr(registry, "fetch_file", None)
    assert score_files(workspace) == "weights 1"


@pytest.mark.parametrize(
    ("recorded", "hidden", "sentence"),
    [
        (True, "nothing", f"{WEIGHTS} of vitau-regions/1 arrived with other bytes than were registered: try again"),
        (True, "checksums", REFUSAL.format(by="that record 1 approved")),
        (True, "checksums and digest", REFUSAL.format(by="that record 1 approved")),
        (False, "checksums", "vitau-regions/1 is not the model that was registered: its files were changed there"),
        (False, "checksums and digest", REFUSAL.format(by="that was trained here")),
    ],
)
def test_weights_that_were_exchanged_in_the_registry_score_nobody(workspace, files, recorded, hidden, sentence):
    if recorded:
        decided(workspace, 1)
    else:
        registry.set_champion(workspace.settings.mlflow_url, REGIONS, 1)
    folder = files(1)
    (folder / WEIGHTS).write_text("weights of an intruder")
    if "checksums" in hidden:
        (folder / SUMS).unlink()
        write_sums(folder)
    if "digest" in hidden:
        client = MlflowClient(workspace.settings.mlflow_url)
        client.set_model_version_tag(REGIONS, "1", registry.DIGEST_TAG, folder_digest(folder))
    with pytest.raises(ChecksumError) as caught:
        score_files(workspace)
    assert str(caught.value) == sentence
    assert list(workspace.folder("champions").glob("vitau*")) == []
    if recorded and hidden != "nothing":
        assert history(workspace)[-1].problem is not None


def test_the_doctor_compares_the_champion_with_its_record(workspace, files):
    with pytest.raises(NotApplicableError, match=r"^no model is champion yet$"):
        champions(workspace.settings)
    registry.set_champion(workspace.settings.mlflow_url, REGIONS, 1)
    assert champions(workspace.settings) == "approved: vitau-regions 1 by its training"
    decided(workspace, 2)
    assert champions(workspace.settings) == "approved: vitau-regions 2 by record 1"
    (files(2) / SUMS).unlink()
    (files(2) / "README.md").write_text("another card")
    write_sums(files(2))
    with pytest.raises(
        CheckFailedError, match=r"^the texts beside the weights of vitau-regions version 2 .* record 1 approved"
    ):
        champions(workspace.settings)


def test_thresholds_and_texts_beside_the_weights_are_approved_too(workspace, files):
    decided(workspace, 1)
    folder = files(1)
    (folder / "thresholds.json").write_text('{"recognition": {"threshold": 0.99}}\n')
    (folder / SUMS).unlink()
    write_sums(folder)
    with pytest.raises(
        ChecksumError, match=r"^vitau-regions version 1 in the registry is not the model that record 1 approved"
    ):
        score_files(workspace)
    with pytest.raises(ChecksumError, match=r"^the texts beside the weights of vitau-regions version 1 .* record 1 approved"):
        decided(workspace, 2)
    assert "texts beside the weights" in history(workspace)[-1].problem
    assert decided(workspace, 1, why="the new thresholds are right").action == "overridden"
    assert score_files(workspace) == "weights 1"


@pytest.mark.parametrize("moved_to", [1, None])
def test_an_alias_that_was_moved_by_hand_stops_scoring(workspace, moved_to):
    decided(workspace, 1)
    decided(workspace, 2)
    client = MlflowClient(workspace.settings.mlflow_url)
    if moved_to is None:
        client.delete_registered_model_alias(REGIONS, registry.CHAMPION)
    else:
        registry.set_champion(workspace.settings.mlflow_url, REGIONS, moved_to)
    with pytest.raises(RegistryError) as caught:
        score_files(workspace)
    assert str(caught.value) == (
        f"the alias champion of vitau-regions is version {moved_to}, but record 2 says 2: it was moved by hand; "
        "`promote vitau-regions VERSION --why …` records which version it should be"
    )


def test_records_that_were_changed_or_cut_off_approve_nothing(workspace):
    decided(workspace, 1)
    decided(workspace, 2)
    with workspace.catalog.engine.connect() as connection, connection.begin():
        for trigger in ("no_update", "no_delete"):
            connection.exec_driver_sql(f"DROP TRIGGER promotions_{trigger}")
        connection.exec_driver_sql("DELETE FROM promotions WHERE number = 2")
    registry.set_champion(workspace.settings.mlflow_url, REGIONS, 1)
    with pytest.raises(RegistryError, match=r"^MLflow has record 2 about vitau-regions, and the catalog ends at 1: restore"):
        score_files(workspace)
    with workspace.catalog.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("""UPDATE promotions SET record = replace(record, '"after":1', '"after":2')""")
    registry.set_champion(workspace.settings.mlflow_url, REGIONS, 2)
    with pytest.raises(RegistryError, match=r"^record 1 of the promotions is changed after it was signed, so no version of"):
        score_files(workspace)
    with pytest.raises(RegistryError, match=r"^record 1 of the promotions is changed after it was signed, so no version of"):
        decided(workspace, 2)


def test_another_signing_key_stops_scoring_until_the_champion_is_approved_with_it(workspace, tmp_path):
    decided(workspace, 1)
    renewed = rekeyed(workspace, NEW_KEY)
    with pytest.raises(RegistryError, match=r"^record 1 of the promotions is signed with another key than VITAU_SIGNING_KEY"):
        score_files(renewed)
    with pytest.raises(SettingsError, match=r"^decisions about champions are signed: set VITAU_SIGNING_KEY"):
        score_files(rekeyed(workspace, None))
    decision = decided(renewed, 1, why="the key was changed")
    assert (decision.action, decision.before, decision.after, decision.record) == ("overridden", 1, 1, 2)
    assert decided(renewed, 1, why="once more").record == 2, "an approved champion needs no second record"
    assert score_files(renewed) == "weights 1"
    assert [entry.problem for entry in history(renewed)] == [None, None]
    address = f"models:/{REGIONS}@champion"
    for key, holds in ((NEW_KEY, True), (KEY, False)):
        options = {"public_key": public_key(key.encode())}
        if holds:
            pull(workspace.settings.mlflow_url, address, tmp_path / "model", **options)
        else:
            with pytest.raises(RegistryError, match=r"^the signature of vitau-regions version 1 is not one of key "):
                pull(workspace.settings.mlflow_url, address, tmp_path / "other", **options)


def test_only_approved_versions_are_signed_and_the_signature_names_nobody(workspace):
    url = workspace.settings.mlflow_url
    decided(workspace, 1)
    signatures = [registry.find_version(url, f"models:/{REGIONS}/{version}").signature for version in (1, 2)]
    assert len(signatures[0]) == 128
    assert signatures[1] is None
    roll_forward = decided(workspace, 2)
    assert (roll_forward.after, registry.find_version(url, f"models:/{REGIONS}/2").signature is None) == (2, False)
    MlflowClient(url).delete_model_version_tag(REGIONS, "2", registry.SIGNATURE_TAG)  # as in a state of an earlier version
    assert decided(workspace, 2).new is False
    assert registry.find_version(url, f"models:/{REGIONS}/2").signature is not None


def test_a_worker_waits_for_another_one_that_fetches_the_champion(workspace):
    decided(workspace, 1)
    part = workspace.folder("champions") / f".{REGIONS}-1-{training(1).model_digest[:16]}.partial"
    part.mkdir()
    handle = os.open(part, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    threading.Timer(0.5, os.close, [handle]).start()
    assert score_files(workspace) == "weights 1"


def test_readers_see_no_suggestion_of_a_model_that_no_record_approved(workspace):
    workspace.catalog.add_subject(Subject(pseudonym="p" * 32, cohort=Cohort.PALSY, source="synthetic"))
    score = ScoredSubject(model_digest=training(2).model_digest, subject="p" * 32, key="k", summary={})
    workspace.catalog.add_score(score)
    assert load_champion_scores(workspace).name == "vitau-regions/2", "before the first record, any model counts"
    decided(workspace, 1)
    assert load_champion_scores(workspace) is None
    decided(workspace, 2)
    assert load_champion_scores(workspace).name == "vitau-regions/2"
    workspace.catalog.add_score(replace(score, model_digest="f" * 64))
    assert load_champion_scores(workspace) is None


def test_the_record_has_the_digests_of_the_champion_after_it(workspace):
    decided(workspace, 1)
    [record] = workspace.catalog.promotions()
    assert record.facts["approved"]["digest"] == training(1).model_digest
    assert len(record.facts["approved"]["files"]) == 64
    assert json.loads(record.text)["algorithm"] == "Ed25519"
