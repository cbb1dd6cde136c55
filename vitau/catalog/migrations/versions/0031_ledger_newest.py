"""Note the newest rows of the ledger: a round of labeling reads these, and not everything that they replaced.

The clips of one person are found by an index.
"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"

FILL = """
INSERT INTO ledger_newest ("offset")
SELECT max("offset") FROM ledger GROUP BY annotation, au, subject, reader, stage, check_kind, visit, retracted
"""


def upgrade() -> None:
    op.create_table(
        "ledger_newest",
        sa.Column(
            "offset",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=False,
            nullable=False,
        ),
    )
    op.execute(FILL)
    op.create_index("ix_clips_subject", "clips", ["subject"])
