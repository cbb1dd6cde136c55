"""Commands on data: ingest clips, label them, freeze a snapshot, erase a person."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.connection import Source, connect, find_connection, require, use
from flows.cli.console import (
    DEMO,
    LAYOUTS,
    EngineName,
    Json,
    State,
    Yes,
    check_choice,
    confirm,
    print_json,
    tell,
    tell_all,
)
from flows.execution.executor import start_decoders

if TYPE_CHECKING:  # Prefect and Great Expectations, which `--help` need not load
    from flows.ingest import IngestSummary

app = typer.Typer()


@app.command()
def ingest(
    source: Annotated[Path, typer.Argument(help="A manifest, a CK+ tree, or a folder of photos or clips.")],
    layout: Annotated[
        str,
        typer.Option(
            help="manifest, ckplus, photos, or unknown: photos and clips of people of unknown status.",
            callback=check_choice("layout", LAYOUTS),
            autocompletion=lambda: list(LAYOUTS),
        ),
    ] = "manifest",
    state: State = DEMO,
    engine: EngineName = "local",
) -> None:
    """Ingest clips: store them, crop the faces, and quarantine unusable frames.

    If items are skipped, they are listed with their reasons and the exit code is 1; all others are ingested.

    Example: python -m flows ingest recordings/manifest.csv
    """
    settings = connect(state)
    start_decoders(engine, settings.num_processes)
    from flows.execution.executor import Engine
    from flows.ingest import Layout
    from flows.ingest import ingest as run
    from flows.workspace import PrivatePath

    summary = run(PrivatePath(source.resolve()), Layout(layout), engine=Engine(engine), settings=settings)
    tell_all(f"Skipped {item.item}: {item.reason}" for item in summary.skipped)
    if summary.skipped:
        total = summary.clips + len(summary.skipped)
        tell(f"{len(summary.skipped)} of {total} items were skipped; `python -m flows skipped` lists them again.")
    if summary.withdrawn:
        tell(
            f"{len(summary.withdrawn)} people withdrew their consent and are left out of every use. "
            f"To delete their recordings, run `python -m flows erase PSEUDONYM`: {', '.join(summary.withdrawn)}"
        )
    print_json(ingest_facts(summary))
    raise typer.Exit(1 if summary.skipped else 0)


def ingest_facts(summary: "IngestSummary") -> dict[str, Any]:
    """Return what `ingest` prints."""
    return {
        "clips": summary.clips,
        "new_clips": summary.new_clips,
        "cut_clips": summary.cut_clips,
        "frames": summary.frames,
        "detection_rate": round(summary.detection_rate, 4),
        "quarantined": dict(summary.quarantined),
        "skipped": len(summary.skipped),
        "withdrawn": len(summary.withdrawn),
    }


@app.command("skipped")
def list_skipped(state: State = DEMO, *, as_json: Json = False) -> None:
    """List what the newest ingest of each source, and the newest pull of labels, left out, with the reasons.

    Example: python -m flows skipped --json
    """
    settings = connect(state)
    from flows.workspace import open_workspace

    items = open_workspace(settings).catalog.skipped()
    if as_json:
        print_json(items)
    else:
        for item in items:
            typer.echo(f"{item.item}: {item.reason}")


@app.command("dead-letters")
def dead_letters(
    state: State = DEMO,
    *,
    release: Annotated[list[str] | None, typer.Option(help="Name of a clip that the next ingest tries again.")] = None,
    as_json: Json = False,
) -> None:
    """List the clips that are no longer tried because they killed their decoder too often, or release some of them.

    Example: python -m flows dead-letters --release NAME
    """
    settings = connect(state)
    from flows.workspace import open_workspace

    catalog = open_workspace(settings).catalog
    if release:
        unknown = sorted(set(release) - {letter.name for letter in catalog.dead_letters()})
        if unknown:
            raise ValueError(f"no dead letter {unknown[0]}: `python -m flows dead-letters` lists their names")
        catalog.release_dead_letters(release)
        tell(f"{len(release)} clips are tried again by the next ingest.")
    letters = catalog.dead_letters()
    if as_json:
        print_json(letters)
    else:
        for letter in letters:
            typer.echo(f"{letter.name}: {letter.reason} {letter.deaths} times")


@app.command("draft-yfp")
def draft_yfp(
    folder: Annotated[Path, typer.Argument(help="YFP's clips or image sequences, with a folder or a name prefix per patient.")],
    manifest: Annotated[Path, typer.Argument(help="The CSV file to write and then to complete by hand.")],
) -> None:
    """Draft a manifest of the YFP data set: one subject per patient, all of cohort palsy.

    The subjects are guessed from folders and file names. The faces of all clips are then compared; pairs that contradict the
    names are listed beside the manifest, as a table (.faces.csv) and as a page with both faces (.faces.html).

    Example: python -m flows draft-yfp YFP yfp.csv
    """
    from flows.identity.drafts import check_draft, write_draft_check
    from vitau.media.sources import draft_yfp_manifest

    tell(f"{draft_yfp_manifest(folder, manifest)} clips are drafted in {manifest}")
    check = check_draft(manifest, folder)
    table, page = manifest.with_suffix(".faces.csv"), manifest.with_suffix(".faces.html")
    write_draft_check(check, table, page)
    tell_all(f"Not compared: {item.item}, {item.reason}" for item in check.skipped)
    tell(
        f"{len(check.contradictions)} pairs of clips have faces that contradict their names: see {page} and {table}, correct "
        f"the subjects in {manifest}, then `ingest` it"
        if check.contradictions
        else f"No faces contradict the names; check the subjects in {manifest}, then `ingest` it"
    )


@app.command()
def annotate(
    state: State = DEMO,
    *,
    whole: Annotated[bool, typer.Option("--whole", help="Read all answers again, not only the changed ones.")] = False,
    accept_deletions: Annotated[
        bool, typer.Option("--accept-deletions", help="Retract the answers that disappeared from Label Studio, however many.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Pull the readers' answers, push new tasks, and compute the consensus.

    Example: python -m flows annotate --whole
    """
    settings = connect(state)
    if accept_deletions:
        confirm("retracting all answers that disappeared from Label Studio", yes=yes)
    from flows.annotate import annotate as run

    summary = run(whole=whole, accept_deletions=accept_deletions, settings=settings)
    tell_all(summary.notices)
    print_json(summary)


