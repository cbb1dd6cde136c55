"""Commands that operate the services: start, stop, check and configure them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import SecretStr

from flows.cli.connection import Connection, connect, connect_stored, find_connection, require, resolve_own, use
from flows.cli.console import (
    DEMO,
    Json,
    State,
    check_choice,
    print_findings,
    print_json,
    render_table,
    tell,
)
from flows.local_stack import stack
from flows.local_stack.state import Profile
from flows.settings import HIDDEN, SIZES, Settings, SettingsError, mask_password, variable

app = typer.Typer()

_ADDRESSES: Final = ("PREFECT_API_URL", "AWS_ENDPOINT_URL_S3")
_MODEL_SIZES: Final = tuple(size for size in SIZES if size != "smoke")
Port = Annotated[int | None, typer.Option(help="By default a free port.")]


@app.command()
def up(
    state: State = DEMO,
    label_studio_port: Port = None,
    mlflow_port: Port = None,
    prefect_port: Port = None,
    profile: Annotated[
        Profile | None,
        typer.Option(
            help="embedded: SQLite and a folder; full: PostgreSQL, S3, workers, webhook server. By default as the state folder."
        ),
    ] = None,
) -> None:
    """Start the local services, wait for them, and print their addresses and the log-ins.

    Example: python -m flows up --state full --profile full
    """
    ports = {"label-studio": label_studio_port, "mlflow": mlflow_port, "prefect": prefect_port}
    running = stack.start(state, {name: port for name, port in ports.items() if port is not None}, profile)
    tell("Waiting for the services (the first start takes half a minute, on PostgreSQL two) …")
    stack.wait(running, state, tell=lambda _: None)
    for service in running:
        typer.echo(f"{service.name:13} {service.url}")
    for log_in in stack.log_ins(state):
        typer.echo(f"log-in to {log_in.service}: {stack.describe(log_in)}")
    show_pages(state, running)


def show_pages(state: Path, running: list[stack.Service]) -> None:
    """Print the addresses of pages by what they are for, after Label Studio was connected to a store that has moved."""
    from flows.reports.pages import follow_store, page_addresses
    from flows.workspace import Workspace

    connection = resolve_own({}, stack.environment(state, running), state)
    connection.export()
    settings = connection.settings()
    if num_projects := follow_store(Workspace(settings), state):
        tell(f"The pictures of {num_projects} projects are read from {mask_password(settings.store)} now.")
    prefect_url = connection.variables["PREFECT_API_URL"].removesuffix("/api")
    for purpose, page in page_addresses(settings, prefect_url, state):
        typer.echo(f"{purpose}: {page}")


@app.command()
def down(state: State = DEMO) -> None:
    """Stop the local services.

    Example: python -m flows down
    """
    stopped = stack.stop(state)
    tell(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def deploy(state: State = DEMO) -> None:
    """Apply the deployments of infra/prefect.yaml to Prefect, with their queues and automations; idempotent.

    Example: python -m flows deploy
    """
    connection = require(find_connection(state))
    connection.export()
    tell(f"Working on Prefect at {connection.variables.get('PREFECT_API_URL', 'its default address')}")
    from flows.deploy import deploy as run

    tell(f"deployed {', '.join(run())}")


@app.command()
def receive(
    state: State = DEMO,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; VITAU_WEBHOOK_URL must lead here.")] = 8090,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two polls, which make up for lost webhooks.")] = 600,
) -> None:
    """Run `annotate` at every webhook of Label Studio and at regular times, until stopped.

    Example: python -m flows receive --port 8090
    """
    settings = connect(state)
    from flows.webhook_server import serve

    serve(settings, host=host, port=port, every_s=every, tell=tell)


@app.command()
def doctor(state: State = DEMO, *, as_json: Json = False) -> None:
    """Check the services and this machine, and print how to fix what is wrong; the exit code is 1 if a check failed.

    Example: python -m flows doctor --json
    """
    connection = find_connection(state)
    settings, problem = None, ""
    try:
        settings = use(connection)
    except SettingsError as error:  # a finding: the checks of the machine run without settings
        problem = str(error)
    from flows.doctor import Result, exit_process
    from flows.doctor import doctor as run

    findings = run(settings, problem, connection.variables.get("PREFECT_API_URL"))
    if as_json:
        print_json(findings)
    else:
        print_findings((finding.check, finding.result.value, finding.sentence) for finding in findings)
    exit_process(1 if any(finding.result is Result.FAILED for finding in findings) else 0)


@app.command()
def fsck(
    state: State = DEMO,
    *,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Record the present bytes of objects that ViTAU did not write.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read every object, compare it with its digest and with the rows of the catalog; the exit code is 1 if something is wrong.

    The first check adopts the objects of an earlier version: it records their present bytes, and cannot notice earlier changes.

    Example: python -m flows fsck --json
    """
    settings = connect_stored(state)
    from flows.doctor.fsck import fsck as run
    from flows.workspace import Workspace

    workspace = Workspace(settings)
    report = run(workspace.store, workspace.catalog, adopt=adopt)
    if as_json:
        print_json(report)
    else:
        if report.defects:
            rows = ([defect.problem.value, defect.item, defect.remedy] for defect in report.defects)
            typer.echo(render_table(["problem", "item", "remedy"], rows))
        tell(
            f"{report.objects} objects: {report.verified} have the bytes that were written, {report.adopted} were adopted "
            f"without verification, {len(report.defects)} defects"
        )
    if report.defects:
        raise typer.Exit(1)


