"""Create the receipts of erasures, the tombstones of recordings, and the fingerprint of the pseudonym key."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("erasures", sa.Column("receipt", sa.JSON(), nullable=True))
    op.create_table(
        "erased_content",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_erased_content"),
    )
    op.create_table(
        "key_fingerprints",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_key_fingerprints"),
    )
