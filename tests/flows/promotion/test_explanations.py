from dataclasses import replace
from types import SimpleNamespace

from flows.promotion.explanations import readers_boxes
from vitau.schema import AU, LedgerRow, Mark, Side, Stage

FRAME, BOX = f"{1:064x}:3", (0.1, 0.2, 0.3, 0.4)


def answer(reader, annotation, box=BOX, **changes):
    row = LedgerRow(
        subject="s1",
        au=AU.AU12,
        reader=reader,
        stage=Stage.READER,
        affected=True,
        side=Side.LEFT,
        annotation=annotation,
        version="1",
        answered_at="2026-11-23T09:30:00Z",
        marks=(Mark(frame=FRAME, box=box),),
    )
    return replace(row, **changes)


def test_boxes_are_those_of_standing_answers_that_call_the_region_affected():
    rows = [
        answer("reader-a", "1", (0.9, 0.9, 0.1, 0.1)),
        answer("reader-a", "1", BOX, version="2"),
        answer("reader-b", "2", (0.5, 0.5, 0.1, 0.1), au=AU.AU1, affected=False),
        answer("reader-c", "3", (0.6, 0.6, 0.1, 0.1)),
        answer("reader-c", "3", (0.6, 0.6, 0.1, 0.1), retracted=True),
        answer("adjudicator", "4", (0.7, 0.7, 0.1, 0.1), stage=Stage.ADJUDICATION),
    ]
    asked = []
    workspace = SimpleNamespace(newest_answers_at=lambda offset: asked.append(offset) or rows)
    assert readers_boxes(workspace, 6) == {FRAME: [BOX, (0.7, 0.7, 0.1, 0.1)]}
    assert asked == [6]
