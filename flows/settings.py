"""Where the services are: read once from the environment, secrets kept secret."""

from pathlib import Path
from typing import Annotated, Final, TypeAlias

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from labeling.consensus.consensus import Rule
from labeling.consensus.csv_io import READER
from labeling.sampling.active_learning import Order
from vitau.errors import VitauError

ROOT: Final = Path(__file__).resolve().parents[1]
"""The checkout, or `/app` in an image."""

ASK_AGAIN_ABOVE: Final = 0.12
"""See docs/labels.md: what `python -m flows labels calibrate` measured."""

ReaderName: TypeAlias = Annotated[str, Field(pattern=f"^{READER.pattern}$")]
"""A pseudonym: the ledger keeps it for ever."""


class Settings(BaseSettings):
    """What must be known to run a flow; every field is an environment variable with the prefix ``VITAU_``.

    Prefect's own address is ``PREFECT_API_URL``, S3's endpoint and keys are boto3's own variables.
    """

    model_config = SettingsConfigDict(env_prefix="VITAU_", extra="ignore", frozen=True)

    store: str = Field(description="file:///folder or s3://bucket/prefix")
    catalog: SecretStr = Field(description="sqlite:////path or postgresql+psycopg://…")
    pseudonym_key: SecretStr = Field(min_length=16, description="the key of the HMAC that makes pseudonyms: never change it")
    signing_key: SecretStr | None = Field(
        default=None, min_length=16, description="the key of the HMAC that signs decisions about champions"
    )
    label_studio_url: str
    label_studio_token: SecretStr
    webhook_url: str | None = Field(
        default=None, description="where Label Studio reaches `python -m flows receive`: a hint to pull"
    )
    webhook_secret: SecretStr | None = Field(
        default=None, min_length=16, description="by which the receiver knows Label Studio"
    )
    mlflow_url: str
    work: Path = Field(default=Path("work"), description="a local folder for caches and trainings; safe to delete")
    num_processes: int | None = Field(default=None, ge=1, description="local processes for clips; all cores if absent")
    ray_address: str | None = Field(
        default=None, description="HOST:PORT of a Ray cluster for --engine ray; absent, one is started here and stopped again"
    )
    lease_s: float = Field(
        default=60, ge=1, description="seconds after which others take over the clips and people of a worker that died"
    )
    num_trainings: int = Field(
        default=2, ge=1, description="trainings at once, each with its share of the cores; 1 where they share a GPU"
    )
    training_processes: int | None = Field(
        default=None, ge=1, description="processes of one training, under torchrun; one per visible GPU if absent, one without"
    )
    readers: tuple[ReaderName, ...] = Field(default=("reader-a", "reader-b"), description="pseudonyms of the blind readers")
    guest_readers: tuple[ReaderName, ...] = Field(default=(), description="readers of imported studies: heard, not waited for")
    consensus_rule: Rule = Field(default=Rule.UNANIMOUS, description="unanimous, majority or adjudicated")
    order: Order = Field(
        default=Order.RANDOM,
        description="whom the readers see next: by chance, or informative; docs/labels.md says what that saves",
    )
    queue: int = Field(
        default=50, ge=1, description="open tasks per reader at most: who is not in it yet can still be overtaken"
    )
    ask_again_above: float = Field(
        default=ASK_AGAIN_ABOVE,
        ge=0,
        description="how different new frames of an answered person look before readers are asked again",
    )
    suggest_to_readers: bool = Field(default=False, description="show blind readers the champion's scores")
    suggest_to_adjudicator: bool = Field(default=True, description="show the adjudicator the champion's scores")
    agreement_floor: float = Field(
        default=0.7, ge=0, le=1, description="gate 2: least share of cells on which two readers agree"
    )
    watch: Path | None = Field(default=None, description="a folder of manifests that the deployment `ingest` looks through")
    size: str = Field(default="tiny", description="which recipes the deployment `retrain` trains: tiny, small, base, paper")
    retrain_cells: int = Field(
        default=40, ge=1, description="retrain when this many labels (of a person and AU) changed since the last training …"
    )
    retrain_quiet_s: float = Field(default=900, ge=0, description="… and no reader answered for so many seconds")
    identity_floor: float = Field(
        default=0.35, ge=0, description="gate 3: least distance between the faces of two people; dlib calls 0.6 the same person"
    )


class SettingsError(VitauError):
    """The environment does not say where the services are."""


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: variables are missing or cannot be read; all of them are named at once, their values never.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = ", ".join(
            f"VITAU_{'_'.join(map(str, e['loc'])).upper()} ({e['type'].replace('_', ' ')})" for e in error.errors()
        )
        raise SettingsError(f"the environment lacks settings: {problems}; see infra/.env.example, or use `make up`") from None
