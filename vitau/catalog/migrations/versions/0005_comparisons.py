"""Create the comparisons of key frames with the frames that were shown."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "comparisons",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("material", sa.String(), nullable=False),
        sa.Column("shown", sa.String(), nullable=False),
        sa.Column("frames", sa.JSON(), nullable=False),
        sa.Column("difference", sa.Float(), nullable=True),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["subject"], ["subjects.pseudonym"], name="fk_comparisons_subject"),
        sa.PrimaryKeyConstraint("subject", "material", "shown", name="pk_comparisons"),
    )
