import json
import subprocess
import sys
from dataclasses import replace

from rich.console import Console

from vitau.bench.measure import Case, Result
from vitau.bench.run import BENCHES, as_json, as_table, run, wanted
from vitau.errors import BenchError

CASE = Case(
    name="x", ratio=3.14, ours=2.0, baseline=1.0, unit="images/s", rounds=3, max_difference=1e-6, agreement={"loss": 0.5}
)
RESULT = Result(name="regions", compared="one beside another", difference="of the loss", cases=(CASE,))


def vitau(*arguments):
    return subprocess.run([sys.executable, "-m", "vitau.cli", *arguments], capture_output=True, text=True, check=False)


def test_an_unknown_bench_is_one_sentence():
    done = vitau("bench", "nothing")
    assert (done.returncode, done.stdout) == (1, "")
    names = "ingest, ingest-hog0, ingest-long, frames, faces, decode, heatmaps, gradcam, regions, regions-full, loader, score"
    others = "crossvalidate, cores, growth, or all"
    assert done.stderr == f"Error: there is no bench 'nothing'; take one of {names}, {others}\n"


def test_a_real_bench_is_one_object_on_stdout_and_both_training_steps_have_the_same_loss():
    done = vitau("bench", "regions", "--json", "--rounds", "1")
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads(done.stdout)
    assert (record["name"], record["cases"][0]["rounds"]) == ("regions", 1)
    timed = ["all features", "early features"]
    assert [case["name"] for case in record["cases"]] == [*timed, *(f"{name}, peak memory" for name in timed)]
    assert all(case["max_difference"] < 1e-4 for case in record["cases"])
    assert all(case["unit"] == "images/GB" and case["agreement"]["our_peak_mb"] > 1 for case in record["cases"][2:])


def test_a_result_is_one_line_of_json():
    assert as_json(RESULT).count("\n") == 0


def test_a_table_shows_each_case_and_the_machine():
    console = Console(width=120)
    with console.capture() as capture:
        console.print(as_table(RESULT))
    shown = capture.get()
    assert all(text in shown for text in ("regions", "3.1×", "images/s", "1e-06", "loss 0.5", "cores", "one beside another"))


def test_a_bench_that_cannot_run_leaves_the_others_going(monkeypatch):
    def broken(**_):
        raise BenchError("no reference")

    for module, _ in BENCHES.values():
        monkeypatch.setattr(f"vitau.bench.{module}.bench", broken if module == "gradcam" else lambda **_: RESULT)
    results = [str(one) if isinstance(one, BenchError) else one for _, one in run("all", None, lambda *_: None)]
    assert results == ["no reference" if name == "gradcam" else RESULT for name in BENCHES]


def test_a_bench_gets_its_own_arguments_and_the_number_of_rounds(monkeypatch):
    given = []
    monkeypatch.setattr("vitau.bench.ingest.bench", lambda **options: given.append(options) or RESULT)
    assert [*run("ingest-hog0", None, print), *run("ingest-long", 2, print)] == [
        ("ingest-hog0", RESULT),
        ("ingest-long", RESULT),
    ]
    assert [(options["upsample"], options.get("rounds")) for options in given] == [(0, None), (0, 2)]


def test_a_ratio_below_the_wanted_one_is_missed():
    assert wanted(CASE) == ""
    assert [wanted(replace(CASE, at_least=limit)) for limit in (3.0, 3.5)] == ["3×", "3.5× MISSED"]


def test_a_table_shows_the_floors():
    console = Console(width=120)
    with console.capture() as capture:
        console.print(as_table(replace(RESULT, cases=(replace(CASE, floors={"decode": 9.5}),))))
    assert "x: floors: decode 9.5 images/s" in capture.get()
