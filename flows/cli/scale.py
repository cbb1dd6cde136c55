"""The commands of those who run it on many machines: which engine does the work, how it compares, and what is wrong."""

from typing import Annotated

import typer

from flows.cli.connection import find_connection
from flows.cli.console import DEMO, State, report, show_findings, tell
from flows.execution.executor import Engine

EngineName = Annotated[str, typer.Option(help="local, or ray: a Ray cluster (VITAU_RAY_ADDRESS; absent, one started here).")]


def engine_named(name: str) -> Engine:
    """Return an engine by its name."""
    if name not in set(Engine):
        raise typer.BadParameter(f"no engine {name}: there are {', '.join(Engine)}")
    return Engine(name)


def doctor(
    state: State = DEMO, *, as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False
) -> None:
    """Try the services and the machine, and say what to do about what is wrong. Exit code 1 if anything failed."""
    connection = find_connection(state)  # if it names no services, the check of the settings has that as its finding
    connection.export()
    from dataclasses import asdict

    from flows.doctor import Result
    from flows.doctor import doctor as look

    findings = look(connection.variables)
    if as_json:
        report([asdict(finding) for finding in findings])
    else:
        show_findings([(finding.check, finding.result.value, finding.sentence) for finding in findings])
    if any(finding.result is Result.FAILED for finding in findings):
        raise typer.Exit(1)


def bench_engines(
    subjects: Annotated[int, typer.Option(min=2, help="People to draw, one clip each.")] = 32,
    seed: Annotated[int, typer.Option(help="Names the drawn population and the untrained models.")] = 5,
    size: Annotated[str, typer.Option(help="Of the models: tiny, small, base or paper.")] = "tiny",
    rounds: Annotated[int, typer.Option(min=1, help="Pairs of runs with one and two workers.")] = 2,
) -> None:
    """Measure one process and Ray with one and two workers on drawn people: the same bytes, and the ratio 2 : 1."""
    from flows.studies.engines import bench

    report(bench(subjects=subjects, seed=seed, size=size, rounds=rounds, tell=tell))
