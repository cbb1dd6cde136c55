"""Metadata of the tables with the names of constraints, and recurring columns."""

from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa

metadata: Final = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def one_of(column: str, values: Iterable[str]) -> sa.CheckConstraint:
    """Return a constraint: the column holds one of the values."""
    quoted = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({quoted})", name=column)


def indexed_where(condition: str) -> dict[str, Any]:
    """Return the arguments of an index on the rows for which a condition holds."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def subject(*, primary_key: bool = False) -> sa.Column[str]:
    """Return a column with the pseudonym of a known subject."""
    return sa.Column("subject", sa.String, sa.ForeignKey("subjects.pseudonym"), primary_key=primary_key, nullable=False)


def recorded_at() -> sa.Column[str]:
    """Return a column with the time at which a row was written: ISO 8601, UTC."""
    return sa.Column("recorded_at", sa.String, nullable=False)


def chained() -> tuple[sa.Column[str], sa.Column[str]]:
    """Return the digest of a row's details, and the digest of the row and of the one before it."""
    return (
        sa.Column("details", sa.String(64), nullable=False, server_default=""),
        sa.Column("digest", sa.String(64), nullable=False, server_default=""),
    )
