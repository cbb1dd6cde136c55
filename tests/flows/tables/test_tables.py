"""Tables of cheap methods on eighteen drawn people with two frames each: no service, one process, sometimes a killed one."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from flows.tables import fit_worker
from flows.tables.outputs import COLUMNS, markdown
from flows.tables.people import People, draw_people
from flows.tables.plan import TablePlan
from flows.tables.run import make_tables
from flows.tables.sizes import SIZES, DrawnCohort
from flows.tables.words import lead, notes
from tests.data.fake_cohorts import freeze_cohort
from vitau.baselines.tables import RowSettings, table_rows
from vitau.data.snapshot import load
from vitau.evaluation.crossvalidation.pooled import SeedEstimate
from vitau.progress import Reporter
from vitau.schema import PAPER_AUS, Protocol, Split
from vitau.store import open_store

QUIET = Reporter(quiet=True)
KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1])))
import test_tables
test_tables.run(test_tables.plan_of(Path(sys.argv[2]), sys.argv[3]), Path(sys.argv[4]))
"""


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    return folder, freeze_cohort(open_store(str(folder / "store")), folder, 18)


def plan_of(folder, digest, names=("recognition",), only=("fka-gan", "dinov2", "landmarks"), num_seeds=2):
    people = People(
        store_uri=str(folder / "store"),
        snapshot=digest,
        rows=load(open_store(str(folder / "store")), digest),
        cache=folder / "crops",
        synthetic=True,
    )
    return TablePlan(
        names=names,
        people=people,
        protocol=Protocol.SUBJECTS,
        num_seeds=num_seeds,
        budget=SIZES["smoke"].budget,
        settings=RowSettings(),
        only=frozenset(only),
    )


def run(plan, out):
    return make_tables(plan, out, num_processes=1, reporter=QUIET)


def lines_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(text):
    return re.sub(r"\| \d+ \|$", "|", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def finished(snapshot, tmp_path_factory):
    out = tmp_path_factory.mktemp("recognition")
    return run(plan_of(*snapshot), out)[0], out


def test_a_row_has_ours_with_interval_and_seeds_beside_the_papers_number_and_what_it_is(finished):
    table, out = finished
    text = (out / "recognition.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| FKA+GAN-style"))
    ours, auroc, _, _, seeds, paper, meaning, protocol, people, parameters, seconds = row.strip("| ").split(" | ")[1:]
    assert re.fullmatch(r"\d+\.\d \[\d+\.\d, \d+\.\d\] ± \d+\.\d", ours)
    assert re.fullmatch(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\] ± \d\.\d{3}", auroc)
    assert (seeds, paper, protocol, people) == ("2", "98.20", "`subjects`", "6")
    assert meaning == "quoted from the method's article, with its data and its division of people"
    assert (int(parameters.replace(",", "")), int(seconds) >= 0) == (table.rows[0].num_parameters, True)
    assert "| Landmarks alone |" in text
    assert "| – | the paper leaves it out |" in text


def test_one_method_that_fails_is_listed_with_its_reason_and_stops_no_other(finished):
    table, out = finished
    assert [row.name for row in table.rows] == ["fka-gan", "dinov2", "landmarks"]
    assert [row.by_person is None for row in table.rows] == [False, True, False]
    text = (out / "recognition.md").read_text()
    assert "Frozen DINOv2 features was not run: the method dinov2 needs weights of timm's vit_small_patch14_dinov2" in text
    assert "| Frozen DINOv2 features | not run |" in text
    missing = [line for line in lines_of(out / "recognition.csv") if line["method"] == "dinov2"]
    assert [line["reason"][:25] for line in missing] == ["the method dinov2 needs w"]
    assert "was not run: the method dinov2" in (out / "tables.html").read_text()


def test_an_error_that_nobody_expected_is_a_reason_too(snapshot, tmp_path, monkeypatch):
    def fail(*_args, **_settings):
        raise RuntimeError("no such shape")

    monkeypatch.setattr(fit_worker, "fit_fold", fail)
    table = run(plan_of(*snapshot, only=("landmarks",)), tmp_path)[0]
    assert table.rows[0].reason == "RuntimeError: no such shape"
    assert table.leader is None
    monkeypatch.undo()
    assert run(plan_of(*snapshot, only=("landmarks",)), tmp_path)[0].rows[0].reason is None  # a failure is tried again


