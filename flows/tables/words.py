"""The words of tables: cells, notes, and the sentences that say who leads and what is missing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from flows.crossvalidation.tables import METRIC_WORDS, PROTOCOL_WORDS
from flows.tables.people import People
from flows.tables.results import MAIN, Table, TableRow
from vitau.baselines.tables import PRETRAINED, TableName
from vitau.evaluation.bootstrap import format_estimate
from vitau.evaluation.crossvalidation.pooled import SeedEstimate
from vitau.schema import PAPER_AUS, Cohort, Protocol, Split

HEADINGS: Final[Mapping[TableName, str]] = {
    "recognition": "Table 1: recognition of a palsy",
    "regions": "Table 2: affected regions",
    "losses": "Table 3: losses of the region model",
    "features": "Table 4: parts of the generator that the region model reads",
}
SHOWN: Final = ("auroc", "balanced_accuracy", "f1")
"""Metrics beside the one that the paper reports."""
MOVEMENT: Final = "movement"
"""Name of the method whose prior was learned from drawn people."""
TOO_SHORT: Final = " One epoch teaches nothing: these numbers only show that the parts fit together."
NONE: Final = "–"
METHOD: Final = (
    "Ours: a person counts once, as the mean of the frames. In brackets is the 95 % interval of a bootstrap over people, "
    "after ± the standard deviation over seeds. Every method trains on the same people, for the same epochs, on images of "
    "the same size. Weights are fresh, unless a note above a table names the row. A method chooses epoch and thresholds on "
    "validation people. Titles that end with -style are not of the authors' exact network."
)
UNCOMPARABLE: Final = (
    "The paper's numbers cannot be compared with ours: other people, other images, another division. The column beside each "
    "number says what it is."
)


def percent(estimate: SeedEstimate) -> str:
    """Return a share as ``76.1 [68.0, 83.9] ± 1.2``, in percent."""
    value = None if estimate.value is None else 100 * estimate.value
    interval = None if estimate.interval is None else [100 * end for end in estimate.interval]
    return format_estimate(value, interval, digits=1, undefined=NONE) + _deviation(estimate, 100, 1)


def share(estimate: SeedEstimate) -> str:
    """Return a number from 0 to 1 as ``0.912 [0.870, 0.950] ± 0.010``."""
    return format_estimate(estimate.value, estimate.interval, undefined=NONE) + _deviation(estimate, 1, 3)


def _deviation(estimate: SeedEstimate, factor: int, digits: int) -> str:
    return "" if estimate.sd is None else f" ± {factor * estimate.sd:.{digits}f}"


def main_words(table: Table) -> str:
    """Return the name of the metric that the paper reports."""
    return "Accuracy, %" if table.task == "palsy" else "Accuracy, paper's 7 regions, %"


def header(table: Table) -> list[str]:
    """Return the names of the columns of the main table."""
    return [
        "Method",
        f"Ours: {main_words(table)[0].lower()}{main_words(table)[1:]}",
        *(METRIC_WORDS[name] for name in SHOWN),
        "Seeds",
        "Paper, %",
        "What the paper's number is",
        "Protocol",
        "People",
        "Parameters",
        "Seconds",
    ]


def cells(table: Table, row: TableRow) -> list[str]:
    """Return the cells of a row of the main table."""
    published = row.published
    paper = [f"{published.value:.2f}", published.meaning] if published is not None else [NONE, "the paper leaves it out"]
    if row.by_person is None:
        return [row.title, "not run", *([NONE] * len(SHOWN)), NONE, *paper, f"`{table.plan.protocol}`", *([NONE] * 3)]
    return [
        row.title,
        percent(row.metric(MAIN[table.task])),
        *(share(row.metric(name)) for name in SHOWN),
        str(row.by_person.num_seeds),
        *paper,
        f"`{table.plan.protocol}`",
        str(row.by_person.num_people),
        f"{row.num_parameters:,}",
        f"{row.seconds:.0f}",
    ]


def region_cells(row: TableRow) -> Iterator[list[str]]:
    """Yield the lines of a row in the table of regions: ours, and the paper's if it has one."""
    seven = percent(row.metric("accuracy_of_paper_7"))
    yield [row.title, "ours", *(percent(row.region(au)) for au in PAPER_AUS), seven, percent(row.region("AU1"))]
    if row.published is not None and row.published.by_region:
        numbers = [f"{row.published.by_region[au]:.2f}" for au in PAPER_AUS]
        yield [row.title, "paper", *numbers, f"{row.published.value:.2f}", NONE]


