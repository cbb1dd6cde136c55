"""Create the append-only log of promotions."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

CHANGE = "promotions only grow: append another record instead"
PAST = "promotions only grow at their end: append instead"


def upgrade() -> None:
    op.create_table(
        "promotions",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("once", sa.String(), nullable=True),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("signature", sa.String(length=64), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_promotions"),
        sa.UniqueConstraint("once", name="uq_promotions_once"),
    )
    last = "coalesce((SELECT max(number) FROM promotions), 0)"
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER promotions_no_{verb.lower()} BEFORE {verb} ON promotions "
                f"BEGIN SELECT RAISE(ABORT, '{CHANGE}'); END"
            )
        op.execute(
            "CREATE TRIGGER promotions_only_at_the_end BEFORE INSERT ON promotions "
            f"WHEN NEW.number <> {last} + 1 BEGIN SELECT RAISE(ABORT, '{PAST}'); END"
        )
        return
    for name, sentence in (("change", CHANGE), ("past", PAST)):
        refusal = f"RAISE EXCEPTION '{sentence}' USING ERRCODE = 'integrity_constraint_violation'"
        body = f"IF NEW.number <> {last} + 1 THEN {refusal}; END IF; RETURN NEW;" if name == "past" else f"{refusal};"
        op.execute(f"CREATE FUNCTION refuse_promotions_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$")
    op.execute(
        "CREATE TRIGGER promotions_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON promotions "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_promotions_change()"
    )
    op.execute(
        "CREATE TRIGGER promotions_only_at_the_end BEFORE INSERT ON promotions "
        "FOR EACH ROW EXECUTE FUNCTION refuse_promotions_past()"
    )