def test_every_metric_is_a_line_of_csv_by_person_and_by_frame(finished):
    table, out = finished
    lines = lines_of(out / "recognition.csv")
    assert list(lines[0]) == list(COLUMNS)
    chosen = [line for line in lines if (line["method"], line["metric"], line["level"]) == ("landmarks", "auroc", "person")]
    estimate = table.rows[2].metric("auroc")
    assert [(line["value"], line["low"]) for line in chosen] == [(f"{estimate.value:.6f}", f"{estimate.interval[0]:.6f}")]
    assert {line["frames"] for line in lines if line["method"] == "landmarks"} == {"12"}
    assert {line["paper_percent"] for line in lines if line["method"] == "fka-gan"} == {"98.2"}


def test_files_are_private_and_name_nobody(finished, snapshot):
    _, out = finished
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    names = set(plan_of(*snapshot).people.rows["subject"].to_pylist())
    assert not [path for path in files if any(name.encode() in path.read_bytes() for name in names)]


def test_a_killed_run_keeps_its_complete_fits_and_ends_with_the_same_table(snapshot, finished, tmp_path):
    place = [str(Path(__file__).parent), str(snapshot[0]), snapshot[1], str(tmp_path)]
    paths = os.pathsep.join([*sys.path])
    process = subprocess.Popen([sys.executable, "-c", KILLED, *place], env=os.environ | {"PYTHONPATH": paths})
    folds, deadline = tmp_path / "folds", time.monotonic() + 150
    while not list(folds.glob("fka-gan-*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in folds.glob("*.parquet")}
    assert kept
    assert not (tmp_path / "recognition.md").exists()
    run(plan_of(*snapshot), tmp_path)
    assert len(list(folds.glob("*.parquet"))) == 4
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not list(folds.glob("*partial*"))
    texts = [without_seconds((out / "recognition.md").read_text()) for out in (finished[1], tmp_path)]
    assert texts[0] == texts[1]


def test_the_regions_have_the_papers_columns_and_the_figure_its_numbers(snapshot, tmp_path):
    table = run(plan_of(*snapshot, names=("regions",), only=("drml", "prevalence"), num_seeds=1), tmp_path)[0]
    text = (tmp_path / "regions.md").read_text()
    paper = next(line for line in text.splitlines() if line.startswith("| DRML | paper"))
    assert paper == "| DRML | paper | 47.22 | 38.12 | 65.50 | 84.55 | 88.50 | 51.38 | 37.63 | 58.99 | – |"
    assert "| Prevalence | ours | " in text
    assert "| Prevalence | paper | " not in text
    figure = (tmp_path / "regions.svg").read_text()
    assert figure.count('class="paper"') == len(PAPER_AUS) + 2  # regions, their mean, and the legend
    assert "DRML, AU9: the paper" in figure
    assert table.rows[1].metric("auroc").value == 0.5
    assert figure.replace("\n", "")[:400] in (tmp_path / "tables.html").read_text().replace("\n", "")


def test_another_budget_or_other_people_are_other_fits_and_the_device_is_not(snapshot):
    plan = plan_of(*snapshot)
    files = {fit.file for fit in plan.fits()}
    fewer = replace(plan.people, rows=plan.people.rows.slice(2))
    assert not files & {fit.file for fit in replace(plan, budget=replace(plan.budget, epochs=2)).fits()}
    assert not files & {fit.file for fit in replace(plan, people=fewer).fits()}
    assert files == {fit.file for fit in replace(plan, budget=replace(plan.budget, device="cuda")).fits()}


def test_a_method_that_is_in_three_tables_is_fitted_once(snapshot):
    plan = plan_of(*snapshot, names=("regions", "losses", "features"), only=("vitau", "vitau-kl"), num_seeds=1)
    assert [fit.method for fit in plan.fits()] == ["vitau", "vitau-kl"]
    assert [row.title for row in plan.rows("losses")] == ["KL divergence loss", "MSE loss"]
    assert [row.title for row in plan.rows("features")] == ["All (ViTAU)"]


def test_a_row_that_pretrains_does_so_once_and_starts_from_it_in_every_table(snapshot, tmp_path):
    plan = plan_of(*snapshot, names=("regions", "features"), only=("vitau-pretrained",), num_seeds=2)
    settings = RowSettings(drawn_people=40, pretrained=str(tmp_path / "pretrained"))
    tables = run(replace(plan, settings=settings), tmp_path)
    assert [row.title for table in tables for row in table.rows] == ["ViTAU, pretrained on drawn people", "All (ViTAU)"]
    assert [row.reason for table in tables for row in table.rows] == [None, None]
    models = list((tmp_path / "pretrained").glob("*/model"))
    assert len(models) == 1
    assert "The last row pretrained on 40 other drawn people" in (tmp_path / "tables.md").read_text()
    plan = replace(plan, settings=replace(settings, pretrained=str(tmp_path / "elsewhere")))
    assert {fit.file for fit in plan.fits()} == {path.name for path in (tmp_path / "folds").glob("*")}


def test_a_method_that_no_table_has_is_one_sentence(snapshot):
    with pytest.raises(ValueError, match="no row of the table features is chosen: take some of vitau-early, vitau-middle, "):
        list(plan_of(*snapshot, names=("features",), only=("vgg",)).fits())


def test_the_losses_and_the_features_differ_from_vitau_in_nothing_else():
    own = next(row.method for row in table_rows("regions", RowSettings()) if row.method.name == "vitau")
    losses = [row.method.recipe for row in table_rows("losses", RowSettings())]
    assert [recipe.train.loss for recipe in losses] == ["cross_entropy", "kl", "bce_with_logits", "mse"]
    assert {replace(recipe, train=replace(recipe.train, loss="mse")).name for recipe in losses} == {own.recipe.name}
    assert [recipe.pretrain.loss for recipe in losses] == [recipe.train.loss for recipe in losses]
    assert [replace(recipe, train=own.recipe.train, pretrain=own.recipe.pretrain) for recipe in losses] == [own.recipe] * 4
    features = [row.method.recipe for row in table_rows("features", RowSettings())]
    assert [recipe.model.features for recipe in features] == ["early", "middle", "late", "all"]
    assert [replace(recipe, model=own.recipe.model) for recipe in features] == [own.recipe] * 4


def test_the_page_of_the_documents_names_its_command_and_its_people(finished):
    page = markdown([finished[0]], "python -m flows tables …")
    assert "`python -m flows tables …` wrote this page. Do not edit it." in page
    assert "18 drawn people, not patients, 36 frames" in page
    assert "6 train, 6 validate, 6 are tested." in page
    assert "One epoch teaches nothing: these numbers only show that the parts fit together." in page


def with_auroc(row, value, low):
    metrics = {**row.by_person.metrics, "auroc": SeedEstimate(value=value, interval=(low, 1.0))}
    return replace(row, by_person=replace(row.by_person, metrics=metrics))


def test_who_leads_is_named_with_vitaus_distance_unless_it_may_be_chance(finished):
    table, _ = finished
    other, missing, own = table.rows[0], table.rows[1], replace(table.rows[2], name="vitau", title="ViTAU")
    rows = [with_auroc(other, 0.9, 0.8), missing, with_auroc(own, 0.7, 0.6)]
    assert lead(replace(table, rows=rows)).startswith(
        "FKA+GAN-style, bicubic leads: AUROC 0.900 [0.800, 1.000]. ViTAU follows with 0.700 [0.600, 1.000]. FKA+GAN-style, "
        f"bicubic has {other.num_parameters:,} fitted parameters, ViTAU {own.num_parameters}. ViTAU starts from fresh weights "
        "here, and the labels of its 6 training people are constant"
    )
    moved = replace(table, rows=[replace(other, name="movement", title="Movement features")])
    assert notes(moved)[1] == "Movement features starts from weights that other drawn people taught."
    ahead = [rows[0], with_auroc(own, 0.95, 0.9)]
    assert lead(replace(table, rows=ahead)) == "ViTAU leads: AUROC 0.950 [0.900, 1.000]."
    assert lead(replace(table, rows=[with_auroc(other, 0.6, 0.5)])) == (
        "Nobody is shown to be better than chance. The highest AUROC is that of FKA+GAN-style, bicubic: 0.600 [0.500, 1.000]."
    )


def test_drawn_people_are_half_palsied_have_found_landmarks_and_are_drawn_once(tmp_path, monkeypatch):
    cohort = DrawnCohort(num_train=0, num_val=2, num_test=4, frames_per_task=1)
    assert [cohort.split(index) for index in range(4)] == [Split.VAL, Split.VAL, Split.TEST, Split.TEST]
    cohort = replace(cohort, num_test=0)
    people = draw_people(cohort, tmp_path, num_processes=1)
    rows = people.rows.to_pydict()
    by_person = dict(zip(rows["subject"], zip(rows["split"], rows["cohort"], strict=True), strict=True))
    assert sorted(by_person.values()) == [("val", "control"), ("val", "palsy")]
    assert people.rows.num_rows == 2 * 7
    monkeypatch.setattr("flows.tables.people.draw_crop", None)
    again = draw_people(cohort, tmp_path, num_processes=1)
    assert again.snapshot == people.snapshot
    assert again.rows.equals(people.rows)
    assert isinstance(again.rows, pa.Table)
