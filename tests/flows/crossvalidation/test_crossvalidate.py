"""Cross-validation of tiny models on fourteen plain people: no service, folds in this process or in two."""

import csv
import fcntl
import os
import stat
from dataclasses import replace

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.crossvalidation import crossvalidate, fold_worker
from flows.crossvalidation.crossvalidate import choose_recipes, conclude, lease_gpu, plan, train_folds
from flows.crossvalidation.folder import only_run
from flows.crossvalidation.tables import COLUMNS, flattery, summary_rows
from flows.erasure.files import erase_local_files
from flows.erasure.living import load_living
from flows.erasure.traces import Traces
from flows.execution.gpus import Gpu
from flows.workspace import PrivatePath, Workspace
from tests.flows.workspaces import offline_workspace
from vitau.data.parquet import write_table
from vitau.data.snapshot import freeze, snapshot_schema
from vitau.errors import TrainingError
from vitau.models.encoder import EncoderConfig
from vitau.models.generator import GeneratorConfig
from vitau.models.regions import RegionConfig
from vitau.models.vit import ViTConfig
from vitau.schema import AUS, Cohort, Protocol, Subject
from vitau.training.config import Recipe, TrainConfig
from vitau.training.reporting.shortcuts import probe_snapshot

ALL = (Protocol.SUBJECTS, Protocol.LOPO, Protocol.FRAMES)
PALSIED = CONTROLS = 7
GENERATOR = GeneratorConfig(size=8, style_dim=8, mapping_layers=1, channel_multiplier=0.015625, max_channels=8)
ENCODER = EncoderConfig(input_size=64, units=(1, 1, 1, 1), widths=(4, 8, 8, 8), style_dim=8, num_styles=GENERATOR.num_styles)
RECIPES = {
    "palsy": Recipe(
        name="least-palsy",
        kind="palsy",
        model=ViTConfig(input_size=16, patch_size=8, width=8, depth=1, heads=2, dropout=0.0),
        train=TrainConfig(epochs=1, batch_size=8, lr=1e-2, grad_clip=1.0),
    ),
    "regions": Recipe(
        name="least-regions",
        kind="regions",
        model=RegionConfig(encoder=ENCODER, generator=GENERATOR, heatmap_size=8, sigma=2.0, dropout=0.0, mode="sided"),
        train=TrainConfig(epochs=1, batch_size=8, lr=1e-2, loss="mse"),
    ),
}


class Killed(BaseException):
    """The end of a process."""


@pytest.fixture
def workspace(tmp_path):
    with offline_workspace(tmp_path, work=tmp_path / "state" / "work", num_trainings=1) as opened:
        yield opened


def brighter(rng, number):
    """Return a function that draws a frame; palsied people are brighter."""
    palsied = number < PALSIED
    return lambda: rng.integers(40, 130, (256, 256, 3), np.uint8) + np.uint8(60 * palsied)


