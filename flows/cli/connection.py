"""Connection of a command to its services: the variables that it works with, and where each one came from.

The rule has two cases. If ``VITAU_STORE`` or ``VITAU_CATALOG`` is exported, the environment names all services, and nothing is
taken from a running stack: a store of one installation must never meet the catalog of another. Otherwise the stack that runs in
the state folder names them, and any other variable that is exported still wins.

A command that needs the catalog and the store alone also works on a folder with SQLite whose services do not run.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from flows.cli.console import tell
from flows.local_stack import stack
from flows.settings import PREFIX, Settings, SettingsError, load_settings, mask_password
from vitau.errors import StackError

WORKSPACE: Final = ("VITAU_STORE", "VITAU_CATALOG")
"""The variables that decide whose services a command works on."""
_KEYS: Final = ("AWS_", "VITAU_CATALOG_")
"""Of the stack's own S3 and PostgreSQL: keys and roles that are exported for another server are of no use there."""


class Source(StrEnum):
    """Origin of a variable's value."""

    ENVIRONMENT = "environment"
    STACK = "running stack"
    DEFAULT = "default"


@dataclass(frozen=True, kw_only=True)
class Connection:
    """The variables of a command.

    ``from_stack`` names those that the stack in ``state`` gave; ``kept`` those that the operator exported against it, and
    ``unused`` those that the operator exported in vain. ``at_rest``: the services in ``state`` do not run.
    """

    variables: Mapping[str, str]
    from_stack: frozenset[str] = frozenset()
    kept: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    at_rest: bool = False
    state: Path

    def source(self, name: str) -> Source:
        """Return where the value of a variable came from."""
        if name in self.from_stack:
            return Source.STACK
        return Source.ENVIRONMENT if name in self.variables else Source.DEFAULT

    def settings(self) -> Settings:
        """Build the settings.

        Raises:
            SettingsError: variables are missing or invalid; if a stack runs and is not used, the message names the reason.
        """
        try:
            return load_settings(self.variables)
        except SettingsError as error:
            exported = [name for name in WORKSPACE if self.variables.get(name)]
            if self.from_stack or not exported or not stack.running(self.state):
                raise
            raise SettingsError(
                f"{error}; the services running in {self.state} are not used, because {' and '.join(exported)} is exported"
            ) from None

    def export(self) -> None:
        """Export to libraries what the stack gave; what the operator exported is there already."""
        export_to_libraries({name: self.variables[name] for name in self.from_stack if not name.startswith(PREFIX)})

    def sentence(self, settings: Settings) -> str:
        """Return the line that names the store, the catalog and their origin; passwords are masked."""
        running = f"in {self.state}, whose services do not run" if self.at_rest else f"of the services running in {self.state}"
        origin = running if self.from_stack else "from the environment"
        exceptions = f"; from the environment: {', '.join(self.kept)}" if self.kept else ""
        exceptions += f"; not used: the exported {', '.join(self.unused)}" if self.unused else ""
        store, catalog = mask_password(settings.store), mask_password(settings.catalog.get_secret_value())
        return f"Working on store {store} and catalog {catalog}, {origin}{exceptions}"


def resolve(environ: Mapping[str, str], stack_variables: Mapping[str, str], state: Path) -> Connection:
    """Return the connection by the rule of this module; ``stack_variables`` is empty if no stack runs in ``state``."""
    if not stack_variables or any(environ.get(name) for name in WORKSPACE):
        return Connection(variables=environ, state=state)
    taken = {name: value for name, value in stack_variables.items() if name.startswith(_KEYS) or not environ.get(name)}
    return Connection(
        variables={**environ, **taken},
        from_stack=frozenset(taken),
        kept=_exported_against(environ, {name: value for name, value in stack_variables.items() if name not in taken}),
        state=state,
    )


def resolve_own(environ: Mapping[str, str], stack_variables: Mapping[str, str], state: Path) -> Connection:
    """Return the connection of the demo: always its own stack, for drawn people must not reach an exported store."""
    return Connection(
        variables={**environ, **stack_variables},
        from_stack=frozenset(stack_variables),
        unused=_exported_against(environ, stack_variables),
        state=state,
    )


def find_connection(state: Path) -> Connection:
    """Return the connection of a command that was given a state folder."""
    running = stack.running(state)
    return resolve(os.environ, stack.environment(state, running) if running else {}, state)


def connect(state: Path) -> Settings:
    """Return the settings of a command, export what libraries read themselves, and print the line that names the workspace.

    Raises:
        StackError: no stack runs in ``state`` and no services are exported.
        SettingsError: variables are missing or invalid.
    """
    return use(require(find_connection(state)))


def connect_stored(state: Path) -> Settings:
    """Return the settings of a command that needs the catalog and the store only, as :func:`connect` does.

    If no services run, those of the state folder are read as they are at rest: SQLite and a folder need no service.

    Raises:
        StackError: no stack runs in ``state``, it holds no catalog in SQLite, and no services are exported.
        SettingsError: variables are missing or invalid.
    """
    connection = find_connection(state)
    if not names_services(connection) and stack.holds_catalog(state):
        connection = replace(resolve(os.environ, stack.environment_at_rest(state), state), at_rest=True)
    return use(require(connection))


def names_services(connection: Connection) -> bool:
    """Return whether a connection names a store or a catalog."""
    return any(connection.variables.get(name) for name in WORKSPACE)


def require(connection: Connection) -> Connection:
    """Return a connection that names services.

    Raises:
        StackError: it names none.
    """
    if not names_services(connection):
        raise StackError(
            f"no services run on {connection.state}: start them with `make up`, or set VITAU_STORE and its companions"
        )
    return connection


def use(connection: Connection) -> Settings:
    """Return the settings of a connection, export what libraries read themselves, and print the line of the workspace.

    Raises:
        SettingsError: variables are missing or invalid.
    """
    settings = connection.settings()
    connection.export()
    tell(connection.sentence(settings))
    return settings


def export_to_libraries(variables: Mapping[str, str]) -> None:
    """Export variables to this process and its children, for libraries that read the environment themselves.

    This is the only place in the commands that writes ``os.environ``. Prefect reads ``PREFECT_…`` when it is imported, MLflow
    reads ``MLFLOW_…`` at any time, and boto3 reads ``AWS_…`` in every process that opens the store: clip workers, trainings,
    workers of Ray. ViTAU's own settings are passed as a value and are refused here.
    """
    own = [name for name in variables if name.startswith(PREFIX)]
    assert not own, f"{own} are settings: pass them as a value"
    os.environ.update(variables)


def _exported_against(environ: Mapping[str, str], stack_variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return the exported settings and addresses that differ from those of the stack."""
    names = [name for name in stack_variables if name.startswith(PREFIX) or name == "PREFECT_API_URL"]
    return tuple(sorted(name for name in names if environ.get(name) and environ[name] != stack_variables[name]))
