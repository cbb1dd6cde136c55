"""``python -m flows``: the operator's commands. Each flow by its name; the local services up and down; the demo."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from flows.cli.connection import connect, export_to_libraries, find_connection, require, resolve_own, use
from flows.cli.console import DEMO, State, report, tell
from flows.cli.labels import app as label_commands
from flows.cli.models import app as model_commands
from flows.cli.scale import EngineName, bench_engines, doctor, engine_named
from flows.local_stack import stack
from flows.local_stack.state import Profile
from vitau.errors import VitauError

QUIET: Final = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"
FLOOR: Final = "VITAU_IDENTITY_FLOOR"
DEBUG: Final = "--debug"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(label_commands, name="labels")
app.add_typer(model_commands)
app.command()(doctor)
app.command("bench-engines")(bench_engines)

Size = Annotated[
    str, typer.Option(help="Which recipes: tiny, small, base, paper, or smoke, which only shows that all parts fit.")
]
DRAWN_IDENTITY_FLOOR: Final = "0.15"
"""Drawn faces stand nearer to each other than people: the nearest two of 160 are 0.23 apart, a re-encoded copy mostly 0.07."""


@app.callback()
def options(debug: Annotated[bool, typer.Option(DEBUG, help="Show Prefect's log and tracebacks.")] = False) -> None:
    """Run ViTAU's flows. Without --state's services, the environment says where the services are (infra/.env.example)."""
    if not debug:  # Prefect's server keeps the log; here people read ours
        export_to_libraries({QUIET: os.environ.get(QUIET, "CRITICAL")})


@app.command()
def demo(
    state: State = DEMO,
    subjects: Annotated[int, typer.Option(min=12, help="How many people to draw; half of them palsied.")] = 160,
    seed: Annotated[int, typer.Option(help="Names the drawn population.")] = 2026,
    size: Size = "tiny",
) -> None:
    """Run the main job on drawn people: clips in, labels, models, scores and a report out."""
    from vitau.media.synthetic.cohort import write_cohort

    start = time.monotonic()
    with services(state, leave_running=bool(stack.running(state))) as running:
        tell(f"Drawing {subjects} people (synthetic: nobody is real) while the services start …")
        drawing = time.monotonic()
        cohort = state.resolve() / "cohort"
        with bar("drawing people", subjects) as drawn:
            write_cohort(cohort, subjects, seed, progress=drawn)
        seconds = {"synth": round(time.monotonic() - drawing, 1)}
        stack.wait(running, state, tell=tell)
        seconds["services"] = round(time.monotonic() - start, 1)
        connection = resolve_own({FLOOR: DRAWN_IDENTITY_FLOOR, **os.environ}, stack.environment(state, running), state)
        settings = use(connection)
        from flows.demo import demo as run
        from vitau.store.atomic import write_atomic

        summary = run(state.resolve(), cohort, size, settings)
    seconds |= summary.pop("seconds") | {"total": round(time.monotonic() - start, 1)}
    new = summary.pop("new")
    summary |= {"report": f"{state}/report.html", "seconds": seconds}
    write_atomic(state / "summary.json", json.dumps(summary, indent=1) + "\n")
    if not new:
        tell("Everything was there already: nothing was ingested, labelled, trained, registered or scored again.")
    tell(describe(summary, state))


@app.command()
def up(
    state: State = DEMO,
    label_studio_port: Annotated[int | None, typer.Option(help="A free one if left out.")] = None,
    mlflow_port: Annotated[int | None, typer.Option(help="A free one if left out.")] = None,
    prefect_port: Annotated[int | None, typer.Option(help="A free one if left out.")] = None,
    profile: Annotated[
        Profile | None,
        typer.Option(help="embedded: SQLite and a folder; full: PostgreSQL, S3, workers, receiver. As it was, if left out."),
    ] = None,
) -> None:
    """Start the services of a profile, and print their addresses and the log-in."""
    ports = {"label-studio": label_studio_port, "mlflow": mlflow_port, "prefect": prefect_port}
    running = stack.start(state, {name: port for name, port in ports.items() if port is not None}, profile)
    tell("Waiting for the services (the first start takes half a minute, on PostgreSQL two) …")
    stack.wait(running, state, tell=lambda _: None)
    user, password = stack.log_in(state)
    for service in running:
        typer.echo(f"{service.name:13} {service.url}")
    typer.echo(f"log-in to Label Studio: {user}  {password}")


@app.command()
def down(state: State = DEMO) -> None:
    """Stop the local services."""
    stopped = stack.stop(state)
    tell(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def deploy(state: State = DEMO) -> None:
    """Apply the deployments of infra/prefect.yaml to Prefect, with their queues and automations; again is no harm."""
    connection = require(find_connection(state))
    connection.export()
    tell(f"Working on Prefect at {connection.variables.get('PREFECT_API_URL', 'its default address')}")
    from flows.deploy import deploy as run

    tell(f"deployed {', '.join(run())}")


@app.command()
def ingest(
    source: Annotated[Path, typer.Argument(help="A manifest, a CK+ tree, or a folder of photos.")],
    layout: Annotated[str, typer.Option(help="manifest, ckplus or photos.")] = "manifest",
    state: State = DEMO,
    engine: EngineName = "local",
) -> None:
    """Bring clips into the store and cut their faces. Exit code 1 if anything was skipped; the rest is done all the same."""
    settings = connect(state)
    from flows.ingest import Layout
    from flows.ingest import ingest as run

    if layout not in set(Layout):
        raise typer.BadParameter(f"no layout {layout}: there are {', '.join(Layout)}")
    summary = run(source.resolve(), Layout(layout), engine=engine_named(engine), settings=settings)
    for item in summary.skipped:
        typer.echo(f"Skipped {item.item}: {item.reason}", err=True)
    report(
        {
            "clips": summary.clips,
            "new_clips": summary.new_clips,
            "cut_clips": summary.cut_clips,
            "frames": summary.frames,
            "detection_rate": round(summary.detection_rate, 4),
            "quarantined": dict(summary.quarantined),
            "skipped": len(summary.skipped),
        }
    )
    if summary.skipped:
        raise typer.Exit(1)


@app.command("draft-yfp")
def draft_yfp(
    folder: Annotated[Path, typer.Argument(help="YFP's clips or image sequences, a folder or a name prefix per patient.")],
    manifest: Annotated[Path, typer.Argument(help="The CSV to write, then to complete by hand.")],
) -> None:
    """Draft a manifest of YFP: one subject per patient, all of cohort palsy."""
    from vitau.media.sources import draft_yfp_manifest

    tell(f"{draft_yfp_manifest(folder, manifest)} clips drafted in {manifest}: check the subjects, then `ingest` it")


@app.command()
def annotate(
    state: State = DEMO,
    *,
    whole: Annotated[bool, typer.Option("--whole", help="Read every answer again, not only what changed.")] = False,
    accept_deletions: Annotated[
        bool, typer.Option("--accept-deletions", help="Take back the answers that vanished from Label Studio, however many.")
    ] = False,
) -> None:
    """Pull what the readers said, give them whom they have not seen, and find the one answer per person."""
    settings = connect(state)
    from dataclasses import asdict

    from flows.annotate import annotate as run

    summary = run(whole=whole, accept_deletions=accept_deletions, settings=settings)
    for notice in summary.notices:
        tell(notice)
    report(asdict(summary))


@app.command()
def receive(
    state: State = DEMO,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="VITAU_WEBHOOK_URL must lead here.")] = 8090,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two polls, which make up for lost hints.")] = 600,
) -> None:
    """Run `annotate` whenever Label Studio hints at an answer, and every so often in any case, until stopped."""
    settings = connect(state)
    from flows.webhook_server import receive as run

    run(settings, host=host, port=port, every_s=every, tell=tell)


@app.command()
def status(
    state: State = DEMO,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
    page: Annotated[Path | None, typer.Option(help="Write it as an HTML page too.")] = None,
) -> None:
    """Say how far the labelling is: labelled, waiting, disagreed, adjudicated, and each reader with the time left."""
    settings = connect(state)
    from dataclasses import asdict

    from flows.reports.labeling import labeling_progress, write_labeling_page
    from flows.workspace import open_workspace
    from labeling.progress import table

    workspace = open_workspace(settings)
    done = labeling_progress(workspace)
    if page is not None:
        write_labeling_page(workspace, done, page)
    typer.echo(json.dumps(asdict(done), indent=1) if as_json else table(done))


@app.command()
def freeze(state: State = DEMO) -> None:
    """Freeze a snapshot of the frames of everybody who has a label; prints its digest."""
    settings = connect(state)
    from flows.freeze import freeze as run

    snapshot = run(settings=settings)
    report({"snapshot": snapshot.digest, "frames": snapshot.num_frames, "splits": dict(snapshot.subjects)})


@app.command()
def retrain(
    snapshot: Annotated[str, typer.Argument(help="Digest of a snapshot.")], size: Size = "tiny", state: State = DEMO
) -> None:
    """Train both models on a snapshot, register them, and make champions of those that the evidence allows."""
    settings = connect(state)
    from flows.retrain import retrain as run

    report(
        {
            name: {"version": training.version, "test": training.metrics["test"]}
            for name, training in run(snapshot, size, settings=settings).items()
        }
    )


@app.command()
def rescore(
    snapshot: Annotated[str, typer.Argument(help="Digest of a snapshot.")],
    out: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("report.html"),
    state: State = DEMO,
    engine: EngineName = "local",
    *,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Score who has no labels yet, too: it says whom to ask next.")
    ] = False,
) -> None:
    """Score the held-out people of a snapshot with the champions, and write the report."""
    settings = connect(state)
    from dataclasses import asdict

    from flows.rescore import rescore as run

    report(asdict(run(snapshot, report=out.resolve(), engine=engine_named(engine), waiting=waiting, settings=settings)))


@app.command()
def erase(subject: Annotated[str, typer.Argument(help="The person's pseudonym.")], state: State = DEMO) -> None:
    """Erase a person: recordings, pictures, scores, tasks; says which models had seen them."""
    settings = connect(state)
    from dataclasses import asdict

    from flows.erase import erase as run

    report(asdict(run(subject, settings=settings)))


@contextmanager
def services(state: Path, *, leave_running: bool) -> Iterator[list[stack.Service]]:
    """Start the services, point the environment at them, and stop them unless they ran before."""
    running = stack.start(state)
    try:
        yield running
    finally:
        if not leave_running:
            send_prefect_log()
            stack.stop(state)


def send_prefect_log() -> None:
    """Let Prefect send the log and the events that it still holds, before its server goes away."""
    if "prefect" in sys.modules:
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        APILogWorker.drain_all(timeout=10)
        EventsWorker.drain_all(timeout=10)


@contextmanager
def bar(title: str, total: int) -> Iterator[Any]:
    """Show a progress bar on stderr, quiet off a terminal; yields a callback (done, total)."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(title, total=total)
        yield lambda done, _: shown.update(task, completed=done)


