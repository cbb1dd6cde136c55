"""Promotion with trained models, a real registry and the real commands: refused, promoted, rolled back."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from flows.promote import evaluate, promote_or_refuse
from flows.promotion.registered_models import PALSY, REGIONS, known_training
from flows.retraining.recipes import PlannedTraining, training_key
from flows.retraining.registration import register
from flows.settings import Settings
from flows.workspace import Workspace
from vitau.catalog.catalog import Training
from vitau.data import snapshot as snapshots
from vitau.data.nuisance import RING_PX
from vitau.models.vit import ViTConfig
from vitau.registry import registry
from vitau.schema import AUS, Split
from vitau.scoring.predict import Predictor
from vitau.store import open_store
from vitau.training import recipes
from vitau.training.recipes import tiny_palsy, tiny_regions, tiny_sided
from vitau.training.run import train

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]

KEY = "signs the decisions of these tests only"
TRAIN, VAL, TEST = 64, 16, 40
QUICK_REGIONS = replace(
    tiny_regions(), name="quick-regions", pretrain=None, drawn=None, train=replace(tiny_regions().train, epochs=1, lr=1e-3)
)
RECIPES = {
    "quick-palsy": replace(
        tiny_palsy(),
        name="quick-palsy",
        pretrain=None,
        drawn=None,
        model=ViTConfig(input_size=32, patch_size=8, width=32, depth=2, heads=2, stem="conv", dropout=0.0),
        train=replace(tiny_palsy().train, epochs=16, batch_size=16, lr=2e-3),
    ),
    "quick-regions": QUICK_REGIONS,
    "quick-sided": replace(QUICK_REGIONS, name="quick-sided", model=tiny_sided().model),
}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Three recognitions: trained on half of the signs, on swapped labels, and on all signs."""

    workspace: Workspace
    environment: dict[str, str]
    half: Training
    swapped: Training
    whole: Training


