"""``python -m labeling``: what an operator asks of the labelling outside of a flow."""

import json
from typing import Annotated

import typer

from labeling.project import label_config
from vitau.errors import LabelingError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The labelling: its questions and its progress.")


@app.command()
def config(*, adjudication: Annotated[bool, typer.Option(help="The adjudicator's page.")] = False) -> None:
    """Prints the labelling configuration, as Label Studio's settings page takes it."""
    typer.echo(label_config(adjudication=adjudication))


@app.command()
def status(
    url: Annotated[str, typer.Option(envvar="LABEL_STUDIO_URL", help="Address of Label Studio.")],
    token: Annotated[str, typer.Option(envvar="LABEL_STUDIO_API_KEY", help="Access token.", show_envvar=True)],
) -> None:
    """Prints, per project, how many people there are and how many are answered, as JSON."""
    from labeling import sync  # numpy is not needed for `--help`

    try:
        projects = sync.progress(sync.connect(url, token))
    except LabelingError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(json.dumps(projects, indent=2))


if __name__ == "__main__":
    app(prog_name="python -m labeling")
