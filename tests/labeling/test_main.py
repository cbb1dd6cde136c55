"""The commands print data, or an error in one sentence."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from labeling.__main__ import app
from labeling.interface.config import label_config


def test_config_prints_the_labeling_page():
    result = CliRunner().invoke(app, ["config"])
    assert (result.exit_code, result.stdout) == (0, label_config() + "\n")


def test_status_without_a_server_is_one_sentence():
    result = CliRunner().invoke(app, ["status", "--url", "http://127.0.0.1:9", "--token", "secret"])
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: http://127.0.0.1:9: Label Studio does not answer (ConnectError); is it running, at this address?\n"
    )


def test_an_account_without_a_server_is_one_sentence(monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_READER_PASSWORD", "a password of these tests")
    result = CliRunner().invoke(app, ["account", "reader-a@vitau.local", "--url", "http://127.0.0.1:9", "--token", "secret"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: http://127.0.0.1:9: Label Studio does not answer (ConnectError); is it running, at this address?\n"
    )


def test_passwords_are_drawn_once_into_a_private_file_before_any_account_is_created(tmp_path):
    file = tmp_path / "readers.csv"
    arguments = ["accounts", str(file), "--url", "http://127.0.0.1:9", "--token", "secret"]
    result = CliRunner().invoke(app, [*arguments, "reader-a@vitau.local", "reader-b@vitau.local"])
    assert (result.exit_code, result.stdout) == (1, ""), "nothing answers there"
    first = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    header, a, b = first.splitlines()
    assert (header, a.split(",")[0], b.split(",")[0]) == ("email,password", "reader-a@vitau.local", "reader-b@vitau.local")
    assert len(a.split(",")[1]) >= 12
    assert a.split(",")[1] != b.split(",")[1]
    CliRunner().invoke(app, [*arguments, "reader-c@vitau.local"])
    assert file.read_text().startswith(first), "a password never changes"
    assert len(file.read_text().splitlines()) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["readers.csv"]


@pytest.mark.parametrize(
    ("text", "names", "sentence"),
    [
        ("name,key\na,b\n", [], "has not the columns email and password, in every line; it may be another file"),
        ("email,password\nreader-a@vitau.local\n", [], "has not the columns email and password, in every line"),
        (
            "email,password\n",
            ["Anna Schmidt"],
            "is no e-mail address; give the reader a pseudonym such as reader-a@example.org",
        ),
    ],
)
def test_a_file_that_is_no_list_of_accounts_stays_as_it_is(tmp_path, text, names, sentence):
    file = tmp_path / "other.csv"
    file.write_text(text)
    result = CliRunner().invoke(app, ["accounts", str(file), *names, "--url", "http://127.0.0.1:9", "--token", "secret"])
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert file.read_text() == text


@pytest.mark.parametrize("heavy", ["numpy", "label_studio_sdk"])
def test_help_imports_nothing_heavy(heavy):
    code = f"import labeling.__main__, sys; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
