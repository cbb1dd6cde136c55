import csv
import json
import os
import subprocess
import sys

import cv2
import pytest
import torch

import vitau
from vitau.bench.run import BENCHES
from vitau.cli import main
from vitau.media.synthetic.drawing import draw_frame
from vitau.media.synthetic.people import draw_person
from vitau.models.checkpoint import save_model
from vitau.models.vit import ViTConfig, build_vit
from vitau.registry.bundle import folder_digest, write_sums

VIT = ViTConfig(input_size=32, patch_size=8, width=32, depth=1, heads=2, stem="conv")


def start(*arguments, cwd):
    """Run a command in a process of its own, as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "vitau.cli", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.fixture
def run(monkeypatch, capfd):
    """Return a function that runs a command in this process, which has the imports that take seconds."""

    def run(*arguments, cwd):
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["vitau", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return subprocess.CompletedProcess(sys.argv, ended.value.code or 0, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Create a folder with a model and a photo, in which the commands run."""
    folder = tmp_path_factory.mktemp("workdir")
    torch.manual_seed(0)
    save_model(
        folder / "my-model" / "model", build_vit(VIT), VIT, threshold=0.001, synthetic=True, recipe="tiny", protocol="subjects"
    )
    image = draw_frame(draw_person(5, 1), "rest", 0.0).image
    cv2.imwrite(str(folder / "person.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return folder


UNUSED = [
    "torch._dynamo",
    "sympy",
    "timm",
    "torchvision",
    "pandas",
    "mlflow",
    "matplotlib",
    "sklearn",
    "scipy",
    "huggingface_hub",
]
"""Modules that take long to import, and that neither scoring nor measuring needs; torch's compiler is the first."""


def test_help_imports_nothing_heavy(tmp_path):
    heavy = (
        "import sys, vitau.cli; print([name for name in ('torch', 'mlflow', 'cv2', 'pyarrow', 'numpy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout == "[]\n"
    done = start("--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(command in done.stdout for command in ("synth", "score", "pull", "check", "export"))


def test_every_command_loads_no_library_that_it_does_not_use(workdir, tmp_path):
    """In one process, from the lightest command on; what a command may load, the later ones may have loaded too."""
    program = f"""
import os, sys
from typer.testing import CliRunner
from vitau.cli import app
def loaded(*names): return [name for name in names if name in sys.modules]
def invoke(*arguments): assert (done := CliRunner().invoke(app, arguments)).exit_code == 0, done.output
for command in app.registered_commands:
    invoke(command.name or command.callback.__name__, "--help")
print(loaded("torch", "mlflow", "matplotlib", "cv2", "dlib", "av", "pyarrow", "numpy", "fastapi"))
os.chdir("pulled")
invoke("check", ".")
print(loaded("torch", "mlflow", "matplotlib", "cv2", "dlib", "av", "pyarrow", "numpy", "fastapi"))
os.chdir("..")
invoke("synth", {str(tmp_path / "people")!r}, "--subjects", "1")
print(loaded(*{UNUSED}, "torch", "dlib", "pyarrow", "openpyxl", "fastapi"))
invoke("score", "my-model", "person.png", "--out", {str(tmp_path / "scores")!r})
print(loaded(*{UNUSED}, "openpyxl", "fastapi"))
invoke("measure", "person.png", "--out", {str(tmp_path / "measures")!r})
print(loaded(*{UNUSED}, "openpyxl", "fastapi"))
invoke("compare", *[{str(tmp_path / "measures")!r}] * 2, "--out", {str(tmp_path / "changes")!r})
CliRunner().invoke(app, ["check", "person.png"], catch_exceptions=False)
print(loaded(*{UNUSED}, "openpyxl", "fastapi"))
"""
    (workdir / "pulled").mkdir()
    (workdir / "pulled" / "card.json").write_text("{}")
    write_sums(workdir / "pulled")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=workdir)
    assert (done.stdout, done.stderr) == ("[]\n" * 6, "")


def test_every_command_has_a_runnable_example(run, tmp_path):
    for command in ("synth", "pull", "check", "export", "score", "bench"):
        assert f"Example: vitau {command} " in run(command, "--help", cwd=tmp_path).stdout


def test_the_shell_completes_commands(tmp_path):
    program = "import sys; sys.argv = ['vitau']; from vitau.cli import main; main()"
    environment = os.environ | {"_VITAU_COMPLETE": "complete_bash", "COMP_WORDS": "vitau sc", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "score"


def test_the_version_is_that_of_the_package(run, tmp_path):
    assert run("--version", cwd=tmp_path).stdout == f"{vitau.__version__}\n"


def test_a_cohort_is_drawn_and_its_manifest_named(tmp_path):
    done = start("synth", "out", "--subjects", 1, "--seed", 3, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "out/manifest.csv\n", "")
    with (tmp_path / "out" / "manifest.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 1


def test_scores_go_to_stdout_and_messages_to_stderr(run, workdir, tmp_path):
    done = start("score", "my-model", "person.png", "--out", tmp_path / "out", "--json", cwd=workdir)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["synthetic"], answer["skipped"]) == (0, True, [])
    assert [(person["input"], person["palsied"]) for person in answer["people"]] == [("person.png", True)]
    assert answer["model"] == folder_digest(workdir / "my-model")
    assert done.stderr == f"Model: digest {answer['model']}\nThe report is {tmp_path / 'out' / 'report.html'}\n"
    (workdir / "my-model" / "version.json").write_text('{"name": "vitau-palsy", "version": 3, "run_id": "5c0de"}')
    try:
        again = run("score", "my-model", "person.png", "--out", tmp_path / "out", "--json", cwd=workdir)
    finally:
        (workdir / "my-model" / "version.json").unlink()
    assert again.stderr.splitlines()[0] == f"Model: vitau-palsy version 3, run 5c0de, digest {answer['model']}"
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(words in page for words in ("<h3>vitau-palsy version 3</h3>", "<code>5c0de</code>", f"<code>{answer['model']}"))


def test_the_warning_of_a_model_is_printed_with_its_scores(run, workdir, tmp_path):
    torch.manual_seed(0)
    save_model(
        tmp_path / "my-model" / "model", build_vit(VIT), VIT, threshold=0.001, synthetic=True, warnings=["Confounded: beware."]
    )
    photo = workdir / "person.png"
    done = run("score", "my-model", photo, "--out", "out", "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert answer["warnings"] == ["Confounded: beware."]
    assert [person["notes"] for person in answer["people"]] == [["Confounded: beware."]]
    assert done.stderr.splitlines()[0] == "Warning: Confounded: beware."
    assert "Note: " not in done.stderr
    text = run("score", "my-model", photo, "--out", "out", cwd=tmp_path)
    assert text.stderr.splitlines()[0] == "Warning: Confounded: beware."


def test_a_bad_input_is_reported_on_stderr_with_exit_code_1_and_the_rest_is_scored(run, workdir, tmp_path):
    done = run("score", "my-model", "missing.mp4", "person.png", "--out", tmp_path / "out", cwd=workdir)
    assert (done.returncode, done.stdout.split("\t")[:2]) == (1, ["person.png", "palsy"])
    assert done.stderr.splitlines()[0] == "Skipped item 1, missing.mp4: the recording is missing; check its path"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["nowhere", "person.png"],
            "Error: nowhere is no model folder: give one with model/ in it, or models:/NAME@champion\n",
        ),
        (
            ["my-model", "my-model/model"],
            "Error: my-model/model contains neither photos nor clips; give photos, clips or folders of them\n",
        ),
        (
            ["models:/x", "person.png"],
            "Error: models:/x is not the address of a model: write models:/NAME@champion or models:/NAME/VERSION\n",
        ),
    ],
)
def test_an_error_is_one_line_and_exit_code_1(run, workdir, tmp_path, arguments, message):
    done = run("score", *arguments, "--out", tmp_path / "out", cwd=workdir)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "nope"], f"Error: there is no bench 'nope'; take one of {', '.join(BENCHES)}, or all\n"),
        (
            ["synth", "out", "--subjects", 0],
            "Error: 0 subjects with 2 frames per task make no cohort; give at least 1 of each\n",
        ),
        (["synth", "out", "--seed", -1], "Error: the seed is -1; give 0 or more\n"),
        (
            ["score", "my-model", "person.png", "--out", "out", "--start", 3, "--end", 2],
            "Error: the range ends at 2 s, not after its start at 3 s; correct it\n",
        ),
        (["bench", "frames", "--rounds", 0], "Error: 0 rounds measure nothing; give 1 or more\n"),
        (
            ["pull", "nope", "out"],
            "Error: nope is not the address of a model: write models:/NAME@champion or models:/NAME/VERSION\n",
        ),
    ],
)
def test_an_unknown_value_is_one_sentence_and_exit_code_1(run, tmp_path, arguments, message):
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


def test_debug_prints_the_traceback(workdir, tmp_path):
    done = start("--debug", "score", "nowhere", "person.png", "--out", tmp_path / "out", cwd=workdir)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_folder_without_checksums_is_refused(run, workdir):
    done = run("check", "my-model", cwd=workdir)
    assert done.stderr == "Error: my-model has no SHA256SUMS: give the folder of a pulled model, or one recording\n"
    assert (done.returncode, done.stdout) == (1, "")


def test_a_name_that_the_package_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module .vitau. has no attribute .Oracle.$"):
        _ = vitau.Oracle