@app.command()
def cut_ranges(state: State = DEMO, *, as_json: Json = False) -> None:
    """Cut the clips that an earlier version stored with the whole recording; the exit code is 1 if one cannot be cut.

    Clips with a time range keep their range only. The rest of the recording is deleted, since it may show other people.

    Example: python -m flows cut-ranges
    """
    settings = connect(state)
    from flows.execution.range_cutting import cut_ranges as run
    from flows.workspace import Workspace

    summary = run(Workspace(settings))
    if as_json:
        print_json(summary)
    elif summary.failed:
        typer.echo(render_table(["clip", "reason"], ([clip[:12], reason] for clip, reason in summary.failed.items())))
    tell(f"{summary.ranges} clips are ranges: {summary.cut} were cut now, {len(summary.failed)} could not be cut")
    if summary.failed:
        raise typer.Exit(1)


@app.command()
def config(state: State = DEMO, *, as_json: Json = False) -> None:
    """Print the settings in force and where each came from: the environment, the running stack, or the default.

    Secrets are masked.

    Example: python -m flows config --json
    """
    connection = require(find_connection(state))
    entries = list(config_entries(connection, use(connection)))
    if as_json:
        print_json(entries)
    else:
        typer.echo(
            render_table(
                ["variable", "value", "source"], ([entry.variable, shown(entry.value), entry.source] for entry in entries)
            )
        )


@dataclass(frozen=True, kw_only=True)
class ConfigEntry:
    """A setting in force: its environment variable, its value with secrets masked, and the origin of the value."""

    variable: str
    value: Any
    source: str


def config_entries(connection: Connection, settings: Settings) -> Iterator[ConfigEntry]:
    """Yield all settings, then the addresses that Prefect and boto3 read themselves."""
    for field in Settings.model_fields:
        name, value = variable(field), getattr(settings, field)
        yield ConfigEntry(variable=name, value=masked(field, value), source=connection.source(name).value)
    for name in _ADDRESSES:
        if name in connection.variables:
            value = mask_password(connection.variables[name])
            yield ConfigEntry(variable=name, value=value, source=connection.source(name).value)


def masked(field: str, value: Any) -> Any:
    """Return the value of a setting for printing."""
    if isinstance(value, SecretStr):
        return mask_password(value.get_secret_value()) if field.startswith("catalog") else HIDDEN
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, str):
        return mask_password(value)
    return str(value) if isinstance(value, Path) else value


def shown(value: Any) -> str:
    """Return a value as a cell of the table; a dash for a setting without one."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value)


@app.command("bench-engines")
def bench_engines(
    subjects: Annotated[int, typer.Option(min=2, help="People to draw, one clip each.")] = 32,
    seed: Annotated[int, typer.Option(help="Seed of the drawn people and of the untrained models.")] = 5,
    size: Annotated[
        str,
        typer.Option(
            help="Size of the models: tiny, small, base or paper.",
            callback=check_choice("recipe size", _MODEL_SIZES),
            autocompletion=lambda: list(_MODEL_SIZES),
        ),
    ] = "tiny",
    rounds: Annotated[int, typer.Option(min=1, help="Pairs of runs with one and two workers.")] = 2,
) -> None:
    """Compare one process with Ray on one and two workers, on drawn people: same bytes, and the ratio of the times.

    Example: python -m flows bench-engines --subjects 8 --rounds 1
    """
    from flows.studies.engines import bench

    print_json(bench(subjects=subjects, seed=seed, size=size, rounds=rounds, tell=tell))


@app.command("bench-sync")
def bench_sync(
    people: Annotated[int, typer.Option(min=10, help="People to generate, with one answer each.")] = 500,
    page: Annotated[Path | None, typer.Option(help="Page of `make bench` to which the result is added.")] = None,
) -> None:
    """Compare a pull of ten changed answers with a pull of all, on a Label Studio of its own, and print JSON.

    Example: python -m flows bench-sync --people 100
    """
    from flows.studies.sync import bench
    from vitau.bench.measure import as_record
    from vitau.bench.page import add_section

    result = bench(people, tell)
    print_json(as_record(result))
    if page is not None:
        add_section(page, "python -m flows bench-sync", result)


@app.command("bench-cores")
def bench_cores(
    clips: Annotated[int, typer.Option(min=2, help="Clips to ingest, each of a person to score.")] = 60,
    page: Annotated[Path | None, typer.Option(help="Page of `make bench` to which the result is added.")] = None,
) -> None:
    """Compare ingest, rescore and the folds of crossvalidate with two processes and with one, and print JSON.

    Example: python -m flows bench-cores --clips 12
    """
    from flows.studies.cores import Sizes, bench
    from vitau.bench.measure import as_record
    from vitau.bench.page import add_section
    from vitau.errors import BenchError

    try:
        result: Any = bench(sizes=Sizes(clips=clips), tell=tell)
    except BenchError as error:
        result = error
    if page is not None:
        add_section(page, "python -m flows bench-cores", result)
    if isinstance(result, BenchError):
        raise result
    print_json(as_record(result))
