"""The visits of answers: a visit is stated about clips, and an answer is about the visit of the clips that were shown.

A manifest can be corrected, and answers are older than visits in many studies. The visit of an answer is therefore derived
again whenever the ledger is read:

    the clips of the shown frames        the answer is about
    ----------------------------------   --------------------------------------------------------------------
    are all of one visit, by today       that visit
    are of several visits, or unknown    the visit of its row if the person has it, else the person's earliest
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from labeling.sampling.staleness import clip_of
from vitau.schema import Clip, LedgerRow, case_name, cases_of, split_case


def assign_visits(rows: Sequence[LedgerRow], clips: Iterable[Clip]) -> list[LedgerRow]:
    """Return the rows of a ledger, in its order, with the visits of their answers; a retraction has that of its answer.

    Args:
        rows: with the canonical names of their subjects.
        clips: all clips, with the canonical names and with the visits as they are stated today.
    """
    clips = list(clips)
    cases = cases_of(clips)
    if all(len(own) == 1 and own[0] == subject for subject, own in cases.items()) and not any(row.visit for row in rows):
        return list(rows)
    case_of = {clip.sha256: case_name(clip.subject, clip.visit) for clip in clips}
    answers = {(row.annotation, row.reader, row.subject): row for row in reversed(rows) if not row.retracted}
    answered: dict[tuple[str, str, str], str] = {}
    found = []
    for row in rows:
        annotation = row.annotation, row.reader, row.subject
        case = answered.get(annotation) if row.retracted else None
        stated = answers.get(annotation, row) if row.retracted else row  # an answer that was put back comes later
        case = case or _case(stated, cases.get(row.subject, ()), {case_of.get(clip_of(frame)) for frame in stated.frames_shown})
        answered[annotation] = case
        found.append(row if row.case == case else replace(row, visit=split_case(case)[1]))
    return found


def _case(row: LedgerRow, own: Sequence[str], shown: set[str | None]) -> str:
    (only,) = shown if len(shown) == 1 else (None,)
    if only in own and only is not None:
        return only
    return row.case if row.case in own or not own else own[0]