def region_header() -> list[str]:
    """Return the names of the columns of the table of regions."""
    return ["Method", "Source", *map(str, PAPER_AUS), "mean of 7", "AU1"]


def has_regions(table: Table) -> bool:
    """Return whether the paper's table has columns of regions."""
    return any(row.published is not None and row.published.by_region for row in table.rows)


def lead(table: Table) -> str:
    """Return who leads by AUROC, and by how much ViTAU leads or follows."""
    leader, own = table.leader, table.own
    if leader is None:
        return "No method was fitted, so nobody leads."
    auroc = leader.metric("auroc")
    if auroc.interval is None or auroc.interval[0] <= 0.5:
        return f"Nobody is shown to be better than chance. The highest AUROC is that of {leader.title}: {share(auroc)}."
    fact = f"{leader.title} leads: AUROC {share(auroc)}"
    if own is None or own is leader:
        return f"{fact}."
    compared = f"{fact}. {own.title} follows with {share(own.metric('auroc'))}"
    if table.name in ("losses", "features") or own.name == PRETRAINED:
        return f"{compared}."
    return f"{compared}. {_reason(table, leader, own)}"


def _reason(table: Table, leader: TableRow, own: TableRow) -> str:
    return (
        f"{leader.title} has {leader.num_parameters:,} fitted parameters, {own.title} {own.num_parameters:,}. "
        f"{own.title} starts from fresh weights here, and the labels of its {training_people(table)} training people are "
        "constant: it can learn who they are. Its recipes pretrain on drawn people first; this row does not."
    )


def training_people(table: Table) -> int:
    """Return the number of people who train in the first fold of the first seed; palsied ones for the regions."""
    rows = table.plan.people.rows
    fold = table.plan.folds(0)[0]
    palsied = [cohort == str(Cohort.PALSY) for cohort in rows["cohort"].to_pylist()]
    asked = [table.task == "palsy" or one for one in palsied]
    subjects = rows["subject"].to_pylist()
    return len({name for name, trains, counts in zip(subjects, fold.train_N, asked, strict=True) if trains and counts})


def notes(table: Table) -> list[str]:
    """Return the sentences above a table: who leads, chance, and the rows that are missing."""
    found = [lead(table)]
    if any(row.name.startswith(PRETRAINED) for row in table.rows):
        rows = "All rows" if table.name in ("losses", "features") else "The last row"
        found.append(f"{rows} pretrained on {table.plan.settings.drawn_people:,} other drawn people, each with its own loss.")
    found += [f"{row.title} starts from weights that other drawn people taught." for row in table.rows if row.name == MOVEMENT]
    found += [f"{row.title} was not run: {row.reason}." for row in table.rows if row.reason is not None]
    return found


def facts(tables: Sequence[Table]) -> list[str]:
    """Return the sentences about people, protocol and budget that hold for all tables."""
    plan = tables[0].plan
    people, budget = plan.people, plan.budget
    kind = "drawn people, not patients" if people.synthetic else "people"
    size = "the size of the article" if budget.image_px is None else f"{budget.image_px} px"
    width = "" if budget.width == 1 else f" Networks have {budget.width:g} of their channels, ViTAU's region model its recipe."
    subjects = people.rows["subject"].to_pylist()
    parts = ((Split.TRAIN, "train"), (Split.VAL, "validate"), (Split.TEST, "are tested"))
    splits = ", ".join(f"{_in_split(people, split)} {words}" for split, words in parts)
    train = f"{_counted(budget.epochs, 'epoch')}, {_counted(budget.frames_per_person, 'frame')} of each person per epoch"
    return [
        f"{len(set(subjects))} {kind}, {people.rows.num_rows:,} frames, snapshot `{people.snapshot[:12]}`."
        + (f" {splits}." if plan.protocol is Protocol.SUBJECTS else ""),
        f"Protocol `{plan.protocol}`: {PROTOCOL_WORDS[plan.protocol]}.",
        f"Budget: {train}, images of {size}.{width}" + TOO_SHORT * (budget.epochs == 1),
        METHOD,
        UNCOMPARABLE,
    ]


def _counted(number: int, unit: str) -> str:
    return f"1 {unit}" if number == 1 else f"{number} {unit}s"


def _in_split(people: People, wanted: Split) -> int:
    pairs = zip(people.rows["subject"].to_pylist(), people.rows["split"].to_pylist(), strict=True)
    return len({subject for subject, split in pairs if split == str(wanted)})
