"""Whole answers of readers, as rows of the ledger."""

from dataclasses import replace
from typing import Any

from vitau.schema import AU, AUS, LedgerRow, Side, Stage


def whole_answer(subject: str, reader: str, *regions: AU, number: int = 1, **more: Any) -> list[LedgerRow]:
    """Return a reader's answer about a person: these regions are affected, on the left, and the others are not."""
    row = LedgerRow(
        subject=subject,
        au=AU.AU1,
        reader=reader,
        stage=Stage.READER,
        affected=False,
        side=Side.LEFT if regions else None,
        annotation=f"{reader} {subject} {number}",
        version=str(number),
        answered_at="2026-11-30T10:00:00Z",
    )
    return [replace(row, au=au, affected=au in regions, **more) for au in AUS]
