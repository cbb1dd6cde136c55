"""``python -m labeling``: what an operator asks of the labelling outside of a flow."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from labeling.interface.config import label_config
from vitau.errors import LabelingError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The labelling: its questions, its progress, its speed.")

Url = Annotated[str, typer.Option(envvar="LABEL_STUDIO_URL", help="Address of Label Studio.")]
Token = Annotated[str, typer.Option(envvar="LABEL_STUDIO_API_KEY", help="Access token.", show_envvar=True)]


@app.command()
def config(*, adjudication: Annotated[bool, typer.Option(help="The adjudicator's page.")] = False) -> None:
    """Prints the labelling configuration, as Label Studio's settings page takes it."""
    typer.echo(label_config(adjudication=adjudication))


@app.command()
def status(
    url: Url,
    token: Token,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
) -> None:
    """Prints, per project, how many people there are, and how many are answered and open: what Label Studio alone knows."""
    from labeling.label_studio import sync
    from labeling.progress import status_table

    with _one_line():
        projects = sync.progress(sync.connect(url, token, patience_s=2))
    typer.echo(json.dumps(projects, indent=2) if as_json else status_table(projects))


@app.command()
def account(
    email: Annotated[str, typer.Argument(help="A pseudonym: reader-a@example.org. Everybody in Label Studio can read it.")],
    url: Url,
    token: Token,
    password: Annotated[str, typer.Option(envvar="LABEL_STUDIO_READER_PASSWORD", prompt=True, hide_input=True)],
) -> None:
    """Makes a reader's account, with keys for one hand. Again, it changes nothing, and never the password."""
    from labeling.label_studio.accounts import ensure_account

    with _one_line():
        made = ensure_account(url, token, email=email, password=password)
    typer.echo(f"{made.email} is account {made.id}")


@app.command()
def bench(
    url: Url,
    token: Token,
    store: Annotated[str, typer.Option(help="A store that this Label Studio may read: its document root.")],
    subjects: Annotated[list[int], typer.Option(min=10, help="How many people to generate; give it twice to compare.")],
) -> None:
    """Measures on a real Label Studio what a person costs: pushed, pulled, and pulled when ten answers changed. Prints JSON."""
    from labeling.label_studio import benchmark as benches
    from labeling.label_studio import sync

    with _one_line():
        measured = benches.measure(
            sync.connect(url, token), subjects, store_uri=store, tell=lambda line: typer.echo(line, err=True)
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
