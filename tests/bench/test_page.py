"""The page of the benchmarks."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from vitau.bench.measure import Case, Result
from vitau.bench.page import add_section, write_page
from vitau.errors import BenchError

CASE = Case(
    name="one clip",
    ratio=2.0,
    ours=20.0,
    baseline=10.0,
    unit="frames/s",
    rounds=3,
    max_difference=0.02,
    at_least=8.0,
    floors={"decode": 40.0},
)


def test_the_page_has_every_case_what_is_missed_and_how_close_the_floors_are(tmp_path):
    result = Result(name="ingest", compared="one beside another", difference="of the landmarks", cases=(CASE,))
    page = tmp_path / "performance.md"
    write_page(page, [("ingest", result), ("gradcam", BenchError("no reference"))], now=datetime(2026, 11, 30, tzinfo=UTC))
    text = page.read_text(encoding="utf-8")
    assert "| one clip | 2.00× | 8× MISSED | 20.0 | 10.0 | frames/s | 0.02 | 3 |" in text
    assert "ours reaches 50% of decode; the ratio that each floor would permit is 4.0× by decode" in text
    assert "## `vitau bench gradcam`\n\nNot measured: no reference." in text
    assert text.startswith("# Performance\n\n`make bench` wrote this page. Do not edit it.\n")
    assert text.splitlines()[7].startswith("30 November 2026; ")


def test_another_command_has_one_section_after_those_of_the_page(tmp_path):
    result = Result(name="sync", compared="one beside another", difference="of rows", cases=(CASE,))
    page = tmp_path / "performance.md"
    with pytest.raises(BenchError, match="write it first with"):
        add_section(page, "python -m flows bench-sync", result)
    write_page(page, [("ingest", result)])
    before = page.read_text(encoding="utf-8")
    add_section(page, "python -m flows bench-sync", result)
    add_section(page, "python -m flows bench-sync", replace(result, cases=(replace(CASE, ratio=3.0),)))
    text = page.read_text(encoding="utf-8")
    assert text.startswith(before)
    assert text.count("## `python -m flows bench-sync`") == 1
    assert "| one clip | 3.00× |" in text.removeprefix(before)
