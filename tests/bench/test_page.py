"""The page of the benchmarks."""

from dataclasses import replace
from datetime import UTC, datetime

from vitau.bench.measure import Case, Result
from vitau.bench.page import add_section
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


RESULT = Result(name="ingest", compared="one beside another", difference="of the landmarks", cases=(CASE,))
NOW = datetime(2026, 11, 30, tzinfo=UTC)


def test_the_page_has_every_case_what_is_missed_and_how_close_the_floors_are(tmp_path):
    page = tmp_path / "performance.md"
    add_section(page, "vitau bench ingest", RESULT, now=NOW)
    add_section(page, "vitau bench gradcam", BenchError("no reference"), now=NOW)
    text = page.read_text(encoding="utf-8")
    assert "| one clip | 2.00× | 8× MISSED | 20.0 | 10.0 | frames/s | 0.02 | 3 |" in text
    assert "ours reaches 50% of decode; the ratio that each floor would permit is 4.0× by decode" in text
    assert "## `vitau bench gradcam`\n\nNot measured: no reference.\n\n30 November 2026; " in text
    assert text.startswith("# Performance\n\n`make bench` wrote this page. Do not edit it.\n")


def test_a_benchmark_that_runs_again_replaces_its_section_and_no_other(tmp_path):
    page = tmp_path / "performance.md"
    for command in ("vitau bench ingest", "vitau bench ingest-long", "python -m flows bench-sync"):
        add_section(page, command, RESULT, now=NOW)
    before = page.read_text(encoding="utf-8").split("\n## ")
    add_section(page, "vitau bench ingest", replace(RESULT, cases=(replace(CASE, ratio=3.0),)), now=NOW)
    after = page.read_text(encoding="utf-8").split("\n## ")
    assert [part for part, now in zip(before, after, strict=True) if part != now] == [before[1]]
    assert "| one clip | 3.00× |" in after[1]
