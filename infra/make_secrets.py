"""Generate the secrets of `compose.yaml`, one file each: ``python infra/make_secrets.py FOLDER``. Existing files are kept."""

import json
import secrets
import sys
from pathlib import Path


def make_secrets(folder: Path) -> list[str]:
    """Write the missing files, readable by the owner only; return their names."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = {name: secrets.token_hex(20) for name in ("postgresql", "s3", "mlflow_s3")}
    if (folder / "POSTGRES_PASSWORD").exists() != (folder / "s3.json").exists():
        raise SystemExit(f"Error: some of the files in {folder} are missing that belong together: restore them from a copy")
    database = f"vitau:{password['postgresql']}@postgresql:5432"
    everything = ["Admin", "Read", "List", "Tagging", "Write"]
    identities = [
        identity("vitau", password["s3"], everything),
        identity("mlflow", password["mlflow_s3"], [f"{action}:mlflow" for action in everything[1:]]),
    ]
    files = {
        "POSTGRES_PASSWORD": password["postgresql"],
        "POSTGRE_PASSWORD": password["postgresql"],
        "VITAU_CATALOG": f"postgresql+psycopg://{database}/vitau",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{database}/prefect",
        "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg://{database}/mlflow",
        "s3.json": json.dumps({"identities": identities}),
        "s3_vitau": credentials("vitau", password["s3"]),
        "s3_mlflow": credentials("mlflow", password["mlflow_s3"]),
        "VITAU_PSEUDONYM_KEY": secrets.token_hex(20),
        "VITAU_SIGNING_KEY": secrets.token_hex(20),
        "VITAU_WEBHOOK_SECRET": secrets.token_hex(20),
        "VITAU_LABEL_STUDIO_TOKEN": (token := secrets.token_hex(20)),
        "LABEL_STUDIO_USER_TOKEN": token,
        "LABEL_STUDIO_PASSWORD": secrets.token_hex(20),
        "SECRET_KEY": secrets.token_hex(20),
    }
    missing = [name for name in files if not (folder / name).exists()]
    for name in missing:
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(files[name])
    return missing


def identity(name: str, secret: str, actions: list[str]) -> dict[str, object]:
    """Return an identity with its key and permissions, in the format of SeaweedFS."""
    return {"name": name, "credentials": [{"accessKey": name, "secretKey": secret}], "actions": actions}


def credentials(name: str, secret: str) -> str:
    """Return an AWS_SHARED_CREDENTIALS_FILE, as boto3 reads it."""
    return f"[default]\naws_access_key_id = {name}\naws_secret_access_key = {secret}\n"


if __name__ == "__main__":
    for written in make_secrets(Path(sys.argv[1])):
        print(written)
