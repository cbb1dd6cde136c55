"""``python -m flows demo``: the main job on drawn people, on services of its own."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from flows.cli.connection import Connection, resolve_own, use
from flows.cli.console import DEMO, Size, State, tell
from flows.local_stack import stack
from vitau.progress import bar, stopwatch

app = typer.Typer()

DRAWN_IDENTITY_FLOOR: Final = "0.15"
"""Gate 3's floor for drawn faces: the nearest two of 160 are 0.23 apart, a re-encoded copy mostly 0.07."""


@app.command()
def demo(
    state: State = DEMO,
    subjects: Annotated[int, typer.Option(min=12, help="Number of people to draw; half of them have a palsy.")] = 160,
    seed: Annotated[int, typer.Option(help="Seed of the drawn people.")] = 2026,
    size: Size = "tiny",
) -> None:
    """Run the main job on drawn people: ingest clips, label, train, score, and write a report.

    Killed and run again, it continues; run to its end, it does nothing again.

    Example: python -m flows demo --subjects 24 --size smoke --state demo-small
    """
    tell(describe(run_demo(state, subjects, seed, size), state))


def run_demo(state: Path, subjects: int, seed: int, size: str) -> dict[str, Any]:
    """Draw the people while the services start, run the flow, and return its summary, which `summary.json` keeps."""
    from vitau.media.synthetic.cohort import write_cohort
    from vitau.store.atomic import write_atomic

    start = time.monotonic()
    with services(state, leave_running=bool(stack.running(state))) as running:
        tell(f"Drawing {subjects} people (synthetic: nobody is real) while the services start …")
        cohort = state.resolve() / "cohort"
        seconds: dict[str, float] = {}
        with stopwatch(seconds, "synth"), bar("drawing people", subjects) as update:
            write_cohort(cohort, subjects, seed, progress=update)
        stack.wait(running, state, tell=tell)
        seconds["services"] = round(time.monotonic() - start, 1)
        settings = use(connection(state, running))
        from flows.demo import demo as run
        from flows.workspace import PrivatePath

        summary = run(PrivatePath(state.resolve()), PrivatePath(cohort), size, settings)
    seconds |= summary.pop("seconds") | {"total": round(time.monotonic() - start, 1)}
    new = summary.pop("new")
    summary |= {"report": f"{state}/report.html", "seconds": seconds}
    write_atomic(state / "summary.json", json.dumps(summary, indent=1) + "\n")
    if not new:
        tell("Everything was there already: nothing was ingested, labeled, trained, registered or scored again.")
    return summary


def connection(state: Path, running: list[stack.Service]) -> Connection:
    """Return the connection to the demo's own services, with an identity floor that suits drawn faces."""
    faces = dict.fromkeys(("VITAU_IDENTITY_FLOOR", "VITAU_IDENTITY_WARNING"), DRAWN_IDENTITY_FLOOR)
    return resolve_own({**faces, **os.environ}, stack.environment(state, running), state)


@contextmanager
def services(state: Path, *, leave_running: bool) -> Iterator[list[stack.Service]]:
    """Start the services; stop them at the end unless they are left running."""
    running = stack.start(state)
    try:
        yield running
    finally:
        if not leave_running:
            send_prefect_log()
            stack.stop(state)


def send_prefect_log() -> None:
    """Send the log records and events that Prefect still buffers, before its server stops."""
    if "prefect" in sys.modules:
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        APILogWorker.drain_all(timeout=10)
        EventsWorker.drain_all(timeout=10)


def out_of_style(styles: dict[str, Any]) -> str:
    """Return the sentence about drawings in the style of the training and in others."""
    from vitau.evaluation.bootstrap import format_estimate

    def shown(where: str, name: str) -> str:
        found = styles[where]
        return format_estimate(found[name], found[f"{name}_interval"], undefined="undefined")

    return (
        f"On {styles['people']} other drawn people: palsy AUROC {shown('in_style', 'auroc')} in the style of the training, "
        f"{shown('out_of_style', 'auroc')} in styles that it never saw; mean region AUROC {shown('in_style', 'regions')} and "
        f"{shown('out_of_style', 'regions')}."
    )


def left_to_label(summary: dict[str, Any], state: Path) -> str:
    """Return the sentence about the drawn people that are left to label; empty if all are labeled."""
    left = summary.get("left_to_label")
    opens = f"`python -m flows up --state {state}` prints the address of their page"
    return f"{left} drawn people are left for you to label: {opens}.\n" if left else ""


def describe(summary: dict[str, Any], state: Path) -> str:
    """Return a few lines about what the demo did and where its results are."""
    from vitau.evaluation.bootstrap import format_estimate

    palsy, regions = summary["palsy"], summary["regions"]

    def shown(metrics: dict[str, Any], name: str) -> str:
        return format_estimate(metrics[name], metrics[f"{name}_interval"], undefined="undefined (too few people)")

    sides = regions.get("sides") or {"n_subjects": 0}
    side = (
        f"affected side named correctly for {round(sides['accuracy'] * sides['n_subjects'])} of {sides['n_subjects']}, "
        f"{shown(sides, 'accuracy')}"
        if sides["n_subjects"]
        else "no side is predicted"
    )
    return (
        f"\n{summary['clips']} synthetic clips of {summary['subjects']} drawn people, {summary['frames']} frames, "
        f"face found in {summary['detection_rate']:.1%}.\n"
        f"Two simulated readers agreed on {summary['agreement']:.1%} of their answers; "
        f"{summary['adjudicated']} people were adjudicated.\n"
        f"On {palsy['n_subjects']} people never seen in training (protocol {palsy['protocol']}): "
        f"palsy AUROC {shown(palsy, 'auroc')}, calibration error {shown(palsy, 'ece')}.\n"
        f"On the {regions['n_subjects']} palsied ones: mean region AUROC {shown(regions, 'auroc')}, accuracy "
        f"{shown(regions, 'accuracy')}; {side}.\n"
        f"{out_of_style(summary['styles'])}\n"
        f"{left_to_label(summary, state)}"
        f"Report: {state}/report.html   Summary: {state}/summary.json\n"
        f"`python -m flows up --state {state}` starts the services and prints the addresses of their pages.\n"
        f"{summary['seconds']['total']:.0f} s in all."
    )
