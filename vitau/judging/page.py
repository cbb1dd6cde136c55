"""The leaderboard of a benchmark: a page, a table and JSON."""

import csv
import datetime as dt
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import vitau
from vitau.evaluation.bootstrap import format_interval
from vitau.evaluation.metrics import Estimate
from vitau.judging.difficulties import DIFFICULTIES
from vitau.judging.standings import METRICS, OUTSIDE, Standing
from vitau.pages import page_environment
from vitau.schema import safe_cell
from vitau.store.atomic import write_atomic

STATEMENT: Final = (
    "These numbers can say how well a method sees a palsy that was drawn, how severe it must be, and what a strange picture "
    "costs the method; they can say nothing about patients, because nobody here is real and no drawing moves as a patient does."
)
NAME: Final = "benchmark"


def write_leaderboard(out: Path, contestants: Iterable[tuple[str, str, float]], standings: Sequence[Standing]) -> Path:
    """Write ``benchmark.html``, ``benchmark.csv`` and ``benchmark.json`` into a folder; return the page."""
    about = [{"name": name, "about": about, "threshold": threshold} for name, about, threshold in contestants]
    ranked = sorted(about, key=lambda one: _rank(str(one["name"]), standings))
    rows = [row.record() for row in standings]
    environment = page_environment(Path(__file__).parent)
    environment.filters["estimate"] = _shown
    page = environment.get_template("benchmark.html.j2").render(
        synthetic=False,
        statement=STATEMENT,
        contestants=ranked,
        standings=standings,
        difficulties=DIFFICULTIES,
        date=dt.datetime.now(tz=dt.UTC).date().isoformat(),
        version=vitau.__version__,
    )
    write_atomic(out / f"{NAME}.html", page)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [name for name in rows[0] if not name.endswith("_interval")]
    ends = [f"{name}_{end}" for name in METRICS for end in ("low", "high")]
    writer.writerow([*columns, *ends])
    for row in rows:
        spread = [end for name in METRICS for end in (row[f"{name}_interval"] or ("", ""))]
        cells = ["" if row[name] is None else row[name] for name in columns]
        writer.writerow([safe_cell(str(cell)) for cell in (*cells, *spread)])
    write_atomic(out / f"{NAME}.csv", text.getvalue())
    document = {"statement": STATEMENT, "contestants": ranked, "standings": rows}
    write_atomic(out / f"{NAME}.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return out / f"{NAME}.html"


def _rank(name: str, standings: Sequence[Standing]) -> float:
    """Return the key by which the leaderboard is sorted: the AUROC out of style, the largest first."""
    own = next((row for row in standings if (row.judge, row.style, row.difficulty) == (name, OUTSIDE, "all")), None)
    return 0.0 if own is None or own.auroc.value is None else -own.auroc.value


def _shown(estimate: Estimate) -> str:
    return "–" if estimate.value is None else f"{estimate.value:.3f}{format_interval(estimate.interval)}"
