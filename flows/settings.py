"""Settings: where the services are and how the flows work, built once from environment variables and passed as a value."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_serializer

from labeling.consensus.consensus import Rule
from labeling.consensus.csv_io import READER
from labeling.sampling.active_learning import Order
from vitau.errors import VitauError
from vitau.evaluation.promotion.policy import PATIENTS, find_policy
from vitau.media.download import URL_HOSTS

ROOT: Final = Path(__file__).resolve().parents[1]
"""The checkout, or `/app` in an image."""
PREFIX: Final = "VITAU_"
HIDDEN: Final = "•••"
"""Printed in place of a secret."""

ASK_AGAIN_ABOVE: Final = 0.12
"""Measured by `python -m flows labels calibrate`; see docs/studies.md."""


def _parse_list(value: Any) -> Any:
    """Parse the JSON of an environment variable; other values stay as they are."""
    return json.loads(value) if isinstance(value, str) else value


def _parse_sources(value: Any) -> Any:
    """Parse one source, or a JSON list of sources."""
    return (value,) if isinstance(value, str) and not value.startswith("[") else _parse_list(value)


ReaderName: TypeAlias = Annotated[str, Field(pattern=f"^{READER.pattern}$")]
"""A pseudonym; the ledger never deletes it."""
Readers: TypeAlias = Annotated[tuple[ReaderName, ...], BeforeValidator(_parse_list)]
"""Pseudonyms; in the environment a JSON list, such as ``["reader-a", "reader-b"]``."""

Hosts: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_parse_list)]
"""Names of hosts; in the environment a JSON list, such as ``["youtube.com", "media.example:8443"]``."""
Folders: TypeAlias = Annotated[tuple[Path, ...], BeforeValidator(_parse_list)]
"""Folders; in the environment a JSON list."""

Sources: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_parse_sources)]
"""Places of weights: a path, ``store:KEY`` or ``hub``; in the environment one of them, or a JSON list."""

Size: TypeAlias = Literal["tiny", "small", "base", "paper", "smoke"]
SIZES: Final[tuple[str, ...]] = get_args(Size)
"""The recipe sizes; ``smoke`` only shows that the parts fit together."""
Movement: TypeAlias = Literal["fused", "off"]
CameraAugmentation: TypeAlias = Literal["auto", "always", "never"]
Regions: TypeAlias = Literal["sided", "paired", "fgnet"]
REGION_MODELS: Final[tuple[str, ...]] = get_args(Regions)
"""Kinds of region models: with sides, the paper's without, and FG-Net's."""
ShowMeasures: TypeAlias = Literal["nobody", "adjudicator", "everybody"]
EvidenceProtocol: TypeAlias = Literal["auto", "subjects", "lopo"]
EVIDENCE_PROTOCOLS: Final[tuple[str, ...]] = get_args(EvidenceProtocol)
"""How people are kept from the models that are judged; ``auto`` leaves one out at a time where too few are held out."""


class Settings(BaseModel):
    """Settings of a flow; every field can be set by the environment variable of its name with the prefix ``VITAU_``.

    Prefect, MLflow and boto3 read their own variables: ``PREFECT_API_URL``, ``MLFLOW_…`` and ``AWS_…``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    store: str = Field(description="file:///folder or s3://bucket/prefix")
    catalog: SecretStr = Field(description="sqlite:////path or postgresql+psycopg://…")
    catalog_owner: SecretStr | None = Field(
        default=None,
        description="the same database as the role that owns its tables, which upgrades them; where flows connect as another",
    )
    catalog_eraser: SecretStr | None = Field(
        default=None,
        description="the same database as a role that reads and compacts every database of its server, for `erase`; "
        "by default VITAU_CATALOG",
    )
    pseudonym_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="key of the HMAC that makes pseudonyms, only where names enter; `rekey` replaces it",
    )
    new_pseudonym_key: SecretStr | None = Field(
        default=None, min_length=16, description="key that `python -m flows rekey` puts in place of VITAU_PSEUDONYM_KEY"
    )
    signing_key: SecretStr | None = Field(
        default=None, min_length=16, description="secret of the Ed25519 key that signs promotions; drawn at random"
    )
    label_studio_url: str
    label_studio_token: SecretStr
    webhook_url: str | None = Field(
        default=None,
        description="address of `python -m flows receive` as Label Studio reaches it; its webhooks are hints to pull",
    )
    webhook_secret: SecretStr | None = Field(
        default=None, min_length=16, description="secret that authenticates Label Studio's webhooks"
    )
    pages_access_key: str | None = Field(
        default=None,
        description="S3 key with which Label Studio opens pictures; by default that of the flows, which may also write",
    )
    pages_secret_key: SecretStr | None = Field(default=None, description="secret of VITAU_PAGES_ACCESS_KEY")
    mlflow_url: str
    work: Path = Field(default=Path("work"), description="local folder for caches and training; safe to delete")
    url_hosts: Hosts = Field(
        default=URL_HOSTS,
        description="hosts of URLs in manifests, with their subdomains, by default YouTube's; HOST:PORT for private ones",
    )
    media_roots: Folders = Field(
        default=(), description="folders with recordings that manifests elsewhere may list; by default none"
    )
    num_processes: int | None = Field(
        default=None, ge=1, description="local processes for clips and people; by default one per core"
    )
    ray_address: str | None = Field(
        default=None, description="HOST:PORT of a Ray cluster for --engine ray; by default one is started on this machine"
    )
    lease_s: float = Field(
        default=60, ge=1, description="seconds after which other workers take over the clips and people of a dead worker"
    )
    num_trainings: int = Field(
        default=2,
        ge=1,
        description="trainings that run at once, each with its share of the cores; on GPUs they wait for a free one",
    )
    training_processes: int | None = Field(
        default=None, ge=1, description="processes of one training, under torchrun; by default one per visible GPU, else one"
    )
    readers: Readers = Field(default=("reader-a", "reader-b"), description="pseudonyms of the blind readers")
    readers_per_person: int | None = Field(
        default=None, ge=1, description="how many of VITAU_READERS read each person, such as any 2 of 5; by default all"
    )
    guest_readers: Readers = Field(
        default=(), description="readers of imported studies: their answers count, and nobody waits for them"
    )
    consensus_rule: Rule = Field(default=Rule.UNANIMOUS, description="unanimous, majority or adjudicated")
    order: Order = Field(
        default=Order.RANDOM,
        description="order in which people reach the readers: random or informative; see docs/labeling-managers.md",
    )
    check_share: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="share of the readers' tasks that check them: people without a palsy, and people to read again",
    )
    ask_severity: bool = Field(
        default=False, description="ask the readers for the severity of each affected region, and for synkinesis"
    )
    queue: int = Field(
        default=50, ge=1, description="open tasks per reader at most; people outside the queue can still change places"
    )
    ask_again_above: float = Field(
        default=ASK_AGAIN_ABOVE,
        ge=0,
        description="difference of new frames of an answered person above which the readers are asked again",
    )
    suggest_to_readers: bool = Field(
        default=False, description="show blind readers the champion's scores of people in training and validation"
    )
    suggest_to_adjudicator: bool = Field(
        default=True, description="show the adjudicator the champion's scores of people in training and validation"
    )
    show_measures: ShowMeasures = Field(
        default="adjudicator", description="whose labeling pages show measures of movement: nobody, adjudicator or everybody"
    )
    agreement_floor: float = Field(
        default=0.7, ge=0, le=1, description="gate 2: least share of cells on which two readers agree"
    )
    watch: Path | None = Field(
        default=None, description="folder of manifests, CK+ trees and photos that the deployment `ingest` reads"
    )
    size: Size = Field(default="tiny", description="recipe size that the deployment `retrain` trains: tiny, small, base, paper")
    backbone: str | None = Field(
        default=None,
        description="timm's vision transformer for recognition in sizes base and paper, by default the recipe's own",
    )
    regions: Regions = Field(
        default="sided",
        description="region model: sided names the affected side, paired is the paper's, fgnet its checkpoint's",
    )
    camera_augmentation: CameraAugmentation = Field(
        default="auto",
        description="change color, sharpness and compression of training images: always, never, or auto, where the shortcut "
        "probe separates the cohorts",
    )
    movement: Movement = Field(
        default="fused",
        description="fused: trainings of sizes tiny and small combine the network with the movement of both halves of the "
        "face; off: networks alone",
    )
    weights_palsy: Sources = Field(
        default=(),
        description="public weights of the backbone, which sizes base and paper start from: a file, store:KEY or hub",
    )
    weights_regions: Sources = Field(
        default=(), description="pSp's and StyleGAN2's checkpoints, which sizes base and paper start from: files or store:KEY"
    )
    protocol: EvidenceProtocol = Field(
        default="auto",
        description="how models are judged: subjects holds people out, lopo leaves one out at a time, auto counts them first",
    )
    balance_people: bool = Field(
        default=False,
        description="trainings draw every person equally often, however long the clips; small studies always do",
    )
    policy: str = Field(
        default=PATIENTS.name, description="policy that a version must pass to become champion; another one judges anew"
    )
    retrain_cells: int = Field(
        default=40, ge=1, description="retrain when this many labels (of a person and AU) changed since the last training …"
    )
    retrain_quiet_s: float = Field(default=900, ge=0, description="… and no reader answered for this many seconds")
    identity_floor: float = Field(
        default=0.35, ge=0, description="gate 3: least distance between the faces of two people; dlib calls 0.6 the same person"
    )
    identity_warning: float = Field(
        default=0.6, ge=0, description="gate 3 warns of two people with nearer faces; `labels lookalikes` lists them"
    )

    @model_serializer
    def _without_values(self) -> dict[str, str]:
        """Return no field: Prefect stores the parameters of flows, and folders and addresses are no one's business there."""
        return {}

    def require_pseudonym_key(self) -> bytes:
        """Return the key that makes pseudonyms.

        Raises:
            SettingsError: this program has none, because no names of people should reach it.
        """
        if self.pseudonym_key is None:
            raise SettingsError(
                "VITAU_PSEUDONYM_KEY is not set, and names of people cannot become pseudonyms: set it for this command, "
                "or run it where clips are ingested"
            )
        return self.pseudonym_key.get_secret_value().encode()

    @property
    def num_readers(self) -> int:
        """Return how many readers read each person."""
        return len(self.readers) if self.readers_per_person is None else self.readers_per_person

    @property
    def eraser_address(self) -> str:
        """Return the address of the catalog for an erasure, which compacts and searches every database of the server."""
        return (self.catalog_eraser or self.catalog).get_secret_value()

    @property
    def temporary(self) -> Path:
        """Return the folder of temporary folders; those of killed processes are removed from it."""
        return self.work.resolve() / "tmp"


