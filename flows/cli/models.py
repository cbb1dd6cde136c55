"""Commands on models: train, score, promote, roll back, and look at decisions, lineage and drift."""

import getpass
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.connection import connect, connect_stored
from flows.cli.console import (
    DEMO,
    MODELS,
    EngineName,
    Json,
    Size,
    State,
    check_choice,
    print_json,
    tell,
    tell_all,
)
from flows.execution.executor import SUBJECTS, start_workers
from flows.settings import EVIDENCE_PROTOCOLS, REGION_MODELS, Settings

if TYPE_CHECKING:  # torch and MLflow, which `--help` need not load
    from flows.promotion.decisions import AuditEntry, Decision
    from vitau.catalog.catalog import Training

app = typer.Typer()

Snapshot = Annotated[str, typer.Argument(help="Digest of a snapshot.")]
Model = Annotated[
    str,
    typer.Argument(
        help="vitau-palsy or vitau-regions.", callback=check_choice("model", MODELS), autocompletion=lambda: list(MODELS)
    ),
]
AnyModel = Annotated[
    str | None,
    typer.Argument(
        help="vitau-palsy or vitau-regions; by default both.",
        callback=check_choice("model", MODELS),
        autocompletion=lambda: list(MODELS),
    ),
]
By = Annotated[str | None, typer.Option(help="Person who decides, for the record; by default your log-in name.")]


@app.command()
def retrain(  # noqa: PLR0913 - an argument for each option of the command
    snapshot: Snapshot,
    size: Size = "tiny",
    regions: Annotated[
        str | None,
        typer.Option(
            help="Region model: sided names the affected side, paired is the paper's, fgnet is for FG-Net's checkpoint.",
            callback=check_choice("kind of regions", REGION_MODELS),
            autocompletion=lambda: list(REGION_MODELS),
        ),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="timm's vision transformer for recognition, such as vit_base_patch14_dinov2.")
    ] = None,
    weights_palsy: Annotated[
        list[str] | None, typer.Option(help="Weights of the backbone: a file, store:KEY or hub; the first that exists.")
    ] = None,
    weights_regions: Annotated[
        list[str] | None, typer.Option(help="A public checkpoint of the region model: a file or store:KEY; repeat for several.")
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="How models are judged: subjects holds people out, lopo leaves one out at a time, auto (default) chooses.",
            callback=check_choice("protocol", EVIDENCE_PROTOCOLS),
            autocompletion=lambda: list(EVIDENCE_PROTOCOLS),
        ),
    ] = None,
    state: State = DEMO,
    *,
    balance_people: Annotated[
        bool, typer.Option("--balance-people", help="Draw every training person equally often; small studies always do.")
    ] = False,
) -> None:
    """Train both models on a snapshot, register them, and promote those that pass the promotion policy.

    If fewer than 5 palsied people or others are held out, every palsied person is left out once, and the models are then
    trained on everybody. The sizes base and paper start from public weights that you bring; settings can name them too.

    Example: python -m flows retrain DIGEST --size base --weights-palsy vit.safetensors --weights-regions psp.pt
    """
    settings = connect(state)
    from flows.retrain import retrain as run

    given = {
        "regions": regions,
        "backbone": backbone,
        "weights_palsy": tuple(weights_palsy or ()),
        "weights_regions": tuple(weights_regions or ()),
        "balance_people": balance_people,
        "protocol": protocol,
    }
    settings = settings.model_copy(update={name: value for name, value in given.items() if value})
    trained = run(snapshot, size, settings=settings)
    print_json({name: outcome(training) for name, training in trained.items()})
    tell_decisions(settings, trained.values())


@app.command()
def register(
    folder: Annotated[
        Path, typer.Argument(help="The --out of a `python -m vitau.training`, trained on a snapshot of the store.")
    ],
    by: By = None,
    state: State = DEMO,
) -> None:
    """Register a model that was trained by hand, and promote it if it passes the promotion policy.

    Example: python -m flows register run
    """
    settings = connect(state)
    from flows.retrain import register_folder
    from flows.workspace import PrivatePath

    training = register_folder(PrivatePath(folder.resolve()), operator(by), settings=settings)
    print_json({training.model: outcome(training)})
    tell_decisions(settings, [training])