@app.command()
def status(
    state: State = DEMO,
    *,
    as_json: Json = False,
    page: Annotated[Path | None, typer.Option(help="Also write an HTML page to this file.")] = None,
) -> None:
    """Print the labeling progress: labeled, waiting, disagreed, adjudicated, and each reader with the time left.

    Example: python -m flows status --page labeling.html
    """
    settings = connect(state)
    from flows.reports.labeling import labeling_progress, write_labeling_page
    from flows.workspace import open_workspace
    from labeling.progress import table

    workspace = open_workspace(settings)
    progress = labeling_progress(workspace)
    if page is not None:
        write_labeling_page(workspace, progress, page)
    if as_json:
        print_json(progress)
    else:
        typer.echo(table(progress))


@app.command()
def freeze(state: State = DEMO) -> None:
    """Freeze a snapshot of the frames of all labeled people, and print its digest.

    Example: python -m flows freeze
    """
    settings = connect(state)
    from flows.freeze import freeze as run
    from flows.freeze import unknown_people
    from flows.workspace import open_workspace

    snapshot = run(settings=settings)
    unknown = len(unknown_people(open_workspace(settings)))
    if unknown:
        tell(f"{unknown} people of unknown status are left out: `python -m flows labels cohort` states what a person is.")
    splits = dict(snapshot.subjects)
    print_json({"snapshot": snapshot.digest, "frames": snapshot.num_frames, "splits": splits, "unknown": unknown})


@app.command()
def erase(
    subject: Annotated[str, typer.Argument(help="Pseudonym of the person.")], state: State = DEMO, *, yes: Yes = False
) -> None:
    """Erase a person everywhere, and search for traces. Prints a receipt, and the models that were trained on the person.

    Example: python -m flows erase PSEUDONYM --yes
    """
    settings = connect(state)
    confirm(f"erasing {subject} for good", yes=yes)
    from flows.erase import erase as run
    from flows.erase import known_names, pseudonyms_of
    from flows.workspace import open_workspace
    from vitau.schema import tombstone

    workspace = open_workspace(settings)
    pseudonyms_of(workspace, subject)  # an unknown name fails here; a known one goes to Prefect as its tombstone
    print_json(run(tombstone(subject) if subject in known_names(workspace) else subject, settings=settings))


@app.command()
def rekey(
    state: State = DEMO,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be renamed, and change nothing.")] = False,
    yes: Yes = False,
) -> None:
    """Replace the pseudonym key by VITAU_NEW_PSEUDONYM_KEY: every pseudonym becomes another one, everywhere.

    Example: python -m flows rekey --dry-run
    """
    connection = require(find_connection(state))
    settings = use(connection)
    from dataclasses import replace

    from flows.local_stack.state import replace_secret
    from flows.rekeying.rekey import plan
    from flows.rekeying.rekey import rekey as run
    from flows.workspace import open_workspace

    if dry_run:
        found = plan(replace(open_workspace(settings), rekeying=True))
        print_json(found)
        raise typer.Exit(1 if found.problems else 0)
    confirm("replacing the pseudonym key", yes=yes)
    print_json(run(settings=settings))
    if settings.new_pseudonym_key is not None and connection.source("VITAU_PSEUDONYM_KEY") is Source.STACK:
        replace_secret(state, "pseudonym_key", settings.new_pseudonym_key.get_secret_value())
        tell(f"The services of {state} have the new key from their next start on: run `make down` and `make up`.")
    else:
        tell("Set VITAU_PSEUDONYM_KEY to the new key wherever clips are ingested, and unset VITAU_NEW_PSEUDONYM_KEY.")