def own_look(rng, number):
    """Return a function that draws a frame of a person, whose pattern no other person has."""
    look = np.kron(rng.integers(0, 256, (16, 16, 3)), np.ones((16, 16, 1))).astype(np.int16)
    return lambda: (look + rng.integers(-4, 5, look.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def snapshot(workspace):
    """The digest of a snapshot of people with 3 plain frames each; palsied people are brighter."""
    return write_people(workspace, brighter)


def write_people(workspace, look):
    """Freeze people with 3 frames each, drawn by the function that ``look`` returns of each; return the digest."""
    rng, rows = np.random.default_rng(1), []
    for number in range(PALSIED + CONTROLS):
        palsied, name = number < PALSIED, f"person-{number:02d}"
        key, draw = f"subjects/{name}/clips/{number:064x}/frames-0.parquet", look(rng, number)
        frames = [
            {
                "frame_index": index,
                "crop": cv2.imencode(".png", draw())[1].tobytes(),
                "crop_landmarks": rng.uniform(60, 200, 136).astype(np.float32).tolist(),
            }
            for index in range(3)
        ]
        write_table(workspace.store, key, pa.Table.from_pylist(frames))
        labels = {au.value: palsied and bool(rng.random() < 0.5) for au in AUS}
        split = ("train", "train", "train", "train", "val", "val", "test")[number % 7]
        rows += [
            {"subject": name, "clip": f"{number:064x}", "frame_index": index, "frames_key": key, "source": "synthetic"}
            | {"cohort": "palsy" if palsied else "control", "side": ("left", "right")[number % 2] if palsied else None}
            | {"split": split, **labels}
            for index in range(3)
        ]
    return freeze(pa.Table.from_pylist(rows, schema=snapshot_schema()), workspace.store, 3).digest


def run(workspace, snapshot, out, protocols=ALL, *, num_seeds=1, recipes=RECIPES, **options):
    living = load_living(workspace, snapshot)
    study = plan(snapshot, living, recipes, protocols, num_seeds, **options)
    with only_run(out):
        tables = train_folds(workspace, study, living, {}, out)
        return conclude(study, living, tables, out)


def folds(out):
    return sorted(path.name for path in (out / "folds").iterdir())


def test_three_protocols_are_in_one_table_and_the_differences_beside_them(workspace, snapshot, tmp_path):
    results = run(workspace, snapshot, tmp_path / "out", num_seeds=2)
    rows = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    assert all((row["score"] is None) == (row["task"] == "regions") == (row["right_score"] is not None) for row in rows)
    lines = list(csv.DictReader((tmp_path / "out" / "table.csv").read_text().splitlines()))
    assert tuple(lines[0]) == COLUMNS
    people = {
        (line["task"], line["protocol"]): (line["people"], line["folds"], line["seeds"], line["synthetic"])
        for line in lines
        if not line["minus"] and line["level"] == "person"
    }
    assert people == {
        ("palsy", "subjects"): ("2", "1", "2", "true"),
        ("palsy", "lopo"): ("14", "7", "2", "true"),
        ("palsy", "frames"): ("14", "5", "2", "true"),
        ("regions", "subjects"): ("1", "1", "2", "true"),
        ("regions", "lopo"): ("7", "7", "2", "true"),
        ("regions", "frames"): ("7", "5", "2", "true"),
        ("side", "subjects"): ("1", "1", "2", "true"),
        ("side", "lopo"): ("7", "7", "2", "true"),
        ("side", "frames"): ("7", "5", "2", "true"),
        ("region sides", "subjects"): ("1", "1", "2", "true"),
        ("region sides", "lopo"): ("7", "7", "2", "true"),
        ("region sides", "frames"): ("7", "5", "2", "true"),
    }
    sides = results.of(Protocol.LOPO, "region sides")
    assert list(sides.by_question)[:3] == ["AU1_right", "AU1_left", "AU2_right"]
    assert 0 <= sides.metrics["ece"].value <= 1
    region = [row for row in rows if row["task"] == "regions"]
    assert all(0 <= row[f"{au}_{side}"] <= 1 for row in region for au in AUS for side in ("right", "left"))
    differences = {
        (line["protocol"], line["minus"], line["people"]) for line in lines if line["minus"] and line["task"] == "palsy"
    }
    assert differences == {("frames", "subjects", "2"), ("frames", "lopo", "14"), ("subjects", "lopo", "2")}
    assert results.of(Protocol.LOPO, "palsy").num_palsied == PALSIED
    page, table = ((tmp_path / "out" / name).read_text() for name in ("report.html", "table.md"))
    for text in (page, table, (tmp_path / "out" / "table.csv").read_text()):
        assert "person-" not in text
    assert "Synthetic." in page
    for text in (page, table):
        assert "At most 7 palsied people are tested" in text
        assert "its numbers promise nothing about new people" in text
    assert "(synthetic)" in table
    assert "`frames` − `lopo`" in table
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}


def test_the_page_shows_by_how_much_frames_flatters_where_people_share_nothing_with_their_cohort(workspace, tmp_path):
    digest = write_people(workspace, own_look)
    recipe = RECIPES["palsy"]
    long = replace(recipe, train=replace(recipe.train, epochs=12, augmentation=None))
    results = run(workspace, digest, tmp_path / "out", recipes={"palsy": long})
    auroc = {protocol: results.of(protocol, "palsy").metrics["auroc"].value for protocol in ALL}
    assert auroc[Protocol.FRAMES] == 1, "looks can be learned by heart"
    assert auroc[Protocol.LOPO] < 0.7, "and promise nothing about other people"
    found = {(row.other, row.level, row.metric): row for row in results.differences if row.protocol is Protocol.FRAMES}
    by_person = found[Protocol.LOPO, "person", "auroc"]
    assert by_person.value == pytest.approx(1 - auroc[Protocol.LOPO])
    shown = "; ".join(
        f"{metric_name} {value('person')} by person, {value('frame')} by frame"
        for metric_name, metric in (("AUROC", "auroc"), ("accuracy", "accuracy"))
        for value in [lambda level, metric=metric: words_of(found[Protocol.LOPO, level, metric])]
    )
    sentence = f"Recognition, 14 people: `frames` flatters. `frames` minus `lopo`: {shown}."
    assert list(flattery(results))[-1] == sentence
    assert sentence in (tmp_path / "out" / "table.md").read_text()
    assert sentence.replace("`", "") in (tmp_path / "out" / "report.html").read_text()


def words_of(difference):
    low, high = difference.interval
    return f"{difference.value:+.3f} [{low:+.3f}, {high:+.3f}]"


def test_few_people_do_not_show_that_frames_flatters(workspace, snapshot, tmp_path):
    results = run(
        workspace, snapshot, tmp_path / "out", (Protocol.FRAMES, Protocol.SUBJECTS), recipes={"palsy": RECIPES["palsy"]}
    )
    (sentence,) = flattery(results)
    assert sentence.startswith("Recognition, 2 people: it is not shown that `frames` flatters. `frames` minus `subjects`: ")


def test_the_shortcut_probe_stands_beside_the_auroc_of_the_model_in_every_output(workspace, snapshot, tmp_path):
    out, living = tmp_path / "out", load_living(workspace, snapshot)
    study = plan(snapshot, living, {"palsy": RECIPES["palsy"]}, (Protocol.SUBJECTS,), 1)
    probe = probe_snapshot(workspace.store, living.rows)
    assert probe.auroc.value == 1, "the pictures of palsied people are brighter, their rings too"
    results = conclude(study, living, train_folds(workspace, study, living, {}, out), out, probe)
    lines = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    (line,) = [line for line in lines if line["task"] == "shortcut probe"]
    assert {name: line[name] for name in ("level", "metric", "value", "people", "palsied")} == {
        "level": "person",
        "metric": "auroc",
        "value": "1.000000",
        "people": "14",
        "palsied": "7",
    }
    auroc = next(line for line in lines if (line["task"], line["level"], line["metric"]) == ("palsy", "person", "auroc"))
    assert float(auroc["value"]) == pytest.approx(results.of(Protocol.SUBJECTS, "palsy").metrics["auroc"].value)
    *rows, last = summary_rows(results)
    assert [row[0] for row in rows] == ["palsy", "palsy"]
    assert (last[0], last[3], last[4][:5]) == ("shortcut probe", "14", "1.000")
    beside = "predicts the cohort of a person from how other people were recorded: AUROC 1.000"
    for text in ((out / "table.md").read_text(), (out / "report.html").read_text()):
        assert beside in text
        assert "Confounded sources: " in text
        assert "on 7 palsied people and 7 others" in text


def test_lopo_predicts_people_left_out_and_frames_predicts_people_seen_in_training(workspace, snapshot, tmp_path):
    run(workspace, snapshot, tmp_path / "out", (Protocol.LOPO, Protocol.FRAMES), recipes={"palsy": RECIPES["palsy"]})
    rows = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    tested = {}
    for row in rows:
        tested.setdefault((row["protocol"], row["fold"]), set()).add(row["subject"])
    lopo = [people for (protocol, _), people in tested.items() if protocol == "lopo"]
    assert [sum(name < f"person-{PALSIED:02d}" for name in people) for people in lopo] == [1] * PALSIED
    frames = [people for (protocol, _), people in tested.items() if protocol == "frames"]
    assert sum(map(len, frames)) > PALSIED + CONTROLS, "a person is tested in one fold and trained on in it or another"
    by_frame = [(row["subject"], row["frame_index"]) for row in rows if row["protocol"] == "frames"]
    assert len(by_frame) == len(set(by_frame)) == 3 * (PALSIED + CONTROLS)


def test_killed_after_any_fold_and_started_again_it_writes_the_same_table(workspace, snapshot, tmp_path, monkeypatch):
    recipes = {"palsy": RECIPES["palsy"]}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(workspace, snapshot, whole, (Protocol.LOPO,), recipes=recipes)
    trained, train_fold = [], fold_worker.train_fold

    def train_one(*args, **options):
        if trained:
            raise Killed
        trained.append(options["identity"])
        return train_fold(*args, **options)

    for number in range(1, PALSIED):
        trained.clear()
        with monkeypatch.context() as patch:
            patch.setattr(fold_worker, "train_fold", train_one)
            with pytest.raises(Killed):
                run(workspace, snapshot, killed, (Protocol.LOPO,), recipes=recipes)
        assert len(folds(killed)) == number
    run(workspace, snapshot, killed, (Protocol.LOPO,), recipes=recipes)
    for name in ("table.csv", "table.md", "report.html", "predictions.parquet"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    assert folds(killed) == folds(whole)


def test_a_fold_that_is_trained_keeps_the_next_run_from_starting(workspace, snapshot, tmp_path, monkeypatch):
    """A worker outlives its killed run for a moment, and must not lose the file that it writes."""
    held, train_fold = [], fold_worker.train_fold

    def train_one(*args, **options):
        descriptor = os.open(tmp_path / "out" / "folds", os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
        held.append(options["identity"])
        return train_fold(*args, **options)

    monkeypatch.setattr(fold_worker, "train_fold", train_one)
    run(workspace, snapshot, tmp_path / "out", (Protocol.SUBJECTS,), recipes={"palsy": RECIPES["palsy"]})
    assert len(held) == 1


def test_a_complete_run_trains_nothing_and_another_protocol_adds_its_folds(workspace, snapshot, tmp_path, monkeypatch):
    recipes = {"palsy": RECIPES["palsy"]}
    run(workspace, snapshot, tmp_path / "out", (Protocol.SUBJECTS,), recipes=recipes)
    trained, train_fold = [], fold_worker.train_fold

    def count(*args, **options):
        trained.append(options["identity"])
        return train_fold(*args, **options)

    monkeypatch.setattr(fold_worker, "train_fold", count)
    run(workspace, snapshot, tmp_path / "out", (Protocol.SUBJECTS,), recipes=recipes)
    assert not trained
    run(workspace, snapshot, tmp_path / "out", (Protocol.SUBJECTS, Protocol.FRAMES), recipes=recipes)
    assert len(trained) == 5
    balanced = {"palsy": replace(RECIPES["palsy"], train=replace(RECIPES["palsy"].train, balance_people=True))}
    run(workspace, snapshot, tmp_path / "out", (Protocol.SUBJECTS,), recipes=balanced)
    assert len(trained) == 6


def test_two_processes_predict_what_one_does(workspace, snapshot, tmp_path):
    recipes = {"palsy": RECIPES["palsy"]}
    run(workspace, snapshot, tmp_path / "one", (Protocol.FRAMES,), recipes=recipes)
    two = Workspace(workspace.settings.model_copy(update={"num_trainings": 2}))
    run(two, snapshot, tmp_path / "two", (Protocol.FRAMES,), recipes=recipes)
    two.catalog.engine.dispose()
    assert (tmp_path / "one" / "table.csv").read_bytes() == (tmp_path / "two" / "table.csv").read_bytes()


def test_local_folds_lease_one_gpu_and_see_no_other(workspace, monkeypatch):
    gpus = [Gpu(device=str(index), work=f"gpus/boot/{index}") for index in range(2)]
    monkeypatch.setattr(crossvalidate, "visible_gpus", lambda: gpus)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with lease_gpu(workspace, wanted=True):
        [leased] = workspace.catalog.leases()
        assert leased == f"gpus/boot/{os.environ['CUDA_VISIBLE_DEVICES']}"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    with lease_gpu(workspace, wanted=False):
        assert not workspace.catalog.leases()


def test_the_papers_counts_are_shown_beside_what_the_data_has(workspace, snapshot, tmp_path):
    recipes = {"palsy": RECIPES["palsy"]}
    run(workspace, snapshot, tmp_path / "out", (Protocol.LOPO, Protocol.FRAMES), recipes=recipes, paper_counts=True)
    table = (tmp_path / "out" / "table.md").read_text()
    for line in (
        "| palsy | train | palsy | 20,000 | 17 | fewer |",
        "| palsy | test | palsy | 6,100 | 4 | fewer |",
        "| palsy | train | control | 25,000 | 20 | fewer |",
        "| palsy | test | control | 2,000 | 1 | fewer |",
    ):
        assert line in table
    assert "the data has fewer" in (tmp_path / "out" / "report.html").read_text()


def test_an_erased_person_is_left_out_and_the_folds_are_trained_again(workspace, snapshot, tmp_path):
    recipes = {"palsy": RECIPES["palsy"]}
    run(workspace, snapshot, tmp_path / "out", (Protocol.SUBJECTS,), recipes=recipes)
    before = folds(tmp_path / "out")
    workspace.catalog.begin_erasure({"person-00"})
    run(workspace, snapshot, tmp_path / "out", (Protocol.SUBJECTS,), recipes=recipes)
    assert len(folds(tmp_path / "out")) == len(before) + 1
    names = set(pq.read_table(tmp_path / "out" / "predictions.parquet")["subject"].to_pylist())
    assert "person-00" not in names
    assert "1 erased people left out" in (tmp_path / "out" / "report.html").read_text()


def test_an_erasure_deletes_predictions_below_the_work_folder(workspace, snapshot):
    out = workspace.folder("study")
    run(workspace, snapshot, out, (Protocol.FRAMES,), recipes={"palsy": RECIPES["palsy"]})
    erase_local_files(workspace.settings, Traces(frozenset({"person-03"}), ()))
    assert not (out / "predictions.parquet").exists()
    assert (out / "table.csv").exists()


def test_a_plan_that_does_not_fit_is_refused_before_any_training(workspace, snapshot):
    living = load_living(workspace, snapshot)
    with pytest.raises(ValueError, match="there is no recipe size huge: choose one of tiny, small"):
        choose_recipes(workspace.settings, "huge")
    with pytest.raises(ValueError, match="name each protocol once"):
        plan(snapshot, living, RECIPES, (Protocol.LOPO, Protocol.LOPO), 1)
    with pytest.raises(ValueError, match="add --protocol frames, or leave out --counts"):
        plan(snapshot, living, RECIPES, (Protocol.LOPO,), 1, paper_counts=True)
    few = replace(living, rows=living.rows.slice(0, 3 * (PALSIED + 4)))
    with pytest.raises(ValueError, match="leave-one-person-out needs a palsied person and 5 controls, there are 7 and 4"):
        plan(snapshot, few, RECIPES, (Protocol.LOPO,), 1)


def test_people_with_two_names_are_refused_before_a_folder_is_made(workspace, snapshot, tmp_path):
    for name in ("person-02", "person-03"):
        workspace.catalog.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="synthetic"))
    workspace.catalog.merge("person-02", "person-03", why="the same face")
    with pytest.raises(TrainingError, match=f"1 person has two names in snapshot {snapshot[:12]}"):
        crossvalidate.crossvalidate.fn(snapshot, PrivatePath(tmp_path / "out"), settings=workspace.settings)
    assert not (tmp_path / "out").exists()


def test_the_recipes_of_a_size_have_a_task_each_and_can_be_balanced(workspace):
    assert {task: recipe.name for task, recipe in choose_recipes(workspace.settings, "tiny").items()} == {
        "palsy": "tiny-palsy+movement",
        "regions": "tiny-sided+movement",
    }
    assert all(
        recipe.train.balance_people for recipe in choose_recipes(workspace.settings, "tiny", balance_people=True).values()
    )
    assert crossvalidate.crossvalidate.name == "crossvalidate"
