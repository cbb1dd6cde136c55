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


@pytest.mark.parametrize("heavy", ["numpy", "label_studio_sdk"])
def test_help_imports_nothing_heavy(heavy):
    code = f"import labeling.__main__, sys; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
