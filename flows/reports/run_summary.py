"""The summary of a flow run on Prefect's page: a table of what it returned, as a markdown artifact.

An artifact outlives an erasure. It therefore has counts, digests and versions only: no text that a source brought, and no path.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas import FlowRun, State
from prefect.client.schemas.actions import ArtifactCreate

from vitau.catalog.catalog import Training
from vitau.registry.run_metrics import headline

NAMES: Final = frozenset({"action", "digest", "model", "model_digest", "protocol", "recipe", "run_id", "snapshot"})
"""Fields whose text is made by ViTAU itself; every other text is left out."""


def publish_summary(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Store the summary of a finished run; Prefect calls this, and logs an error of it without failing the run."""
    artifact = ArtifactCreate(
        key=f"{flow.name}-summary",
        type="markdown",
        description=f"What `{flow_run.name}` did.",
        data=summary_page(flow_run.name, state.result(raise_on_failure=False)),
        flow_run_id=flow_run.id,
    )
    with get_client(sync_client=True) as client:
        client.create_artifact(artifact)


def summary_page(name: str, result: Any) -> str:
    """Return what a flow returned as a table in markdown."""
    rows = "".join(f"| {fact} | {value} |\n" for fact, value in facts_of(result))
    return f"## {name}\n\n" + (f"| | |\n|---|---|\n{rows}" if rows else "Nothing is reported.\n")


def facts_of(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and value of the numbers in a result, of its named texts, and the lengths of its lists."""
    if isinstance(value, Training):
        yield prefix, f"{value.model} version {value.version}, recipe {value.recipe}"
        shown = {"snapshot": value.snapshot, "digest": value.model_digest, "run_id": value.run_id, **headline(value.metrics)}
        yield from facts_of(shown, prefix)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from facts_of({field.name: getattr(value, field.name) for field in fields(value)}, prefix)
    elif isinstance(value, Mapping):
        for key, own in value.items():
            name = str(key.value if isinstance(key, Enum) else key).replace("_", " ")
            if not isinstance(own, Mapping) or _is_count(own):
                yield from facts_of(_named(str(key), own), f"{prefix} · {name}" if prefix else name)
    elif isinstance(value, list | tuple) and 0 < len(value) <= 2 and all(is_dataclass(item) for item in value):
        for number, item in enumerate(value, 1):
            yield from facts_of(item, f"{prefix} {number}".strip())
    elif (words := _words(value)) is not None:
        yield prefix, words


def _words(value: Any) -> str | None:
    """Return a number, a named text or the length of a list as text; ``None`` for what is not shown."""
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, _Text):
        return f"`{value}`"
    return f"{len(value)} listed" if isinstance(value, list | tuple | set | frozenset) else None


def _is_count(value: Mapping[Any, Any]) -> bool:
    """Return whether a nested mapping has numbers or trainings only; metrics of a metric are left to the report."""
    return all(isinstance(own, int | Training) for own in value.values())


class _Text(str):
    """A text that may be shown."""

    __slots__ = ()


def _named(key: str, value: Any) -> Any:
    """Return a text as one that may be shown if its field says so, and any other value unchanged."""
    return _Text(value) if isinstance(value, str) and key in NAMES else value
