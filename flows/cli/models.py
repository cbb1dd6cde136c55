"""``python -m flows promote``, ``rollback``, ``history``, ``lineage``, ``monitor``: who is champion, why, and still rightly."""

import getpass
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.connection import connect
from flows.cli.console import DEMO, State, report, tell

if TYPE_CHECKING:  # torch and MLflow, which `--help` need not load
    from flows.promote import AuditEntry, Decision

app = typer.Typer(add_completion=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command()
def promote(
    model: Annotated[str | None, typer.Argument(help="vitau-palsy or vitau-regions; both if left out.")] = None,
    version: Annotated[int | None, typer.Argument(help="The newest if left out.")] = None,
    why: Annotated[str | None, typer.Option(help="Make it champion against the verdict, and record this reason.")] = None,
    by: Annotated[str | None, typer.Option(help="Who decides, for the record; your log-in name if left out.")] = None,
    state: State = DEMO,
) -> None:
    """Judge a version against the champion on people held out from both; make it champion if the evidence allows."""
    if why is not None and (version is None or not why.strip()):
        raise typer.BadParameter("--why needs its words, and a MODEL and a VERSION: whom to promote against the verdict")
    settings = connect(state)
    from flows.promote import promote as run

    decisions = run(model, version, why, operator(by), settings=settings)
    report([asdict(decision) for decision in decisions])
    for decision in decisions:
        tell(sentence(decision))
    if version is not None and decisions[0].after != version:
        raise typer.Exit(1)


@app.command()
def rollback(
    model: Annotated[str, typer.Argument(help="vitau-palsy or vitau-regions.")],
    why: Annotated[str, typer.Option(help="The reason, for the record.")] = "",
    by: Annotated[str | None, typer.Option(help="Who decides, for the record; your log-in name if left out.")] = None,
    state: State = DEMO,
) -> None:
    """Make the champion before this one champion again; the next pull gets it."""
    settings = connect(state)
    from flows.promote import rollback as run

    decision = run(model, why, operator(by), settings=settings)
    report(asdict(decision))
    tell(sentence(decision))


@app.command()
def history(
    model: Annotated[str | None, typer.Argument(help="vitau-palsy or vitau-regions; both if left out.")] = None,
    as_json: Json = False,
    state: State = DEMO,
) -> None:
    """List every decision about champions and check its signature; exit code 1 if one is not what was signed."""
    settings = connect(state)
    from flows.promote import history as past
    from flows.workspace import open_workspace

    found = past(open_workspace(settings), model)
    if as_json:
        report([{**each.record.facts, "signature": each.record.signature, "problem": each.problem} for each in found])
    else:
        typer.echo("\n".join(line for each in found for line in lines(each)) or "no decision yet")
    if any(each.problem for each in found):
        raise typer.Exit(1)


@app.command()
def lineage(
    name: Annotated[
        str, typer.Argument(help="DIGEST/SUBJECT (a score), vitau-palsy/2, a digest, a clip's sha256, a pseudonym.")
    ],
    as_json: Json = False,
    state: State = DEMO,
) -> None:
    """Say where a score or a version comes from, or what came of a clip or a person: every model trained on it, every score."""
    settings = connect(state)
    from flows.reports.lineage import lineage as follow
    from flows.reports.lineage import tree
    from flows.workspace import open_workspace

    found = follow(open_workspace(settings), name)
    if as_json:
        report(asdict(found))
    else:
        typer.echo("\n".join(tree(found)))


@app.command()
def monitor(
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("monitor.html"),
    days: Annotated[int | None, typer.Option(min=1, help="Only people who came in the last so many days.")] = None,
    state: State = DEMO,
) -> None:
    """Compare the people who came since the champion's snapshot with those in it; those who differ most go to the readers."""
    settings = connect(state)
    from flows.monitor import monitor as run

    summary = run(out.resolve(), days, settings=settings)
    report(asdict(summary))
    for notice in summary.notices:
        tell(notice)


def operator(by: str | None) -> str:
    """Name whoever gives a command."""
    return f"operator {by or getpass.getuser()}"


def sentence(decision: "Decision") -> str:
    """Say what became of a version, with what speaks against it."""
    said = f"{decision.model} version {decision.version}: {decision.action}; champion is {decision.after or 'none'}"
    return "\n  ".join([said, *decision.against])


def lines(past: "AuditEntry") -> Sequence[str]:
    """Lay a record out for a terminal: what, when, by whom, why; then what spoke against it."""
    from flows.promote import against

    record = past.record
    moved = f"champion {record.before or 'none'} → {record.after or 'none'}"
    why = f"  why: {record.facts['why']}" if record.facts.get("why") else ""
    state = past.problem or "signature holds"
    first = (
        f"{record.number:4}  {record.time[:19]}Z  {record.model}/{record.version}  {record.action}  {moved}  "
        f"by {record.facts['by']}{why}  [{state}]"
    )
    return [first, *(f"        {sentence}" for sentence in against(record))]
