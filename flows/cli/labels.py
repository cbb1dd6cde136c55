"""``python -m flows labels``: the labels for the people who manage them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.connection import connect
from flows.cli.console import DEMO, State, report, tell
from vitau.schema import AUS, RegionLabels

if TYPE_CHECKING:  # numpy and SQLAlchemy, which `--help` need not load
    from flows.annotation.consensus import LabelReport, MergeSummary
    from flows.studies.active_learning import Replayed
    from labeling.consensus.agreement import Agreement
    from labeling.consensus.reader_statistics import Estimate, ReaderReport

app = typer.Typer(no_args_is_help=True, help="The labels: as they were, how far to trust them, out, in, and merged.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command()
def at(
    offset: Annotated[int, typer.Argument(min=0, help="A ledger offset, such as a snapshot's.")],
    state: State = DEMO,
    as_json: Json = False,
) -> None:
    """Print the labels as they were at a ledger offset, by today's rule: 1 affected, 0 not, - nobody could tell."""
    settings = connect(state)
    from flows.annotation.consensus import labels_at
    from flows.workspace import open_workspace

    labels = labels_at(open_workspace(settings), offset)
    if as_json:
        report([asdict(answer) for answer in labels])
    else:
        typer.echo(table(["subject", "side", *AUS], map(label_cells, labels)))


@app.command("report")
def print_report(state: State = DEMO, as_json: Json = False) -> None:
    """Print how far the readers agree, and how each of them reads, with 95 % intervals over people."""
    settings = connect(state)
    from flows.annotation.consensus import label_report
    from flows.workspace import open_workspace

    found = label_report(open_workspace(settings))
    if as_json:
        report(asdict(found))
    else:
        typer.echo(describe(found))


@app.command()
def stale(state: State = DEMO, as_json: Json = False) -> None:
    """Print the answers that stand although newer frames of the person look different: whose, about whom, how different."""
    settings = connect(state)
    from flows.annotation.key_frames import stale as find_stale
    from flows.workspace import open_workspace

    workspace = open_workspace(settings)
    found = find_stale(workspace, workspace.ledger())
    if as_json:
        report([asdict(each) for each in found])
    else:
        typer.echo(table(["subject", "reader", "difference"], ([x.subject, x.reader, f"{x.difference:.3f}"] for x in found)))


@app.command()
def replay(
    auroc: Annotated[
        list[float] | None, typer.Option(min=0.5, max=1, help="How good a model must get, 0.75 if left out; may be repeated.")
    ] = None,
    populations: Annotated[int, typer.Option(min=2, help="Each of other drawn people.")] = 20,
    people: Annotated[int, typer.Option(min=40, help="Drawn patients to ask about in each.")] = 300,
    held_out: Annotated[int, typer.Option(min=20, help="More of them in each, on whom the model is measured.")] = 200,
    seed: Annotated[int, typer.Option(help="Names the populations.")] = 0,
    as_json: Json = False,
) -> None:
    """Replay the orders on drawn people with a known truth: how many labels each needs until a model is that good."""
    from flows.studies.active_learning import run

    found = run(auroc or [0.75], populations=populations, people=people, held_out=held_out, seed=seed)
    if as_json:
        report(asdict(found))
    else:
        typer.echo(describe_replay(found))


@app.command()
def calibrate(
    threshold: Annotated[float | None, typer.Option(min=0, help="As VITAU_ASK_AGAIN_ABOVE, whose default it has.")] = None,
    people: Annotated[int, typer.Option(min=4, help="Drawn patients, four clips of each.")] = 20,
    seed: Annotated[int, typer.Option(help="Names the patients.")] = 0,
    as_json: Json = False,
) -> None:
    """Measure on drawn patients how different new frames look, and how often readers would be asked again."""
    from flows.settings import ASK_AGAIN_ABOVE
    from flows.studies.change_threshold import run

    threshold = ASK_AGAIN_ABOVE if threshold is None else threshold
    found = run(people, threshold=threshold, seed=seed)
    if as_json:
        report([asdict(each) for each in found])
        return
    lines = ([x.kind, f"{x.asked_again:.1%}", *(f"{value:.3f}" for value in x.quantiles)] for x in found)
    typer.echo(table(["new frames", f"above {threshold}", "5 %", "median", "95 %"], lines))


@app.command("export")
def export_csv(file: Annotated[Path, typer.Argument(help="The CSV to write.")], state: State = DEMO) -> None:
    """Write the ledger as a CSV: every answer that was ever given, in order."""
    settings = connect(state)
    from flows.annotation.consensus import export_answers
    from flows.workspace import open_workspace

    tell(f"{export_answers(open_workspace(settings).catalog, file)} answers are in {file}")


@app.command("import")
def import_csv(
    file: Annotated[Path, typer.Argument(help="The CSV to read.")],
    source: Annotated[str, typer.Option(help="The source of its people, as their manifest calls it.")],
    state: State = DEMO,
) -> None:
    """Take in a study that was labelled elsewhere, with its readers; nothing if a line of it is wrong."""
    settings = connect(state)
    from flows.annotation.consensus import import_answers
    from flows.workspace import open_workspace

    answers, new = import_answers(open_workspace(settings), file, source=source)
    report({"answers": answers, "new": new})


