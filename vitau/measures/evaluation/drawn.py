"""Comparison of the tables of ``vitau measure`` with the truth about drawn people.

What is counted, for a cohort of :func:`vitau.media.synthetic.cohort.write_cohort`:

* **Exercise**: each person performs the exercises of ``PERFORMED``, from little to full effort. One is named rightly where
  ``task`` in ``series.csv`` is its name, in the last of its frames whose pose and quality permit a measurement (``usable``). An
  exercise without a usable frame or without a name is wrong. The eyes are closed gently: the drawing moves the cheek by 35 %
  and the frown by 25 % of their full effort, so that ``eye_closure_tight`` is wrong.
* **Side**: of a palsied person, ``side`` in ``people.csv`` is the palsied side.
* **Forehead**: of a palsied person, ``forehead_spared`` in ``people.csv`` is true where a region of ``LOWER_FACE`` and none of
  ``FOREHEAD`` is affected, and only there. All three regions of ``FOREHEAD`` belong to it: the frontal branch of the facial
  nerve moves the frontalis (AU1, AU2) and the corrugator (AU4), and a central palsy spares both.

These three have limits. The other counts show what a kinder or stricter definition changes; they have no limit.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from vitau.errors import VitauError
from vitau.measures.results import Task
from vitau.media.synthetic.people import TASKS
from vitau.schema import AU, AUS

PERFORMED: Final = tuple(task for task in TASKS if task != Task.REST)
"""The exercises of a drawn person, one each; the recording starts at rest."""
FRONTALIS: Final = frozenset({AU.AU1, AU.AU2})
FOREHEAD: Final = FRONTALIS | {AU.AU4}
"""The regions of the frontal branch."""
LOWER_FACE: Final = frozenset({AU.AU9, AU.AU12, AU.AU25, AU.AU26})

EXERCISE, SIDE, FOREHEAD_FLAG = "exercise named rightly", "side of the palsy", "forehead-sparing flag"
LIMITS: Final[Mapping[str, float]] = {EXERCISE: 0.95, SIDE: 0.95, FOREHEAD_FLAG: 0.90}
"""Smallest share that is right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Count:
    """Answers of one kind: ``right`` of ``total``; ``limit`` is the smallest share, ``None`` without one."""

    name: str
    right: int
    total: int
    limit: float | None = None

    @property
    def share(self) -> float | None:
        """Share of right answers, ``None`` of none."""
        return self.right / self.total if self.total else None

    @property
    def missed(self) -> bool:
        """True where the share is below the limit; without an answer nothing reaches a limit."""
        return self.limit is not None and (self.share is None or self.share < self.limit)


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnPerson:
    """The truth about a drawn person: the palsied ``side`` is empty for a control."""

    subject: str
    palsied: bool
    side: str
    affected: frozenset[AU]

    def spares_forehead(self, forehead: frozenset[AU] = FOREHEAD) -> bool:
        """Return whether the lower face is affected and the forehead is not."""
        return bool(self.affected & LOWER_FACE) and not self.affected & forehead


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """Measured answers about one person: the name per usable frame of the drawing, from 0, the side, and the forehead's flag.

    A person without measures has no names, no side and no flag. ``num_others`` counts the named exercises that the person did
    not perform.
    """

    names: Mapping[int, str]
    side: str
    forehead_spared: bool
    asymmetry: float | None
    num_others: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The counts, a sentence per wrong answer, and how well the score of asymmetry separates palsied people from controls."""

    counts: tuple[Count, ...]
    wrong: tuple[str, ...]
    num_others: int
    auroc: float | None

    @property
    def missed(self) -> tuple[Count, ...]:
        """The counts below their limits."""
        return tuple(count for count in self.counts if count.missed)


def evaluate_cohort(cohort: Path, measured: Path) -> Evaluation:
    """Compare the tables of a measured cohort with its truth.

    Args:
        cohort: folder of :func:`vitau.media.synthetic.cohort.write_cohort`.
        measured: folder of ``vitau measure cohort/clips``.

    Raises:
        VitauError: a table is missing.
    """
    drawn_with = json.loads(_existing(cohort / "cohort.json").read_text(encoding="utf-8"))
    frames_per_task = int(drawn_with["frames_per_task"])
    people = [_person(row) for row in _rows(cohort / "truth.csv")]
    answers = _answers(measured, [person.subject for person in people], float(drawn_with["fps"]))
    pairs = [(person, answers[person.subject]) for person in people]
    palsied = [pair for pair in pairs if pair[0].palsied]
    controls = [pair for pair in pairs if not pair[0].palsied]
    named = [(name, _name_at_peak(answer, name, frames_per_task)) for _, answer in pairs for name in PERFORMED]
    counts = (
        _count(EXERCISE, [name == found for name, found in named]),
        _count(SIDE, [answer.side == person.side for person, answer in palsied]),
        _count(FOREHEAD_FLAG, [_flag_is_right(*pair) for pair in palsied]),
        _count("exercise, closures of both names alike", [name == _without_strength(found) for name, found in named]),
        _count("flag, by the frontalis alone (AU1, AU2)", [_flag_is_right(*pair, FRONTALIS) for pair in palsied]),
        _count("no flag for a control", [_flag_is_right(*pair) for pair in controls]),
    )
    return Evaluation(
        counts=counts,
        wrong=tuple(_wrong(pairs, frames_per_task)),
        num_others=sum(answer.num_others for _, answer in pairs),
        auroc=_auroc([answer.asymmetry for _, answer in palsied], [answer.asymmetry for _, answer in controls]),
    )


def _count(name: str, right: list[bool]) -> Count:
    return Count(name=name, right=sum(right), total=len(right), limit=LIMITS.get(name))


def _name_at_peak(answer: Answers, exercise: str, frames_per_task: int) -> str:
    first = TASKS.index(exercise) * frames_per_task
    usable = [frame for frame in range(first, first + frames_per_task) if frame in answer.names]
    return answer.names[usable[-1]] if usable else ""


def _without_strength(name: str) -> str:
    return Task.EYE_CLOSURE if name == Task.EYE_CLOSURE_TIGHT else name


def _flag_is_right(person: DrawnPerson, answer: Answers, forehead: frozenset[AU] = FOREHEAD) -> bool:
    return answer.forehead_spared == person.spares_forehead(forehead)


def _wrong(pairs: list[tuple[DrawnPerson, Answers]], frames_per_task: int) -> Iterator[str]:
    for person, answer in pairs:
        for name in PERFORMED:
            found = _name_at_peak(answer, name, frames_per_task)
            if found != name:
                yield f"{person.subject}: {name} is named {found or 'nothing'}"
        regions = ", ".join(au for au in AUS if au in person.affected) or "none"
        if person.palsied and answer.side != person.side:
            yield f"{person.subject}: the side is {answer.side or 'missing'}, not {person.side} (affected: {regions})"
        if not _flag_is_right(person, answer):
            flag = "set" if answer.forehead_spared else "not set"
            yield f"{person.subject}: the flag of the forehead is {flag} (affected: {regions})"


def _auroc(palsied: list[float | None], controls: list[float | None]) -> float | None:
    """Return the share of pairs in which the palsied person has the larger score; a missing score counts as 0."""
    if not palsied or not controls:
        return None
    higher_PC = np.array([score or 0.0 for score in palsied])[:, None] - np.array([score or 0.0 for score in controls])
    return float(((higher_PC > 0) + 0.5 * (higher_PC == 0)).mean())


def _person(row: Mapping[str, str]) -> DrawnPerson:
    affected = frozenset(au for au in AUS if row[au] == "1")
    return DrawnPerson(subject=row["subject"], palsied=row["palsied"] == "1", side=row["side"], affected=affected)


def _answers(measured: Path, subjects: list[str], fps: float) -> dict[str, Answers]:
    names: dict[str, dict[int, str]] = {subject: {} for subject in subjects}
    for row in _rows(measured / "series.csv"):
        if row["input"] in names and row["usable"] == "true":
            names[row["input"]][round(float(row["time_s"]) * fps)] = row["task"]
    rows = {row["input"]: row for row in _rows(measured / "people.csv")}
    found = {}
    for subject in subjects:
        row = rows.get(subject, {})
        others = set(names[subject].values()) - {"", *TASKS}
        found[subject] = Answers(
            names=names[subject],
            side=row.get("side", ""),
            forehead_spared=row.get("forehead_spared") == "true",
            asymmetry=float(row["asymmetry"]) if row.get("asymmetry") else None,
            num_others=len(others),
        )
    return found


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with _existing(path).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise VitauError(f"{path.name} is missing in {path.parent}; draw the people and measure their clips again")
    return path