@app.command()
def rescore(
    snapshot: Snapshot,
    out: Annotated[Path, typer.Option(help="File of the report.")] = Path("report.html"),
    state: State = DEMO,
    engine: EngineName = "local",
    *,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Also score people without labels, which orders the readers' queues.")
    ] = False,
) -> None:
    """Score the held-out people of a snapshot with the champions, and write the report.

    Example: python -m flows rescore DIGEST --out report.html
    """
    settings = connect(state)
    start_workers(SUBJECTS, engine, settings.num_processes)
    from flows.execution.executor import Engine
    from flows.rescore import rescore as run
    from flows.workspace import PrivatePath

    print_json(run(snapshot, report=PrivatePath(out.resolve()), engine=Engine(engine), waiting=waiting, settings=settings))


@app.command("score-new")
def score_new(
    source: Annotated[Path, typer.Argument(help="A manifest, a CK+ tree, a folder of photos or clips, or one file.")],
    out: Annotated[Path, typer.Option(help="Folder for the report, the tables and the pictures; outside of the source.")],
    state: State = DEMO,
    engine: EngineName = "local",
) -> None:
    """Score new people with the champion, without asking for a label: ingest, gate, score, and write a report.

    If items cannot be scored, they are listed with their reasons and the exit code is 1; all others are scored. After a kill,
    the same command continues. OUT/items.csv leads from each recording to its person: keep it where you keep the recordings.

    Example: python -m flows score-new inbox --out scores
    """
    settings = connect(state)
    start_workers(SUBJECTS, engine, settings.num_processes)
    from flows.execution.executor import Engine
    from flows.scoring.new_people import score_new as run
    from flows.workspace import PrivatePath

    summary = run(PrivatePath(source.resolve()), PrivatePath(out.resolve()), engine=Engine(engine), settings=settings)
    tell_all(f"Not scored, {item.item}: {item.reason}" for item in summary.skipped)
    print_json({**asdict(summary), "skipped": len(summary.skipped), "report": str(out / "report.html")})
    raise typer.Exit(1 if summary.skipped else 0)


@app.command()
def promote(
    model: AnyModel = None,
    version: Annotated[int | None, typer.Argument(help="By default the newest.")] = None,
    why: Annotated[str | None, typer.Option(help="Promote against the decision of the policy, and record this reason.")] = None,
    by: By = None,
    state: State = DEMO,
) -> None:
    """Compare a version with the champion on people held out from both, and promote it if the policy allows.

    The exit code is 1 if a version is named and does not become champion.

    Example: python -m flows promote vitau-palsy 3
    """
    if why is not None and (version is None or not why.strip()):
        raise ValueError("--why needs a reason, and a MODEL and a VERSION to promote against the policy")
    settings = connect(state)
    from flows.promote import promote as run

    decisions = run(model, version, why, operator(by), settings=settings)
    print_json(decisions)
    tell_all(map(sentence, decisions))
    raise typer.Exit(1 if version is not None and decisions[0].after != version else 0)


@app.command()
def rollback(
    model: Model,
    why: Annotated[str, typer.Option(help="Reason, for the record.")] = "",
    by: By = None,
    state: State = DEMO,
) -> None:
    """Restore the previous champion; the next pull gets it.

    Example: python -m flows rollback vitau-palsy --why "worse on new cameras"
    """
    settings = connect(state)
    from flows.promote import rollback as run

    decision = run(model, why, operator(by), settings=settings)
    print_json(decision)
    tell_all([sentence(decision)])


