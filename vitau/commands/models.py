"""The options of commands that judge with models: registered ones, or folders."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from vitau.progress import track

ModelOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="Also judge with this model: models:/NAME@champion, models:/NAME/VERSION or a folder; several times for several.",
        show_default=False,
    ),
]
TrackingOption: TypeAlias = Annotated[
    str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="Address of the MLflow server with the registered models.")
]


def open_models(models: Iterable[str], tracking_uri: str) -> list[tuple[str, Path]]:
    """Return name and folder of each model; registered ones are fetched into the user's cache. Names differ.

    Raises:
        RegistryError: there is no such model, or the registry cannot be reached.
    """
    found: list[tuple[str, Path]] = []
    for model in models:
        name = model if model.startswith("models:") else Path(model).resolve().name
        same = sum(name == taken or taken.startswith(f"{name} (") for taken, _ in found)
        found.append((f"{name} ({same + 1})" if same else name, _folder(model, tracking_uri)))
    return found


def _folder(model: str, tracking_uri: str) -> Path:
    if not model.startswith("models:"):
        return Path(model)
    from vitau.registry.download import model_folder  # MLflow takes seconds

    return model_folder(model, tracking_uri, watch=_watch)


def _watch(names: Iterable[str], total: int) -> Iterator[str]:
    return track(names, "fetching", total, transient=True)
