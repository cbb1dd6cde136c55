"""Number the leases with fencing tokens, and record their progress and, on SQLite, the boot whose clock they use."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("claims", sa.Column("token", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("claims", sa.Column("progressed_at", sa.Float(), nullable=True))
    op.add_column("claims", sa.Column("boot", sa.String(), nullable=True))
    tokens = op.create_table(
        "lease_tokens",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_lease_tokens"),
    )
    op.bulk_insert(tokens, [{"number": 1, "last": 0}])
