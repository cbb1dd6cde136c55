"""Generate the secrets of `compose.yaml`, one file each: ``python infra/make_secrets.py FOLDER``. Existing files are kept.

Compose mounts a file with the owner and the mode that it has here. So run this as root: the files then belong to the user of
the containers, and nobody else can read them. It needs the standard library only.
"""

import json
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

CONTAINER_USER = 10001
"""The user of every container, also in `app.Dockerfile` and `compose.yaml`."""
DATABASES = {"catalog_owner": "vitau", "catalog_writer": "vitau", "prefect": "prefect", "mlflow": "mlflow", "label_studio": ""}
"""Roles of PostgreSQL, which `databases.sql` creates, and the database in the address of each. The role `eraser` came later."""
RESULTS = (
    *("scores/", "reports/", "monitoring/", "snapshots/", "checkpoints/", "pretrained/", "models/", "validation/"),
    "subjects/*/keyframes/",  # monitoring asks the readers about people
    "subjects/*/clips/*/faces-",  # gate 3 compares several faces of near clips, before each training
)
"""Beginnings of the keys that training and scoring write, as in `flows/local_stack/backends.py`."""


def make_secrets(folder: Path) -> list[str]:
    """Write the missing files, readable by the user of the containers only; return their names.

    Raises:
        SystemExit: files are missing that must fit others which exist.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sets = (database_files(), eraser_files(), object_files(), access_files(), study_files())
    missing: list[str] = []
    for files in sets:
        lacking = [name for name in files if not (folder / name).exists()]
        if lacking and len(lacking) < len(files) and files is not sets[-1]:
            raise SystemExit(f"Error: {', '.join(lacking)} missing in {folder}, but others that fit them exist: restore a copy")
        for name in lacking:
            write_private(folder / name, files[name])
        missing += lacking
    return missing


def database_files() -> dict[str, str]:
    """Return the passwords of PostgreSQL's roles, and the addresses that contain them."""
    password = {role: secrets.token_hex(20) for role in DATABASES}

    def address(driver: str, role: str) -> str:
        return database_address(driver, role, password[role], DATABASES[role])

    return {
        "POSTGRES_PASSWORD": secrets.token_hex(20),
        **{f"database_{role}": password[role] for role in DATABASES},
        "VITAU_CATALOG": address("psycopg", "catalog_writer"),
        "catalog_owner": address("psycopg", "catalog_owner"),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": address("asyncpg", "prefect"),
        "MLFLOW_BACKEND_STORE_URI": address("psycopg", "mlflow"),
        "mlflow_access.ini": mlflow_access(address("psycopg", "mlflow")),
    }


def eraser_files() -> dict[str, str]:
    """Return the password of the role that searches and compacts all databases, and its address of the catalog."""
    password = secrets.token_hex(20)
    return {"database_eraser": password, "VITAU_CATALOG_ERASER": database_address("psycopg", "eraser", password, "vitau")}


def database_address(driver: str, role: str, password: str, database: str) -> str:
    """Return the address of a database in SQLAlchemy's form."""
    return f"postgresql+{driver}://{role}:{password}@postgresql:5432/{database}"


def mlflow_access(database: str) -> str:
    """Return the configuration of MLflow's authentication, in which everybody but one log-in may only read."""
    return (
        "[mlflow]\n"
        f"database_uri = {database}\n"
        "authorization_function = vitau.registry.access:authenticate\n"
        "default_permission = READ\n"
        "auth_cache_ttl_seconds = 300\n"
    )


def object_files() -> dict[str, str]:
    """Return the identities of S3, and the keys of each."""
    password = {name: secrets.token_hex(20) for name in ("admin", "vitau", "scoring", "pages", "mlflow")}
    objects = ("Read", "List", "Tagging", "Write")
    actions = {
        "admin": ["Admin", *objects],  # makes the buckets
        "vitau": [f"{action}:vitau" for action in objects],  # clips and labels
        "scoring": ["Read:vitau", "List:vitau", *(f"Write:vitau/{prefix}*" for prefix in RESULTS)],
        # `vita?` is the bucket itself, which Label Studio asks for, and no object
        "pages": ["List:vitau", "Read:vita?", "Read:vitau/subjects/*/keyframes/*", "Read:vitau/subjects/*/clips/*"],
        "mlflow": [f"{action}:mlflow" for action in objects],
    }
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": password[name]}], "actions": actions[name]}
        for name in password
    ]
    return {
        "s3.json": json.dumps({"identities": identities}),
        **{f"s3_{name}": credentials(name, password[name]) for name in password if name != "pages"},
        "VITAU_PAGES_SECRET_KEY": password["pages"],
    }


def credentials(name: str, secret: str) -> str:
    """Return an AWS_SHARED_CREDENTIALS_FILE, as boto3 reads it."""
    return f"[default]\naws_access_key_id = {name}\naws_secret_access_key = {secret}\n"


def access_files() -> dict[str, str]:
    """Return the log-ins of Prefect, MLflow and Label Studio; the proxy checks those of the first two as well."""
    prefect, mlflow, token = f"vitau:{secrets.token_hex(20)}", secrets.token_hex(20), secrets.token_hex(20)
    return {
        "PREFECT_SERVER_API_AUTH_STRING": prefect,
        "PREFECT_API_AUTH_STRING": prefect,
        "MLFLOW_AUTH_ADMIN_PASSWORD": mlflow,
        "MLFLOW_TRACKING_PASSWORD": mlflow,
        "MLFLOW_READER_PASSWORD": secrets.token_hex(20),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(20),
        "LABEL_STUDIO_USER_TOKEN": token,
        "VITAU_LABEL_STUDIO_TOKEN": token,
        "LABEL_STUDIO_PASSWORD": secrets.token_hex(20),
        "SECRET_KEY": secrets.token_hex(20),
    }


def study_files() -> dict[str, str]:
    """Return the keys that stand alone: of pseudonyms, of signatures and of webhooks."""
    return {name: secrets.token_hex(20) for name in ("VITAU_PSEUDONYM_KEY", "VITAU_SIGNING_KEY", "VITAU_WEBHOOK_SECRET")}


def write_private(path: Path, content: str) -> None:
    """Write a new file that only the user of the containers can read; without root, only the current user."""
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")
    if os.geteuid() == 0:
        os.chown(path, CONTAINER_USER, CONTAINER_USER)
    path.chmod(0o400)


def main(arguments: Sequence[str]) -> None:
    """Write the secrets into the folder in the first argument, and print the names of the new files."""
    for name in make_secrets(Path(arguments[0])):
        print(name)
    if os.geteuid() != 0:
        print(
            f"These files belong to you, and the containers (user {CONTAINER_USER}) cannot read them: "
            f"run `sudo chown {CONTAINER_USER}:{CONTAINER_USER} {arguments[0]}/*`",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
