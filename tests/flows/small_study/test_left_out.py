"""A small study on plain people: left out one at a time, trained on everybody, judged by that evidence; no service runs."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import pyarrow as pa
import pytest
from mlflow import MlflowClient

from flows.crossvalidation import fold_worker
from flows.erasure.objects import find_uses
from flows.monitor import unseen_people
from flows.promote import evaluate, promote_or_refuse
from flows.promotion.evaluation import gather
from flows.promotion.left_out import left_out_summaries
from flows.promotion.looks import count_looks, note_look
from flows.promotion.registered_models import PALSY, REGIONS
from flows.retraining.recipes import PlannedTraining, training_key
from flows.retraining.registration import register
from flows.small_study.left_out import leave_one_out, on_everybody, plan_small_study
from flows.workspace import Workspace
from tests.databases import empty_registry
from tests.flows.workspaces import offline_settings
from vitau.catalog.catalog import Training
from vitau.data.nuisance import RING_PX
from vitau.data.parquet import write_table
from vitau.data.snapshot import freeze, load, snapshot_schema
from vitau.errors import TrainingError
from vitau.evaluation.promotion import policy as policies
from vitau.evaluation.promotion.policy import SMOKE
from vitau.models.encoder import EncoderConfig
from vitau.models.generator import GeneratorConfig
from vitau.models.regions import RegionConfig
from vitau.models.vit import ViTConfig
from vitau.registry.tracking import EXPERIMENT
from vitau.schema import AUS, Cohort, Protocol, Split, Subject
from vitau.training import recipes
from vitau.training.config import Recipe, TrainConfig, balanced
from vitau.training.run import train

PALSIED = CONTROLS = 8
GENERATOR = GeneratorConfig(size=8, style_dim=8, mapping_layers=1, channel_multiplier=0.015625, max_channels=8)
ENCODER = EncoderConfig(input_size=64, units=(1, 1, 1, 1), widths=(4, 8, 8, 8), style_dim=8, num_styles=GENERATOR.num_styles)
LEAST = {
    "least-palsy": Recipe(
        name="least-palsy",
        kind="palsy",
        model=ViTConfig(input_size=16, patch_size=8, width=8, depth=1, heads=2, dropout=0.0),
        train=TrainConfig(epochs=6, batch_size=8, lr=1e-2, grad_clip=1.0, augmentation=None),
    ),
    "least-regions": Recipe(
        name="least-regions",
        kind="regions",
        model=RegionConfig(encoder=ENCODER, generator=GENERATOR, heatmap_size=8, sigma=2.0, dropout=0.0, mode="sided"),
        train=TrainConfig(epochs=1, batch_size=8, lr=1e-2, loss="mse"),
    ),
}
LEAST["other-palsy"] = replace(LEAST["least-palsy"], name="other-palsy", train=replace(LEAST["least-palsy"].train, epochs=5))


class Killed(BaseException):
    """The end of a process."""


@pytest.fixture(autouse=True)
def least_recipes(monkeypatch):
    """The least recipes, and a policy without floors that demands as many people as `patients` does."""
    functions = {name: lambda recipe=recipe: recipe for name, recipe in LEAST.items()}
    monkeypatch.setattr(recipes, "RECIPES", MappingProxyType(functions))
    lenient = replace(SMOKE, name="lenient", min_people=5, min_left_out=PALSIED)
    monkeypatch.setattr(policies, "POLICIES", MappingProxyType({**policies.POLICIES, "lenient": lenient}))


@pytest.fixture(scope="module")
def mlflow_template(tmp_path_factory):
    """An empty registry in a file; its artifacts are beside it."""
    folder = tmp_path_factory.mktemp("mlflow")
    client = MlflowClient(f"sqlite:///{shutil.copy(empty_registry(), folder / 'mlflow.db')}")
    client.create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").as_uri())
    return folder / "mlflow.db"


@pytest.fixture
def workspace(tmp_path, mlflow_template):
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    opened = Workspace(
        offline_settings(
            tmp_path,
            signing_key="signs in these tests only",
            mlflow_url=f"sqlite:///{tmp_path / 'mlflow.db'}",
            work=tmp_path / "state" / "work",
            num_trainings=1,
        )
    )
    yield opened
    opened.catalog.engine.dispose()


def picture(rng, *, palsied):
    """Return a gray crop; the face of a palsied person is brighter, and its ring is not: the camera reveals nobody."""
    gray = rng.integers(40, 90, (256, 256, 1), np.uint8)
    gray[RING_PX:-RING_PX, RING_PX:-RING_PX] += np.uint8(120 * palsied)
    return cv2.imencode(".png", np.repeat(gray, 3, axis=2))[1].tobytes()


def frozen(workspace, num_palsied=PALSIED, num_controls=CONTROLS, *, num_tested=1):
    """Freeze people with plain frames, 3 of controls and 2 of palsied people, who are brighter; return the digest."""
    rng, rows = np.random.default_rng(1), []
    for number in range(num_palsied + num_controls):
        palsied = number < num_palsied
        rank = number if palsied else number - num_palsied
        clip = f"{rank if palsied else 100 + rank:064x}"
        name = clip[-20:]
        workspace.catalog.add_subject(
            Subject(pseudonym=name, cohort=Cohort.PALSY if palsied else Cohort.CONTROL, source="synthetic")
        )
        key = f"subjects/{name}/clips/{clip}/frames-0.parquet"
        frames = [
            {
                "frame_index": index,
                "crop": picture(rng, palsied=palsied),
                "crop_landmarks": rng.uniform(60, 200, 136).astype(np.float32).tolist(),
            }
            for index in range(2 if palsied else 3)
        ]
        if not workspace.store.exists(key):
            write_table(workspace.store, key, pa.Table.from_pylist(frames))
        split = Split.TEST if rank < num_tested else Split.VAL if rank == num_tested else Split.TRAIN
        rows += [
            {"subject": name, "clip": clip, "frame_index": frame["frame_index"], "frames_key": key}
            | {"source": "synthetic", "cohort": "palsy" if palsied else "control"}
            | {"side": ("left", "right")[number % 2] if palsied else None, "split": split.value}
            | {au.value: palsied and (number + column) % 3 == 0 for column, au in enumerate(AUS)}
            for frame in frames
        ]
    snapshot = freeze(pa.Table.from_pylist(rows, schema=snapshot_schema()), workspace.store, 3)
    workspace.catalog.add_snapshot(snapshot)
    return snapshot.digest


def planned(snapshot, model=PALSY, recipe="least-palsy"):
    return PlannedTraining(model=model, recipe=recipe, snapshot=snapshot, key=training_key(recipe, snapshot))


def trained(workspace, training, recognition=None):
    """Leave everyone out, train on everybody and register, as `retrain` does, in this process."""
    leave_one_out(workspace, [training])
    everybody = training.protocol is Protocol.LOPO
    recipe, out = LEAST[training.recipe], workspace.folder("trainings") / training.key
    train(
        balanced(recipe) if training.balance_people else recipe,
        workspace.store,
        training.snapshot,
        out,
        everybody=everybody,
        cache=workspace.folder("crops"),
    )
    return register.fn(workspace, training, out, recognition)


def judged(workspace, training):
    return promote_or_refuse.fn(workspace, evaluate.fn(workspace, training), by="a test")


def reasons(workspace, model=PALSY):
    return {reason["check"]: reason for reason in workspace.catalog.promotions(model)[-1].facts["verdict"]["reasons"]}


def test_a_snapshot_that_holds_out_too_few_people_is_trained_on_everybody(workspace):
    snapshot = frozen(workspace)
    plans = {PALSY: planned(snapshot), REGIONS: planned(snapshot, REGIONS, "least-regions")}
    small = plan_small_study(workspace, plans, snapshot)
    assert {(own.protocol, own.balance_people) for own in small.values()} == {(Protocol.LOPO, True)}
    assert len({own.key for own in (*small.values(), *plans.values())}) == 4
    large = frozen(workspace, 12, 12, num_tested=5)
    assert plan_small_study(workspace, plans, large) == plans
    chosen = {
        protocol: Workspace(workspace.settings.model_copy(update={"protocol": protocol})) for protocol in ("subjects", "lopo")
    }
    assert plan_small_study(chosen["subjects"], plans, snapshot) == plans
    assert plan_small_study(chosen["lopo"], plans, large) == small
    with pytest.raises(TrainingError, match=r"2 palsied people and 6 others are in snapshot .*, too few to leave one out at"):
        plan_small_study(chosen["lopo"], plans, frozen(workspace, 2, 6))
    for other in chosen.values():
        other.catalog.engine.dispose()


def test_too_few_people_are_reported_with_what_more_are_needed_for(workspace, caplog):
    snapshot = frozen(workspace, 7, 6)
    caplog.set_level(logging.WARNING)
    assert plan_small_study(workspace, {PALSY: planned(snapshot)}, snapshot)[PALSY].protocol is Protocol.LOPO
    few = frozen(workspace, 2, 6)
    assert plan_small_study(workspace, {PALSY: planned(few)}, few) == {PALSY: planned(few)}
    needed = (
        "Leaving people out one at a time needs 3 palsied people and 5 others. A champion needs 8 of each left out, or 5 of "
        "each held out. An interval of ± 0.12 around an AUROC of 0.90 needs 15 of each."
    )
    refused = "too few to leave one out at a time: the models cannot become champions"
    assert [record.getMessage() for record in caplog.records] == [
        f"7 palsied people and 6 others are in snapshot {snapshot[:12]}, too few for a champion. {needed}",
        f"2 palsied people and 6 others are in snapshot {few[:12]}, {refused}. {needed}",
    ]


def test_a_small_study_ends_with_a_champion_whose_card_and_tags_say_by_which_evidence(workspace):
    training = trained(workspace, on_everybody(planned(frozen(workspace))))
    evidence = workspace.catalog.left_out(training.key)
    assert [own.num_folds for own in evidence[:PALSIED]] == [1] * PALSIED
    assert {own.num_frames for own in evidence} == {2, 3}
    decision = judged(workspace, training)
    assert (decision.action, decision.against) == ("promoted", ()), "by the policy for patients"
    test = training.metrics["test"]
    assert (test["protocol"], test["n_subjects"], test["n_palsied"]) == ("lopo", PALSIED + CONTROLS, PALSIED)
    assert test["auroc"] == reasons(workspace)["recognition, AUROC"]["numbers"]["challenger"] > 0.9
    explained = training.metrics["explanations"]
    assert (explained["n_people"], explained["n_frames"], explained["seen_in_training"]) == (PALSIED, 2 * PALSIED, True)
    assert reasons(workspace)["explanation of recognition"]["holds"] is None, "nobody is left who could test it"
    assert "- explanations, on 8 palsied people of training, 16 frames:" in (
        MlflowClient(workspace.settings.mlflow_url).get_model_version(PALSY, str(training.version)).description
    )
    version = MlflowClient(workspace.settings.mlflow_url).get_model_version(PALSY, str(training.version))
    assert (version.tags["protocol"], version.tags["evidence"]) == ("lopo", "leave one person out, n = 8")
    for line in (
        "- evidence: leave one person out, n = 8",
        "- n subjects on people left out one at a time: 16",
        "These people were looked at once: a look is one model that was evaluated on them.",
    ):
        assert line in version.description.splitlines()
    assert "each palsied person was left out once. This model was then trained on everybody." in version.description
    facts = workspace.catalog.promotions(PALSY)[-1].facts["evidence"]
    assert {name: facts[name] for name in ("protocol", "kind", "looks")} == {
        "protocol": "lopo",
        "kind": "leave one person out, n = 8",
        "looks": 1,
    }
    sheet = MlflowClient(workspace.settings.mlflow_url).download_artifacts(version.run_id, "EVIDENCE.md")
    text = Path(sheet).read_text()
    assert "leave one person out, n = 8; the splits were not used" in text
    assert not any(own.subject in text + version.description + json.dumps(training.metrics) for own in evidence)


def test_without_the_predictions_of_people_left_out_nothing_is_promoted(workspace):
    """A model that was trained on everybody knows its test people: its own scores of them are no evidence."""
    snapshot = frozen(workspace)
    own, out = planned(snapshot), workspace.folder("trainings") / "by-hand"
    train(LEAST["least-palsy"], workspace.store, snapshot, out, everybody=True)
    training = register.fn(workspace, replace(own, key="by-hand"), out)
    assert "test" not in training.metrics
    decision = judged(workspace, training)
    assert decision.action == "refused"
    assert decision.against[0] == "0 palsied people and 0 others were left out one at a time; 8 of each are needed"


def test_killed_in_any_fold_and_started_again_it_stores_the_same_evidence(workspace, tmp_path, monkeypatch):
    training = on_everybody(planned(frozen(workspace)))
    count, train_fold = [], fold_worker.train_fold

    def one_fold(*arguments, **options):
        if count:
            raise Killed
        count.append(1)
        return train_fold(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(fold_worker, "train_fold", one_fold)
        for _ in range(PALSIED):
            assert workspace.catalog.left_out(training.key) == []
            count.clear()
            try:
                leave_one_out(workspace, [training])
            except Killed:
                continue
    killed = workspace.catalog.left_out(training.key)
    other = Workspace(workspace.settings.model_copy(update={"work": tmp_path / "another"}))
    leave_one_out(other, [replace(training, key="whole")])
    assert [replace(own, training="whole") for own in killed] == workspace.catalog.left_out("whole")
    assert len(killed) == PALSIED + CONTROLS
    monkeypatch.setattr(fold_worker, "train_fold", one_fold)
    leave_one_out(workspace, [training])  # it would raise if a fold were trained again
    other.catalog.engine.dispose()


def test_nobody_is_left_out_who_trains_under_another_name(workspace):
    """Two subjects of a snapshot turn out to be one person."""
    snapshot = frozen(workspace)
    workspace.catalog.merge(f"{2:020x}", f"{3:020x}", why="the same face")
    with pytest.raises(TrainingError, match=rf"1 person has two names in snapshot {snapshot[:12]}, .* run `python -m flows fr"):
        leave_one_out(workspace, [on_everybody(planned(snapshot))])
    assert not workspace.folder("left-out").joinpath("folds").exists(), "nothing was trained"


def test_a_challenger_is_compared_with_the_champion_on_the_same_people_left_out_by_both(workspace):
    snapshot = frozen(workspace)
    lenient = Workspace(workspace.settings.model_copy(update={"policy": "lenient"}))
    assert judged(lenient, trained(lenient, on_everybody(planned(snapshot)))).action == "promoted"
    challenger = trained(lenient, on_everybody(planned(snapshot, recipe="other-palsy")))
    judged(lenient, challenger)
    found = reasons(lenient)
    assert "people in common" not in found, "both were tested on everybody"
    assert found["held-out people"]["numbers"] == {"palsied": PALSIED, "others": CONTROLS, "limit": PALSIED}
    assert "against the champion's" in found["recognition, balanced accuracy"]["sentence"]
    assert lenient.catalog.promotions(PALSY)[-1].facts["evidence"]["looks"] == 2
    lenient.catalog.engine.dispose()


def test_a_champion_that_held_people_out_is_compared_on_those_only(workspace):
    snapshot = frozen(workspace, num_tested=2)
    champion = trained(workspace, planned(snapshot))
    explained = champion.metrics["explanations"]
    assert (explained["n_people"], explained["seen_in_training"]) == (2, False), "the palsied people who were held out"
    challenger = trained(workspace, on_everybody(planned(snapshot)))
    evidence = gather(workspace, challenger, champion)
    assert evidence.people.protocol is Protocol.LOPO
    assert (~np.isnan(evidence.champion.palsy_S)).tolist() == [row in {0, 1, 8, 9} for row in range(16)]
    turned = gather(workspace, champion, challenger)
    assert (len(turned.people.subjects), turned.num_left_out) == (4, 0)
    left_out = {own.subject: own.palsy_score for own in workspace.catalog.left_out(challenger.key)}
    assert turned.champion.palsy_S.tolist() == [left_out[name] for name in turned.people.subjects]


def test_regions_are_judged_by_the_people_left_out_by_both_models_of_the_bundle(workspace):
    snapshot = frozen(workspace)
    palsy = trained(workspace, on_everybody(planned(snapshot)))
    regions = trained(workspace, on_everybody(planned(snapshot, REGIONS, "least-regions")), palsy)
    of_bundle = dict(regions.metrics["explanations"])
    assert of_bundle.pop("heatmaps")["pointing"] >= 0
    assert of_bundle.pop("region_gradcam")["pointing"] >= 0
    assert of_bundle == palsy.metrics["explanations"], "of the recognition in the bundle"
    evidence = gather(workspace, regions, None)
    assert len(evidence.people.subjects) == PALSIED + CONTROLS
    by_name = {own.subject: own for own in workspace.catalog.left_out(palsy.key)}
    assert evidence.challenger.palsy_S.tolist() == [by_name[name].palsy_score for name in evidence.people.subjects]
    assert evidence.challenger.threshold.tolist() == [by_name[name].threshold for name in evidence.people.subjects]
    own = workspace.catalog.left_out(regions.key)
    assert len(own) == PALSIED
    assert evidence.challenger.region_SA[0].tolist() == [own[0].regions[au] for au in AUS]
    test = regions.metrics["test"]
    assert (test["protocol"], test["n_subjects"], test["sides"]["n_subjects"]) == ("lopo", PALSIED, PALSIED)
    summaries = left_out_summaries(workspace, regions)
    rows = pa.table({"subject": list(summaries), "split": ["train"] * len(summaries)})
    assert unseen_people(rows, summaries) == set(by_name), "monitoring expects the scores of people left out"
    assert count_looks(workspace, snapshot, Protocol.LOPO) == 2


def test_looks_at_the_same_people_in_another_snapshot_are_counted(workspace):
    snapshot, more = frozen(workspace, num_tested=2), frozen(workspace, PALSIED, CONTROLS + 1, num_tested=2)

    def look(digest, protocol, purpose="promotion"):
        note_look(workspace, snapshot=snapshot, protocol=protocol, model=PALSY, digest=digest, purpose=purpose)
        return [count_looks(workspace, known, Protocol.SUBJECTS) for known in (snapshot, more)]

    assert look("a", Protocol.SUBJECTS) == [1, 1]
    assert look("a", Protocol.SUBJECTS, "report") == [1, 1], "the same model on the same people is one look"
    assert look("a", Protocol.LOPO) == [2, 2], "leaving people out one at a time looks at the test people too"
    others = pa.Table.from_pylist(
        [row | {"subject": "f" * 20} for row in load(workspace.store, snapshot).to_pylist()[:2]], schema=snapshot_schema()
    )
    assert count_looks(workspace, freeze(others, workspace.store, 3).digest, Protocol.SUBJECTS) == 0


def test_the_erasure_of_a_test_person_marks_a_model_that_was_trained_on_everybody(workspace):
    snapshot = frozen(workspace)
    for version, protocol in enumerate(("subjects", "lopo"), start=1):
        digest = str(version) * 64
        training = Training(
            key=digest,
            model=PALSY,
            recipe="least-palsy",
            snapshot=snapshot,
            model_digest=digest,
            model_key=digest,
            version=version,
            run_id="",
            metrics={"protocol": protocol},
        )
        workspace.catalog.add_training(training)
    assert find_uses(workspace, {f"{0:020x}"}).trained == (f"{PALSY}/2",)
    assert sorted(find_uses(workspace, {f"{5:020x}"}).trained) == [f"{PALSY}/1", f"{PALSY}/2"]