@pytest.fixture(scope="module")
def trained(services, own_mlflow, tmp_path_factory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("promotion")
    settings = Settings(
        store=(folder / "store").as_uri(),
        catalog=SecretStr(f"sqlite:///{folder / 'catalog.db'}"),
        pseudonym_key=SecretStr("the key of these tests"),
        signing_key=SecretStr(KEY),
        label_studio_url="http://127.0.0.1:9",
        label_studio_token=SecretStr("none"),
        mlflow_url=own_mlflow,
        work=folder / "work",
    )
    workspace = Workspace(settings)
    environment = services.environment | {
        "VITAU_STORE": settings.store,
        "VITAU_CATALOG": f"sqlite:///{folder / 'catalog.db'}",
        "VITAU_SIGNING_KEY": KEY,
        "VITAU_MLFLOW_URL": own_mlflow,
        "VITAU_WORK": str(folder / "work"),
    }
    with pytest.MonkeyPatch.context() as patch:
        quick = MappingProxyType({name: lambda recipe=recipe: recipe for name, recipe in RECIPES.items()})
        patch.setattr(recipes, "RECIPES", quick)
        models = [
            train_and_register(workspace, PALSY, freeze(workspace, half=half, swapped=swapped))
            for half, swapped in ((True, False), (False, True), (False, False))
        ]
        yield Trained(workspace=workspace, environment=environment, half=models[0], swapped=models[1], whole=models[2])
    workspace.catalog.engine.dispose()


def freeze(workspace: Workspace, *, half: bool, swapped: bool) -> str:
    """Freeze people whose palsy makes the upper half of the face brighter and the lower one striped, more or less.

    The ring around the face is alike for all, so that the shortcut probe finds nothing.

    With ``half``, no person in training has stripes; with ``swapped``, their labels are the opposite. Test people are the
    same each time, and their labels are right.
    """
    rng = np.random.default_rng(3)
    store, rows = open_store(workspace.settings.store), []
    splits = [Split.TRAIN] * TRAIN + [Split.VAL] * VAL + [Split.TEST] * TEST
    palsied = np.arange(len(splits)) % 2 == 1
    upper = 100 + 55 * palsied + rng.normal(0, 25, len(splits))
    stripes = 10 + 50 * palsied + rng.normal(0, 12, len(splits))
    affected = palsied[:, None] & (rng.random((len(splits), 8)) < 0.5)
    labeled = palsied.copy()
    if swapped:
        labeled[: TRAIN + VAL] = ~palsied[: TRAIN + VAL]
    for person, split in enumerate(splits):
        blank = half and split is not Split.TEST
        clip = f"{person + 1000 * blank:064x}"
        key = f"subjects/p{person:03d}/clips/{clip}/frames-0.parquet"
        frames = [
            {
                "frame_index": frame,
                "crop": picture(upper[person] + frame, 0 if blank else stripes[person]),
                "crop_landmarks": rng.uniform(60, 200, 136).astype(np.float32).tolist(),
            }
            for frame in range(2)
        ]
        if not store.exists(key):
            sink = pa.BufferOutputStream()
            pq.write_table(pa.Table.from_pylist(frames), sink)
            store.put(key, sink.getvalue().to_pybytes())
        rows += [
            {"subject": f"p{person:03d}", "clip": clip, "frame_index": frame, "frames_key": key, "source": "synthetic"}
            | {
                "cohort": "palsy" if labeled[person] else "control",
                "side": "left" if labeled[person] else None,
                "split": split.value,
            }
            | {au.value: bool(labeled[person] and affected[person, column]) for column, au in enumerate(AUS)}
            for frame in range(2)
        ]
    frozen = snapshots.freeze(pa.Table.from_pylist(rows, schema=snapshots.snapshot_schema()), store, 1)
    workspace.catalog.add_snapshot(frozen)
    return frozen.digest


def picture(upper: float, stripes: float) -> bytes:
    image = np.full((256, 256, 3), np.clip(upper, 0, 255), np.uint8)
    image[128:] = np.clip(128 + stripes * np.sign(np.sin(np.arange(256) * 2 * np.pi / 64)), 0, 255)[:, None]
    for edge in (np.s_[:RING_PX], np.s_[-RING_PX:], np.s_[:, :RING_PX], np.s_[:, -RING_PX:]):
        image[edge] = 128
    return cv2.imencode(".png", image)[1].tobytes()


def train_and_register(
    workspace: Workspace, model: str, snapshot: str, recognition: Training | None = None, recipe: str | None = None
) -> Training:
    """Train and register a model in this process, as `retrain` does."""
    name = recipe or f"quick-{model.removeprefix('vitau-')}"
    out = workspace.folder("trainings") / f"{name}-{snapshot[:8]}"
    train(RECIPES[name], workspace.store, snapshot, out, cache=workspace.folder("crops"))
    trained = PlannedTraining(model=model, recipe=name, snapshot=snapshot, key=training_key(name, snapshot))
    return register.fn(workspace, trained, out, recognition)


@pytest.fixture(scope="module")
def outcomes(trained, command):
    """Run the commands one after the other and return their results by name."""

    def run(*arguments: object):
        return command("flows", *arguments, env=trained.environment)

    first = run("promote", PALSY, trained.half.version)
    return {
        "first": first,
        "swapped": run("promote", PALSY, trained.swapped.version),
        "better": run("promote"),
        "again": run("promote"),
        "rollback": run("rollback", PALSY, "--why", "a second look", "--by", "ada"),
        "history": run("history"),
    }


def decisions(done) -> dict[str, object]:
    found = json.loads(done.out)
    return found[0] if isinstance(found, list) else found


def test_a_first_model_is_held_to_the_floors_and_becomes_champion(outcomes):
    assert outcomes["first"].code == 0, outcomes["first"].err
    found = decisions(outcomes["first"])
    assert (found["action"], found["before"], found["after"], found["against"]) == ("promoted", None, 1, [])


def test_a_challenger_trained_on_swapped_labels_is_refused_with_the_reasons(outcomes):
    assert outcomes["swapped"].code == 1
    found = decisions(outcomes["swapped"])
    assert (found["action"], found["before"], found["after"]) == ("refused", 1, 1)
    assert any(
        reason.startswith("recognition, AUROC is 0.") and "at least 0.7 is needed" in reason for reason in found["against"]
    )
    assert any("against the champion's" in reason and "worse by more than 0.05" in reason for reason in found["against"])
    assert outcomes["swapped"].err.startswith("vitau-palsy version 2: refused; champion is 1\n  recognition, AUROC is")
    assert "Traceback" not in outcomes["swapped"].err


def test_a_better_one_is_promoted_and_a_repeated_command_changes_nothing(outcomes, trained):
    found = decisions(outcomes["better"])
    assert (found["action"], found["before"], found["after"], found["new"]) == ("promoted", 1, 3, True)
    record = trained.workspace.catalog.promotions(PALSY)[2]
    assert any(reason["sentence"].endswith(", better") for reason in record.facts["verdict"]["reasons"])
    assert (record.facts["digest"], record.facts["champion_digest"]) == (trained.whole.model_digest, trained.half.model_digest)
    assert (record.facts["verdict"]["num_people"], record.facts["verdict"]["num_palsied"]) == (TEST, TEST // 2)
    assert decisions(outcomes["again"]) == found | {"new": False}


def test_one_command_restores_the_previous_champion_and_the_next_pull_gets_it(outcomes, trained, tmp_path):
    assert outcomes["rollback"].code == 0, outcomes["rollback"].err
    assert outcomes["rollback"].err.endswith("vitau-palsy version 3: rolled back; champion is 1\n")
    pulled = registry.download(trained.workspace.settings.mlflow_url, f"models:/{PALSY}@champion", tmp_path)
    first = Predictor(trained.workspace.settings.work / "candidates" / trained.half.model_digest)
    assert Predictor(pulled).digest == first.digest


def test_the_history_lists_every_decision_and_every_signature_holds(outcomes):
    assert outcomes["history"].code == 0, outcomes["history"].err
    lines = [line for line in outcomes["history"].out.splitlines() if not line.startswith("        ")]
    assert ["promoted" in lines[0], "refused" in lines[1], "promoted" in lines[2], "rolled back" in lines[3]] == [True] * 4
    assert "by operator ada  why: a second look" in lines[3]
    assert all(line.endswith("[signature holds]") for line in lines)


def test_regions_are_judged_with_the_recognition_they_carry(trained, outcomes):
    carried = known_training(trained.workspace, PALSY, trained.swapped.version)
    regions = train_and_register(trained.workspace, REGIONS, trained.whole.snapshot, carried)
    found = promote_or_refuse.fn(trained.workspace, evaluate.fn(trained.workspace, regions), by="a test")
    assert found.action == "refused"
    assert any(reason.startswith("recognition, AUROC") for reason in found.against)
    (record,) = [record for record in trained.workspace.catalog.promotions(REGIONS) if record.version == regions.version]
    assert {f"{au}, AUROC" for au in AUS} <= {reason["check"] for reason in record.facts["verdict"]["reasons"]}
    assert regions.metrics["recognition"] == f"{PALSY}/{trained.swapped.version}"


def test_a_challenger_with_sides_is_judged_beside_a_champion_without_and_both_stay_usable(trained, outcomes, tmp_path):
    workspace, snapshot = trained.workspace, trained.half.snapshot
    carried = known_training(workspace, PALSY, trained.whole.version)
    paired = train_and_register(workspace, REGIONS, snapshot, carried)
    sided = train_and_register(workspace, REGIONS, snapshot, carried, "quick-sided")
    for version in (paired, sided):
        judged = evaluate.fn(workspace, version, again=True, why="the first of its kind")
        promote_or_refuse.fn(workspace, judged, by="a test", why="the first of its kind")
        folder = registry.download(workspace.settings.mlflow_url, f"models:/{REGIONS}@champion", tmp_path / version.recipe)
        (face,) = Predictor(folder).score_crops(np.zeros((1, 256, 256, 3), np.uint8), analyse_all=True).region_NA
        assert np.isfinite(face).all()
    record = workspace.catalog.promotions(REGIONS)[-1]
    assert (record.version, record.before, record.after) == (sided.version, paired.version, sided.version)
    reasons = {reason["check"]: reason for reason in record.facts["verdict"]["reasons"]}
    assert reasons["affected side, share of correct answers"]["numbers"]["people"] == TEST // 2
    assert "regions, mean AUROC" in reasons
    back = evaluate.fn(workspace, paired, again=True, why="the paper's")
    (kept,) = [one for one in back.facts["verdict"]["reasons"] if one["check"] == "affected side"]
    assert kept["sentence"] == "the champion names the affected side, and the challenger does not"


def test_a_model_that_was_trained_by_hand_is_registered_once_and_judged_by_the_same_policy(
    trained, outcomes, command, tmp_path
):
    out = tmp_path / "run"
    train(recipes.smoke_palsy(), trained.workspace.store, trained.whole.snapshot, out)
    first = command("flows", "register", out, "--by", "ada", env=trained.environment)
    again = command("flows", "register", out, "--by", "ada", env=trained.environment)
    assert (first.code, again.code) == (0, 0), first.err + again.err
    found = json.loads(first.out)
    assert found == json.loads(again.out), "the second command registered nothing"
    training = known_training(trained.workspace, PALSY, found[PALSY]["version"])
    assert (training.recipe, training.snapshot) == ("smoke-palsy", trained.whole.snapshot)
    record = trained.workspace.catalog.promotions(PALSY)[-1]
    assert (record.version, record.facts["by"]) == (training.version, "operator ada")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "has no metrics.json: give the --out of a `python -m vitau.training` that is complete"),
        ({"metrics.json": "{"}, "metrics.json is damaged (JSONDecodeError): train again"),
    ],
)
def test_a_folder_that_holds_no_training_is_one_sentence(trained, command, tmp_path, content, sentence):
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    done = command("flows", "register", tmp_path, env=trained.environment)
    assert done.code == 1
    assert done.err.splitlines()[-1].endswith(sentence)