def describe(summary: dict[str, Any], state: Path) -> str:
    """Say in a few lines what the demo did and where to look."""
    from vitau.evaluation.bootstrap import format_estimate

    palsy, regions = summary["palsy"], summary["regions"]
    auroc = [
        format_estimate(found["auroc"], found["auroc_interval"], undefined="undefined (too few people)")
        for found in (palsy, regions)
    ]
    return (
        f"\n{summary['clips']} synthetic clips of {summary['subjects']} drawn people, {summary['frames']} frames, "
        f"face found in {summary['detection_rate']:.1%}.\n"
        f"Two simulated readers agreed on {summary['agreement']:.1%} of their answers; "
        f"{summary['adjudicated']} people were adjudicated.\n"
        f"On {palsy['n_subjects']} people never seen in training (protocol {palsy['protocol']}): "
        f"palsy AUROC {auroc[0]}, mean region AUROC {auroc[1]}.\n"
        f"Report: {state}/report.html   Summary: {state}/summary.json   `make up` to look around.\n"
        f"{summary['seconds']['total']:.0f} s in all."
    )


def main() -> None:
    """Run a command; what is wrong with the world is one sentence and exit code 1."""
    try:
        app()
    except (VitauError, ValueError) as error:
        if DEBUG in sys.argv:
            raise
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
