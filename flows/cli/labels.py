"""``python -m flows labels``: labels for the people who manage them."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.connection import connect, connect_stored
from flows.cli.console import COHORTS, DEMO, Json, State, Yes, check_choice, confirm, print_json, render_table, tell, tell_all
from flows.cli.label_tables import label_table, merge_notices, render_label_report, render_simulation

app = typer.Typer(no_args_is_help=True, help="Labels: their history, agreement and staleness; export, import and merging.")


@app.command()
def at(
    offset: Annotated[int, typer.Argument(min=0, help="Ledger offset, such as that of a snapshot.")],
    state: State = DEMO,
    as_json: Json = False,
) -> None:
    """Print the labels at a ledger offset, by today's consensus rule: 1 affected, 0 not affected, - cannot be told.

    Example: python -m flows labels at 640
    """
    settings = connect_stored(state)
    from flows.annotation.consensus import labels_at
    from flows.workspace import open_workspace

    labels = labels_at(open_workspace(settings), offset)
    if as_json:
        print_json(labels)
    else:
        typer.echo(label_table(labels) or "nobody has a label yet")


@app.command("report")
def print_report(state: State = DEMO, as_json: Json = False) -> None:
    """Print the agreement between readers and the statistics of each reader, with 95 % intervals over people.

    Example: python -m flows labels report
    """
    settings = connect_stored(state)
    from flows.annotation.consensus import label_report
    from flows.workspace import open_workspace

    report = label_report(open_workspace(settings))
    if as_json:
        print_json(report)
    else:
        typer.echo(render_label_report(report))


@app.command()
def stale(state: State = DEMO, as_json: Json = False) -> None:
    """Print the stale answers: those about people whose newer frames look different from the answered ones.

    Example: python -m flows labels stale
    """
    settings = connect_stored(state)
    from flows.annotation.key_frames import find_stale_answers
    from flows.workspace import open_workspace

    workspace = open_workspace(settings)
    found = find_stale_answers(workspace, workspace.newest_answers()[0])
    if as_json:
        print_json(found)
    else:
        rows = ([answer.subject, answer.reader, f"{answer.difference:.3f}"] for answer in found)
        typer.echo(render_table(["subject", "reader", "difference"], rows) or "no answer is stale")


@app.command()
def reassign(
    reader: Annotated[str, typer.Argument(help="Pseudonym of the reader.")],
    state: State = DEMO,
    *,
    back: Annotated[bool, typer.Option("--back", help="The reader is there again.")] = False,
) -> None:
    """Move the open tasks of a reader who is away to the other readers, and push no new ones there, until --back.

    The next `annotate` moves the tasks. A task that the reader has begun stays there, and another reader gets the person too.

    Example: python -m flows labels reassign reader-c
    """
    settings = connect(state)
    from flows.annotation.task_queue import set_absent
    from flows.workspace import open_workspace

    print_json({"reader": reader, "away": not back, "new": set_absent(open_workspace(settings), reader, absent=not back)})
    tell("The next `annotate` " + ("gives the reader tasks again." if back else "gives the open tasks to the others."))


@app.command()
def replay(
    auroc: Annotated[
        list[float] | None,
        typer.Option(min=0.5, max=1, help="AUROC that a model must reach, by default 0.75; may be repeated."),
    ] = None,
    populations: Annotated[int, typer.Option(min=2, help="Populations of drawn people.")] = 20,
    people: Annotated[int, typer.Option(min=40, help="Drawn patients to label in each population.")] = 300,
    held_out: Annotated[int, typer.Option(min=20, help="Drawn patients in each population that measure the model.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the populations.")] = 0,
    as_json: Json = False,
) -> None:
    """Simulate the labeling orders on drawn people with a known truth: labels that each order needs for a given AUROC.

    Example: python -m flows labels replay --populations 4 --people 100
    """
    from flows.studies.active_learning import run

    found = run(auroc or [0.75], populations=populations, people=people, held_out=held_out, seed=seed)
    if as_json:
        print_json(found)
    else:
        typer.echo(render_simulation(found))


@app.command()
def calibrate(
    threshold: Annotated[float | None, typer.Option(min=0, help="By default that of VITAU_ASK_AGAIN_ABOVE.")] = None,
    people: Annotated[int, typer.Option(min=4, help="Drawn patients, four clips of each.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the patients.")] = 0,
    as_json: Json = False,
) -> None:
    """Measure on drawn patients how different new frames look, and how often readers would be asked again.

    Example: python -m flows labels calibrate --people 8
    """
    from flows.settings import ASK_AGAIN_ABOVE
    from flows.studies.change_threshold import run

    threshold = ASK_AGAIN_ABOVE if threshold is None else threshold
    kinds = run(people, threshold=threshold, seed=seed)
    if as_json:
        print_json(kinds)
    else:
        rows = ([x.kind, f"{x.asked_again:.1%}", *(f"{value:.3f}" for value in x.quantiles)] for x in kinds)
        typer.echo(render_table(["new frames", f"above {threshold}", "5 %", "median", "95 %"], rows))


@app.command()
def verify(state: State = DEMO, as_json: Json = False) -> None:
    """Verify the chain of the ledger, the heads that snapshots note, and records of `rekey`; exit with 1 if one is wrong.

    Example: python -m flows labels verify
    """
    settings = connect_stored(state)
    from flows.workspace import open_workspace

    catalog, key = open_workspace(settings).catalog, settings.signing_key
    broken = catalog.broken_ledger_rows()
    changes = catalog.broken_rekeyings(None if key is None else key.get_secret_value().encode())
    if as_json:
        print_json({"ledger_offset": catalog.ledger_offset(), "broken": broken, "broken_rekeyings": changes})
    else:
        typer.echo(f"{catalog.ledger_offset()} rows, {len(broken)} broken")
        tell_all(f"row {offset}: {reason}" for offset, reason in broken.items())
        tell_all(f"record {number} of `rekey` is wrong: {reason}" for number, reason in changes.items())
    if broken or changes:
        raise typer.Exit(1)


@app.command("export")
def export_csv(file: Annotated[Path, typer.Argument(help="The CSV file to write.")], state: State = DEMO) -> None:
    """Write the ledger as a CSV file: all answers, in order.

    Example: python -m flows labels export ledger.csv
    """
    settings = connect_stored(state)
    from flows.annotation.consensus import export_answers
    from flows.workspace import open_workspace

    tell(f"{export_answers(open_workspace(settings).catalog, file)} answers are in {file}")


@app.command("import")
def import_csv(
    file: Annotated[Path, typer.Argument(help="The CSV file to read.")],
    source: Annotated[str, typer.Option(help="Source of its people, as in their manifest.")],
    state: State = DEMO,
) -> None:
    """Import the answers of a study that was labeled elsewhere; all lines, or none if a line is wrong.

    Example: python -m flows labels import study.csv --source paris
    """
    settings = connect_stored(state)
    from flows.annotation.consensus import import_answers
    from flows.workspace import open_workspace

    answers, new = import_answers(open_workspace(settings), file, source=source)
    print_json({"answers": answers, "new": new})


@app.command()
def cohort(
    subject: Annotated[str, typer.Argument(help="Pseudonym of a person of unknown status.")],
    known: Annotated[
        str,
        typer.Argument(
            metavar="COHORT", help="palsy or control.", callback=check_choice("cohort", COHORTS), autocompletion=lambda: COHORTS
        ),
    ],
    why: Annotated[str, typer.Option(help="Reason, for the record; without anything that identifies the person.")],
    state: State = DEMO,
) -> None:
    """State what a person of unknown status is. It is appended: what is stated once is never changed.

    A patient then goes to the readers; a control needs no labels.

    Example: python -m flows labels cohort PSEUDONYM palsy --why "seen in the clinic on 3 December"
    """
    settings = connect_stored(state)
    from flows.workspace import open_workspace
    from vitau.schema import Cohort, canonical_name

    catalog = open_workspace(settings).catalog
    new = catalog.state_cohort(subject, Cohort(known), why=why)
    print_json({"subject": canonical_name(subject, catalog.merged_names()), "cohort": known, "new": new})


@app.command()
def lookalikes(
    state: State = DEMO,
    *,
    below: Annotated[
        float | None, typer.Option(min=0, help="Distance of faces, by default that of VITAU_IDENTITY_WARNING.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Also write a page with both faces of each pair to this file.")] = None,
    as_json: Json = False,
) -> None:
    """List pairs of people with near faces, who may be one person; a page shows both faces and the command to merge them.

    Example: python -m flows labels lookalikes --page lookalikes.html
    """
    settings = connect_stored(state)
    from flows.identity.lookalikes import find_lookalikes
    from flows.identity.page import lookalike_pairs, write_faces_page
    from flows.workspace import open_workspace

    workspace = open_workspace(settings)
    limit = settings.identity_warning if below is None else below
    found = find_lookalikes(workspace, below=limit)
    if page is not None:
        note = (
            f"The faces of these people are nearer than {limit:g}. Merge two only if you see one person: a merge is for good. "
            "Relatives can look alike."
        )
        pairs = lookalike_pairs(workspace, found, settings.identity_floor)
        write_faces_page(page, pairs, title="People who may be one person", note=note)
        tell(f"{len(pairs)} pairs of faces are in {page}; it shows people, keep it on this machine")
    if as_json:
        print_json([{"one": pair.one, "other": pair.other, "distance": round(pair.distance, 4)} for pair in found])
    else:
        rows = ([pair.one, pair.other, f"{pair.distance:.3f}", "several" if pair.several else "one"] for pair in found)
        typer.echo(render_table(["subject", "other", "distance", "faces"], rows) or "nobody has near faces")


@app.command()
def merge(
    kept: Annotated[str, typer.Argument(help="Pseudonym that stays.")],
    other: Annotated[str, typer.Argument(help="Pseudonym of the same person.")],
    why: Annotated[str, typer.Option(help="Reason, for the record; without anything that identifies the person.")],
    state: State = DEMO,
    *,
    yes: Yes = False,
) -> None:
    """Merge two subjects who are one person, with both histories. Prints the models trained on the person in another split.

    Example: python -m flows labels merge PSEUDONYM OTHER --why "same face" --yes
    """
    settings = connect_stored(state)
    confirm(f"merging {other} into {kept} for good", yes=yes)
    from flows.annotation.consensus import merge_subjects
    from flows.workspace import open_workspace

    summary = merge_subjects(open_workspace(settings), kept, other, why=why)
    print_json(summary)
    tell_all(merge_notices(summary))