@app.command()
def history(model: AnyModel = None, as_json: Json = False, state: State = DEMO) -> None:
    """Print all promotion decisions and check their signatures; the exit code is 1 if a signature does not match.

    Example: python -m flows history vitau-regions --json
    """
    settings = connect_stored(state)
    from flows.promotion.decisions import history as read_history
    from flows.workspace import open_workspace
    from vitau.registry.tracking import is_reachable

    compare = is_reachable(settings.mlflow_url)
    entries = read_history(open_workspace(settings), model, compare=compare)
    if as_json:
        print_json([{**entry.record.facts, "signature": entry.record.signature, "problem": entry.problem} for entry in entries])
    else:
        typer.echo("\n".join(line for entry in entries for line in entry_lines(entry)) or "no decision yet")
    if not compare:
        tell("MLflow does not run: the aliases and files of the champions there were not compared with the records")
    raise typer.Exit(1 if any(entry.problem for entry in entries) else 0)


@app.command()
def public_key(state: State = DEMO) -> None:
    """Print the public key that verifies promotions; model users give it to `vitau pull --key`.

    Example: python -m flows public-key
    """
    settings = connect_stored(state)
    from flows.workspace import open_workspace
    from vitau.catalog.signing import public_key as of

    typer.echo(of(open_workspace(settings).signing_key()))


@app.command()
def lineage(
    name: Annotated[
        str,
        typer.Argument(help="DIGEST/SUBJECT (a score), vitau-palsy/2 (a version), a digest, a clip's sha256, or a pseudonym."),
    ],
    as_json: Json = False,
    state: State = DEMO,
) -> None:
    """Print the origin of a score or a version, or the models and scores that a clip or a person went into.

    Example: python -m flows lineage vitau-palsy/2
    """
    settings = connect_stored(state)
    from flows.reports.lineage import lineage as follow
    from flows.reports.lineage import tree
    from flows.workspace import open_workspace

    found = follow(open_workspace(settings), name)
    if as_json:
        print_json(found)
    else:
        typer.echo("\n".join(tree(found)))


@app.command()
def monitor(
    out: Annotated[Path, typer.Option(help="File of the page.")] = Path("monitor.html"),
    days: Annotated[int | None, typer.Option(min=1, help="Only people who arrived in the last days.")] = None,
    state: State = DEMO,
) -> None:
    """Measure drift: compare the people who arrived since the champion's snapshot with those in it.

    The people who differ most go to the readers.

    Example: python -m flows monitor --days 30
    """
    settings = connect(state)
    from flows.monitor import monitor as run
    from flows.workspace import PrivatePath

    summary = run(PrivatePath(out.resolve()), days, settings=settings)
    print_json(summary)
    tell_all(summary.notices)


def outcome(training: "Training") -> dict[str, object]:
    """Return what a training is printed as: its version, its metrics on test people, and the shortcut probe beside them."""
    beside = {name: training.metrics[name] for name in ("shortcut_probe",) if name in training.metrics}
    return {"version": training.version, "test": training.metrics.get("test"), **beside}


def tell_decisions(settings: Settings, trainings: Iterable["Training"]) -> None:
    """Print what was decided about versions that were just trained or registered, with the reasons against them."""
    from flows.promotion.decisions import last_decisions
    from flows.workspace import open_workspace

    tell_all(map(sentence, last_decisions(open_workspace(settings), trainings)))


def operator(by: str | None) -> str:
    """Return the name of the person who runs a command, for the record."""
    return f"operator {by or getpass.getuser()}"


def sentence(decision: "Decision") -> str:
    """Return a promotion decision in words, with the reasons against the version."""
    outcome = f"{decision.model} version {decision.version}: {decision.action}; champion is {decision.after or 'none'}"
    return "\n  ".join([outcome, *decision.against])


def entry_lines(entry: "AuditEntry") -> Sequence[str]:
    """Return a record for a terminal: version, time, person and reason; then the reasons against the version."""
    from flows.promotion.decisions import against

    record = entry.record
    moved = f"champion {record.before or 'none'} → {record.after or 'none'}"
    why = f"  why: {record.facts['why']}" if record.facts.get("why") else ""
    state = entry.problem or "signature holds"
    first = (
        f"{record.number:4}  {record.time[:19]}Z  {record.model}/{record.version}  {record.action}  {moved}  "
        f"by {record.facts['by']}{why}  [{state}]"
    )
    return [first, *(f"        {sentence}" for sentence in against(record))]
