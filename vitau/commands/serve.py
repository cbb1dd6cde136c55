"""The command ``vitau serve``."""

from pathlib import Path
from typing import Annotated

import typer

from vitau.errors import VitauError


def serve(
    *,
    model: Annotated[
        Path | None, typer.Option(help="Folder of a pulled model that scores recordings too.", show_default=False)
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep recordings and results in this new folder.", show_default=False)
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; others than this computer's need VITAU_SERVE_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8700,
    also: Annotated[
        list[str] | None, typer.Option("--also-known-as", help="A further name of the server in browsers.", show_default=False)
    ] = None,
    max_mb: Annotated[int, typer.Option(help="Largest recording, MB.", min=1)] = 500,
) -> None:
    """Serve a page on which recordings are measured.

    Drop a photo or clip there, and read its report; tables can be downloaded.
    Nothing leaves this computer, and nothing is kept when the server stops.
    Prints the address of the page. Ctrl-C ends it.
    """
    try:
        from vitau.serving.server import serve as run
    except ModuleNotFoundError as error:
        raise VitauError(f"the page needs {error.name}, which is not installed: pip install 'vitau[serve]'") from error
    run(host=host, port=port, model=model, keep=keep, max_mb=max_mb, hosts=tuple(also or ()), tell=typer.echo)
