"""The content of a table: each row's metrics over people, its cost, and the paper's number; or the reason why it is missing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from flows.crossvalidation.results import pool
from flows.crossvalidation.study import FoldTask
from flows.tables.plan import MethodFit, TablePlan
from vitau.baselines.fold import FACTS
from vitau.baselines.tables import OWN, PRETRAINED, TableName
from vitau.data.protocols import Task
from vitau.evaluation.crossvalidation.pooled import Pooled, SeedEstimate, evaluate
from vitau.evaluation.published import Published
from vitau.schema import AU

MAIN: Final[Mapping[Task, str]] = {"palsy": "accuracy", "regions": "accuracy_of_paper_7"}
"""The metric beside the paper's number, by task."""


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A row of a finished table.

    Attributes:
        name: of the method.
        title: in the table.
        published: the paper's number.
        by_person: metrics over people; ``None`` if the method failed.
        by_frame: metrics over frames.
        num_parameters: of a fitted method; the mean over fits.
        seconds: of one fit and its predictions; the mean over fits.
        reason: why there are no metrics.
    """

    name: str
    title: str
    published: Published | None
    by_person: Pooled | None = None
    by_frame: Pooled | None = None
    num_parameters: int | None = None
    seconds: float | None = None
    reason: str | None = None

    def metric(self, name: str) -> SeedEstimate:
        """Return a metric over people; one that is undefined or missing has no value."""
        missing = SeedEstimate(value=None)
        return missing if self.by_person is None else self.by_person.metrics.get(name, missing)

    def region(self, au: str, metric: str = "accuracy") -> SeedEstimate:
        """Return a metric of a region over people; one that is undefined or missing has no value."""
        missing = SeedEstimate(value=None)
        return missing if self.by_person is None else self.by_person.by_question.get(au, {}).get(metric, missing)

    def paper_percent(self, au: AU | None) -> float | None:
        """Return the paper's number of a region, or with ``None`` its mean over regions; ``None`` where it has none."""
        if self.published is None:
            return None
        return self.published.value if au is None else self.published.by_region.get(au)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A finished table of the paper."""

    name: TableName
    plan: TablePlan
    rows: Sequence[TableRow]

    @property
    def task(self) -> Task:
        """The question of all its rows."""
        return "palsy" if self.name == "recognition" else "regions"

    @property
    def finished(self) -> list[TableRow]:
        """Rows with metrics."""
        return [row for row in self.rows if row.by_person is not None]

    @property
    def leader(self) -> TableRow | None:
        """The row with the highest AUROC over people; of equal ones the first."""
        ranked = [(row.metric("auroc").value, row) for row in self.finished]
        known = [(value, row) for value, row in ranked if value is not None]
        return max(known, key=lambda pair: pair[0])[1] if known else None

    @property
    def own(self) -> TableRow | None:
        """ViTAU's row."""
        return next((row for row in self.finished if row.name in (PRETRAINED, OWN)), None)


def build_table(
    name: TableName, plan: TablePlan, tables: Mapping[MethodFit, pa.Table], failed: Mapping[tuple[Task, str], str]
) -> Table:
    """Evaluate the predictions of all fits of a table.

    Args:
        name: of the table.
        plan: of all tables.
        tables: predictions by fit.
        failed: reasons by task and method.
    """
    rows = []
    for row in plan.rows(name):
        identity = (row.method.task, row.method.name)
        own = {fit.fold: table for fit, table in tables.items() if fit.row == identity}
        reason = failed.get(identity)
        missing = TableRow(name=row.method.name, title=row.title, published=row.published, reason=reason)
        rows.append(missing if reason is not None else _measured(missing, row.method.task, plan, own))
    return Table(name=name, plan=plan, rows=rows)


def _measured(row: TableRow, task: Task, plan: TablePlan, own: Mapping[FoldTask, pa.Table]) -> TableRow:
    found = pool(plan.protocol, task, plan.people.rows, own)
    facts = [json.loads(table.schema.metadata[FACTS]) for table in own.values()]
    return replace(
        row,
        by_person=evaluate(found, "person"),
        by_frame=evaluate(found, "frame"),
        num_parameters=round(sum(fact["parameters"] for fact in facts) / len(facts)),
        seconds=sum(fact["seconds"] for fact in facts) / len(facts),
    )