@app.command()
def merge(
    kept: Annotated[str, typer.Argument(help="The pseudonym that stays.")],
    other: Annotated[str, typer.Argument(help="The pseudonym of the same person.")],
    why: Annotated[str, typer.Option(help="How it was found; without anything that names the person.")],
    state: State = DEMO,
) -> None:
    """Make two subjects one person, with both histories; says which trainings saw the person in another split."""
    settings = connect(state)
    from flows.annotation.consensus import merge_subjects
    from flows.workspace import open_workspace

    summary = merge_subjects(open_workspace(settings), kept, other, why=why)
    report(asdict(summary))
    for line in warn(summary):
        tell(line)


def warn(summary: "MergeSummary") -> Iterable[str]:
    """Say what a merge leaves to do."""
    if summary.new:
        yield "The labels follow with the next `annotate`."
    for each in summary.trained_on:
        yield (
            f"{each.model} version {each.version} has this person in {each.split}, but the person is in {summary.split} now: "
            "freeze and retrain."
        )


def label_cells(answer: RegionLabels) -> list[str]:
    """Lay a person's labels out as a line of the table."""
    marks = {True: "1", False: "0", None: "-"}
    return [answer.subject, answer.side or "", *(marks[answer.affected.get(au)] for au in AUS)]


def describe(found: "LabelReport") -> str:
    """Lay the report out as tables."""
    agreement = found.agreement
    state = (
        f"Ledger offset {found.ledger_offset}, rule {found.rule}: {found.labeled} people labelled, "
        f"{found.adjudicated} of them adjudicated, {found.waiting} waiting, {found.disputed} disputed."
    )
    parts = [
        state,
        agreements("Agreement", {"all regions": agreement.overall} | {au.value: each for au, each in agreement.by_au.items()}),
        agreements("Readers", agreement.by_pair),
        agreements("Week", agreement.by_week),
        table(
            ["Reader", "people", "median s", "p90 s", "cannot tell", "agrees with labels", "second half less first"],
            map(reader_cells, found.readers),
        ),
        table(["Bias", *AUS], ([each.reader, *(estimated(each.bias[au], sign="+") for au in AUS)] for each in found.readers)),
        table(
            ["Anchoring", "with the suggestion", "without it", "difference"],
            (
                [
                    each.reader,
                    estimated(each.anchoring.shown),
                    estimated(each.anchoring.blind),
                    estimated(each.anchoring.difference, sign="+"),
                ]
                for each in found.readers
                if each.anchoring
            ),
        ),
    ]
    return "\n\n".join(part for part in parts if part)


def describe_replay(found: "Replayed") -> str:
    """Lay a replay out as a table."""
    from vitau.evaluation.bootstrap import format_estimate

    about = (
        f"{found.populations} populations of {found.people} drawn patients, seed {found.seed}, measured on {found.held_out} "
        f"more of each; with all labels the AUROC is {found.auroc_of_all:.3f}."
    )
    lines = table(
        ["AUROC", "order", "labels needed", "fewer than at random", "not reached in"],
        (
            [
                f"{each.target:.2f}",
                each.order,
                format_estimate(each.needed, each.needed_interval, digits=1),
                format_estimate(each.saved, each.saved_interval, digits=1, sign="+"),
                str(each.num_missed),
            ]
            for each in found.savings
        ),
    )
    return f"{about}\n\n{lines}"


def agreements(title: str, found: "Mapping[str, Agreement]") -> str:
    """Lay agreements out as a table."""
    from vitau.evaluation.bootstrap import format_estimate

    return table(
        [title, "people", "pairs", "raw", "alpha"],
        (
            [
                name,
                str(each.num_subjects),
                str(each.num_pairs),
                format_estimate(each.raw, each.raw_interval),
                format_estimate(each.alpha, each.alpha_interval),
            ]
            for name, each in found.items()
        ),
    )


def reader_cells(each: "ReaderReport") -> list[str]:
    """Lay a reader's numbers out as a line of the table."""
    speed = each.speed
    return [
        each.reader,
        str(each.num_subjects),
        f"{speed.median_s:.0f}" if speed else "-",
        f"{speed.p90_s:.0f}" if speed else "-",
        "-" if each.cannot_tell is None else f"{each.cannot_tell:.1%}",
        estimated(each.agreement),
        estimated(each.drift.difference, sign="+"),
    ]


def estimated(estimate: "Estimate", *, sign: str = "") -> str:
    """Write an estimate with its interval."""
    from vitau.evaluation.bootstrap import format_estimate

    return format_estimate(estimate.value, estimate.interval, sign=sign)


def table(header: list[str], lines: Iterable[list[str]]) -> str:
    """Align cells in columns; nothing without a line."""
    rows = [header, *lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(aligned) if len(rows) > 1 else ""
