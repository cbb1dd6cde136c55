"""The commands about measures, on what other commands wrote."""

from dataclasses import replace

from typer.testing import CliRunner

from tests.measures.reporting.test_compare import moved, write_visit
from vitau.cli import app
from vitau.measures.results import Task


def test_compare_prints_what_changed_detectably_and_writes_a_page(tmp_path, recording):
    smile = next(m for m in recording.measures if (m.task, m.measure) == (Task.SMILE, "lip_corner_lateral"))
    later = moved(recording, Task.SMILE, "lip_corner_lateral", left=smile.left + 0.1)
    first, second = write_visit(tmp_path / "a", recording), write_visit(tmp_path / "b", replace(later, visit="2"))
    ran = CliRunner().invoke(app, ["compare", str(first), str(second), "--out", str(tmp_path / "out")])
    assert ran.exit_code == 0
    assert ran.stdout == "smile\tlip_corner_lateral\tleft +0.100\tdetectable from 0.020\n"
    assert "1 of 63 measures changed detectably; 1 are not compared." in ran.stderr
    assert (tmp_path / "out" / "changes.html").is_file()
