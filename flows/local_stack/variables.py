"""Environment variables of the local services' clients: settings, and what Prefect, MLflow and boto3 read themselves.

Every program gets the secrets that it needs, and no others.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from flows.local_stack import backends
from flows.local_stack.databases import ERASER, WRITER, database_url
from flows.local_stack.state import Profile, read_secrets

PREFECT_USER: Final = "vitau"
MLFLOW_USER: Final = "vitau"
MLFLOW_READER: Final = "reader"

QUIET_MLFLOW: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the demo prints the addresses once
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


def environment(state: Path, profile: Profile, addresses: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an operator's commands: everything."""
    kept = read_secrets(state)
    common = {
        "VITAU_PSEUDONYM_KEY": kept["pseudonym_key"],
        "VITAU_SIGNING_KEY": kept["signing_key"],
        "VITAU_LABEL_STUDIO_URL": addresses["label-studio"],
        "VITAU_LABEL_STUDIO_TOKEN": kept["label_studio_token"],
        "VITAU_MLFLOW_URL": addresses["mlflow"],
        "VITAU_WORK": str(state / "work"),
        "PREFECT_API_URL": f"{addresses['prefect']}/api",
        "PREFECT_API_AUTH_STRING": prefect_log_in(state),
        "MLFLOW_TRACKING_USERNAME": MLFLOW_USER,
        "MLFLOW_TRACKING_PASSWORD": kept["mlflow_password"],
        **prefect_home(state),
        **QUIET_MLFLOW,
    }
    if profile is Profile.EMBEDDED:
        return common | {"VITAU_STORE": (state / "store").as_uri(), "VITAU_CATALOG": f"sqlite:///{state / 'catalog.db'}"}
    return common | {
        "VITAU_STORE": f"s3://{backends.BUCKET}",
        "VITAU_CATALOG": database_url(state, addresses, "vitau", driver="psycopg", role=WRITER),
        "VITAU_CATALOG_OWNER": database_url(state, addresses, "vitau", driver="psycopg"),
        "VITAU_CATALOG_ERASER": database_url(state, addresses, "vitau", driver="psycopg", role=ERASER),
        "VITAU_WEBHOOK_URL": f"{addresses['receiver']}/webhook",
        "VITAU_WEBHOOK_SECRET": kept["webhook_secret"],
        "VITAU_PAGES_ACCESS_KEY": backends.PAGES,
        "VITAU_PAGES_SECRET_KEY": kept["pages_s3_secret"],
        **backends.s3_keys(addresses, backends.FLOWS, kept["s3_secret"]),
    }


def naming_environment(state: Path, addresses: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the worker that ingests and erases: people have names there, and nobody owns the ledger."""
    every = environment(state, Profile.FULL, addresses)
    del every["VITAU_CATALOG_OWNER"]
    return every


def unnamed_environment(state: Path, addresses: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a program of the profile ``full`` that sees no names of people, and erases nobody."""
    every = naming_environment(state, addresses)
    for name in ("VITAU_PSEUDONYM_KEY", "VITAU_CATALOG_ERASER"):
        del every[name]
    return every


def scoring_environment(state: Path, addresses: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a worker that trains and scores: it can neither name people nor change their recordings."""
    keys = backends.s3_keys(addresses, backends.SCORING, read_secrets(state)["scoring_s3_secret"])
    return unnamed_environment(state, addresses) | keys


def prefect_log_in(state: Path) -> str:
    """Return Prefect's authentication string, ``user:password``; its page asks for it."""
    return f"{PREFECT_USER}:{read_secrets(state)['prefect_password']}"


def prefect_home(state: Path) -> dict[str, str]:
    """Return the variables that Prefect's server and its clients share."""
    return {
        "PREFECT_HOME": str(state / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "DO_NOT_TRACK": "1",
    }
