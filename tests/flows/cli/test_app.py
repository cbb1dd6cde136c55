import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup
from typer.testing import CliRunner

from flows.cli import console
from flows.cli.app import app
from flows.settings import ROOT, SIZES

ROOT_COMMAND = typer.main.get_command(app)


def leaves(group: TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from leaves(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(leaves(ROOT_COMMAND))


@pytest.fixture(autouse=True)
def nothing_is_exported(monkeypatch, tmp_path):
    """No services in the environment, and none in ./demo."""
    for name in ("VITAU_STORE", "VITAU_CATALOG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, answer: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments, input=answer)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_one_example_that_the_command_accepts(name):
    (example,) = re.findall(r"Example: python -m flows (.*)", COMMANDS[name].help)
    words = shlex.split(example)
    assert example.startswith(name)
    command, parent = ROOT_COMMAND, None
    while isinstance(command, TyperGroup):
        parent = command.make_context(command.name, words, parent=parent)
        _, command, words = command.resolve_command(parent, [*parent._protected_args, *parent.args])
    command.make_context(command.name, words, parent=parent)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["retrain", "3f9a", "--size", "huge"], "no recipe size huge: choose tiny, small, base, paper or smoke"),
        (["demo", "--size", "huge"], "no recipe size huge: choose tiny, small, base, paper or smoke"),
        (["bench-engines", "--size", "smoke"], "no recipe size smoke: choose tiny, small, base or paper"),
        (["ingest", "m.csv", "--layout", "zip"], "no layout zip: choose manifest, ckplus, photos or unknown"),
        (["ingest", "m.csv", "--engine", "spark"], "no engine spark: choose local or ray"),
        (["promote", "vitau-faces"], "no model vitau-faces: choose vitau-palsy or vitau-regions"),
        (["rollback", "vitau-faces"], "no model vitau-faces: choose vitau-palsy or vitau-regions"),
        (["history", "vitau-faces"], "no model vitau-faces: choose vitau-palsy or vitau-regions"),
        (["promote", "--why", "I trust it"], "--why needs a reason, and a MODEL and a VERSION to promote against the policy"),
        (["freeze"], "no services run on demo: start them with `make up`, or set VITAU_STORE and its companions"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_argument_is_one_sentence_with_the_choices_and_exit_code_1(arguments, sentence):
    assert run(*arguments) == (1, "", f"Error: {sentence}\n")


def test_debug_gives_the_traceback():
    result = CliRunner().invoke(app, ["--debug", "freeze"])
    assert "no services run on demo" in str(result.exception)


def test_the_choices_are_those_of_the_code():
    """The commands repeat them: loading the code takes seconds, which `--help` must not."""
    from flows.ingest import Layout
    from flows.promotion import registered_models
    from vitau.training.recipes import RECIPES

    assert tuple(Layout) == console.LAYOUTS
    assert console.MODELS == registered_models.MODELS
    for model in ("palsy", "regions", "sided"):
        assert {name.removesuffix(f"-{model}") for name in RECIPES if name.endswith(f"-{model}")} == set(SIZES)


def test_help_loads_neither_torch_nor_prefect_nor_sqlalchemy():
    code = "import sys, flows.cli.app; print([n for n in ('torch', 'prefect', 'mlflow', 'sqlalchemy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_a_terminal_a_confirmation_needs_yes():
    with pytest.raises(ValueError, match=r"^erasing p1 needs a confirmation, and this is not a terminal: add --yes$"):
        console.confirm("erasing p1", yes=False)
    console.confirm("erasing p1", yes=True)


@pytest.mark.parametrize(("answer", "code"), [(b"y", 0), (b"n", 1), (b"", 1)])
def test_on_a_terminal_a_confirmation_is_asked_for(answer, code):
    terminal, stdin = pty.openpty()
    program = "import typer; from flows.cli.console import confirm; typer.run(lambda: confirm('erasing p1', yes=False))"
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=stdin, stderr=subprocess.PIPE) as process:
        os.write(terminal, answer + b"\n")
        _, err = process.communicate(timeout=60)
    assert (process.returncode, b"erasing p1. Continue? [y/N]" in err) == (code, True)


@pytest.mark.parametrize(
    "arguments",
    [["erase", "p1"], ["labels", "merge", "p1", "p2", "--why", "same face"], ["annotate", "--accept-deletions"]],
    ids=lambda arguments: arguments[0],
)
def test_what_cannot_be_undone_asks_first(arguments, monkeypatch):
    for field, value in {
        "STORE": "file:///nowhere",
        "CATALOG": "sqlite:////nowhere/catalog.db",
        "PSEUDONYM_KEY": "a key long enough",
        "LABEL_STUDIO_URL": "http://127.0.0.1:1",
        "LABEL_STUDIO_TOKEN": "token",
        "MLFLOW_URL": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(f"VITAU_{field}", value)
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.splitlines()[0].startswith("Working on store file:///nowhere")
    assert err.endswith("needs a confirmation, and this is not a terminal: add --yes\n")


def test_a_shell_completes_commands_and_choices(tmp_path):
    program = tmp_path / "flows"  # as the Makefile writes it
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom flows.cli.app import app\napp()\n"
    )
    program.chmod(0o755)

    def complete(words: str, number: int) -> list[str]:
        line = {"_FLOWS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(number)}
        done = subprocess.run([program], env=os.environ | line, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert set(complete("flows re", 1)) == {"retrain", "register", "rekey", "rescore", "report", "receive"}
    assert complete("flows retrain 3f9a --size s", 4) == ["small", "smoke"]
