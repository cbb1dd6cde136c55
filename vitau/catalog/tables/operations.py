"""The tables of operations: leases, digests of objects, erasures and the fingerprints of keys."""

import sqlalchemy as sa

from vitau.catalog.tables.base import metadata, recorded_at

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("work", sa.String, primary_key=True),  # "frames/…" or "scores/…"; it identifies no person
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),  # seconds since 1970, PostgreSQL's clock; on SQLite since the boot
    recorded_at(),
    sa.Column("token", sa.BigInteger, nullable=False, server_default="0"),  # fencing token
    sa.Column("progressed_at", sa.Float),  # same clock as expires_at
    sa.Column("boot", sa.String),  # SQLite: expires_at counts from this boot
)

lease_tokens = sa.Table(
    "lease_tokens",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # one row, number 1
    sa.Column("last", sa.BigInteger, nullable=False),  # the last fencing token
)

objects = sa.Table(
    "objects",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("adopted", sa.Boolean, nullable=False),  # found without its writer's digest: its earlier bytes are unknown
    recorded_at(),
)

erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("subject", sa.String, primary_key=True),  # a tombstone, no foreign key: it is entered before the subject's
    sa.Column("finished_at", sa.String),
    sa.Column("snapshots", sa.JSON, nullable=False),  # digests of the snapshots that hold the person
    sa.Column("trainings", sa.JSON, nullable=False),  # name/version of the models that were trained on the person
    sa.Column("receipt", sa.JSON),  # what was deleted and scanned, without an identity
    recorded_at(),
)

erased_content = sa.Table(
    "erased_content",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),  # HMAC of a clip's digest under the pseudonym key
    recorded_at(),
)

key_fingerprints = sa.Table(
    "key_fingerprints",
    metadata,
    sa.Column("name", sa.String, primary_key=True),  # "pseudonym": the key that made the pseudonyms of this catalog
    sa.Column("fingerprint", sa.String, nullable=False),
    recorded_at(),
)

rekeyings = sa.Table(
    "rekeyings",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 …
    sa.Column("before", sa.String, nullable=False),  # fingerprints of the pseudonym keys
    sa.Column("after", sa.String, nullable=False),
    sa.Column("names", sa.Text),  # old and new names, sealed with the new key; null once it is finished
    sa.Column("retired_key", sa.Text, nullable=False),  # the old key, sealed with the new one
    sa.Column("renamed_at", sa.String),
    sa.Column("finished_at", sa.String),
    sa.Column("record", sa.Text),  # canonical JSON, as it was signed
    sa.Column("signature", sa.String(128)),
    recorded_at(),
)
