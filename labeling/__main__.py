"""``python -m labeling``: commands for the labeling page, readers' accounts, progress, and a benchmark."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from labeling.interface.config import label_config
from vitau.errors import LabelingError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The labeling page, readers' accounts, progress, and a benchmark."
)

Url = Annotated[str, typer.Option(envvar="LABEL_STUDIO_URL", help="URL of Label Studio.")]
Token = Annotated[str, typer.Option(envvar="LABEL_STUDIO_API_KEY", help="Access token.", show_envvar=True)]


@app.command()
def config(
    *,
    adjudication: Annotated[bool, typer.Option(help="The adjudicator's page.")] = False,
    severity: Annotated[bool, typer.Option(help="Ask for severity and synkinesis too.")] = False,
) -> None:
    """Print the configuration of the labeling page, in the format of Label Studio's settings."""
    typer.echo(label_config(adjudication=adjudication, severity=severity))


@app.command()
def status(
    url: Url,
    token: Token,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print for each project how many people it has, and how many of them are answered and open."""
    from labeling.label_studio.client import connect
    from labeling.label_studio.projects import count_answers
    from labeling.progress import status_table

    with _one_line():
        projects = count_answers(connect(url, token, retry_for_s=2))
    typer.echo(json.dumps(projects, indent=2) if as_json else status_table(projects))


@app.command()
def account(
    email: Annotated[
        str, typer.Argument(help="A pseudonym such as reader-a@example.org; all users of Label Studio can read it.")
    ],
    url: Url,
    token: Token,
    password: Annotated[str, typer.Option(envvar="LABEL_STUDIO_READER_PASSWORD", prompt=True, hide_input=True)],
) -> None:
    """Create a reader's account, with hotkeys for the left hand. Idempotent; an existing password never changes."""
    from labeling.label_studio.accounts import ensure_account

    with _one_line():
        made = ensure_account(url, token, email=email, password=password)
    typer.echo(f"{made.email} is account {made.id}")


@app.command()
def accounts(
    file: Annotated[Path, typer.Argument(help="CSV with the columns email and password; it is written if it is missing.")],
    url: Url,
    token: Token,
    email: Annotated[
        list[str] | None, typer.Argument(help="Pseudonyms such as reader-a@example.org that the file lacks; may be several.")
    ] = None,
) -> None:
    """Create the readers' accounts of a file, and draw the passwords that it lacks. Idempotent.

    The passwords are written to the file before any account is created; only its owner can read it. Give each reader the own
    line, and delete the file.

    Example: python -m labeling accounts readers.csv reader-a@example.org reader-b@example.org
    """
    from labeling.label_studio.accounts import draw_passwords, ensure_account

    with _one_line():
        for address, password in draw_passwords(file, email or []).items():
            made = ensure_account(url, token, email=address, password=password)
            typer.echo(f"{made.email} is account {made.id}")


@app.command()
def bench(
    url: Url,
    token: Token,
    store: Annotated[str, typer.Option(help="A store that this Label Studio may read, such as its document root.")],
    subjects: Annotated[list[int], typer.Option(min=10, help="How many people to generate; repeat the option to compare.")],
) -> None:
    """Measure a push, a whole pull, and a pull of ten changes on a running Label Studio; print JSON."""
    from labeling.label_studio import benchmark
    from labeling.label_studio.client import connect

    with _one_line():
        measured = benchmark.measure(
            connect(url, token), subjects, store_uri=store, report=lambda line: typer.echo(line, err=True)
        )
    typer.echo(json.dumps(measured, indent=2))


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except LabelingError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app(prog_name="python -m labeling")