class SettingsError(VitauError):
    """The environment does not name the services, or names them wrongly."""


def variable(field: str) -> str:
    """Return the environment variable of a field of the settings."""
    return PREFIX + field.upper()


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Build the settings from environment variables.

    Raises:
        SettingsError: variables are missing or invalid; the message names all of them and none of their values.
    """
    given = {field: environ[variable(field)] for field in Settings.model_fields if variable(field) in environ}
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        problems = ", ".join(
            f"{variable('_'.join(map(str, e['loc'])))} ({e['type'].replace('_', ' ')})" for e in error.errors()
        )
        raise SettingsError(
            f"the environment lacks settings or has wrong ones: {problems}; see infra/.env.example, or use `make up`"
        ) from None
    try:
        find_policy(settings.policy)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if settings.num_readers > len(settings.readers):
        raise SettingsError(
            f"VITAU_READERS_PER_PERSON is {settings.num_readers}, but VITAU_READERS names {len(settings.readers)}: name more "
            "readers, or ask for fewer answers"
        )
    return settings


def mask_password(url: str) -> str:
    """Return an address with its password masked."""
    scheme, separator, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    user, colon, password = login.partition(":")
    place = re.sub(r"(?<=[?&]password=)[^&]+", HIDDEN, place)
    return f"{scheme}{separator}{user}{colon}{password and HIDDEN}{at}{place}"
