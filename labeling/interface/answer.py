"""Answers of the labeling page: convert them to and from the result of a Label Studio annotation."""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final, TypeVar

from labeling.interface.hotkeys import GRADE_KEYS, SIDE_KEYS
from vitau.errors import LabelingError, quoted
from vitau.schema import AU, AUS, CROP_SIZE, Side, Stage

GRADES: Final = dict(zip(GRADE_KEYS, ("I", "II", "III", "IV", "V", "VI"), strict=True))
"""Grade → its Roman numeral: House and Brackmann, Otolaryngol Head Neck Surg 1985, 93: 146–147."""

STATES: Final[Mapping[str, bool | None]] = {"regions": True, "unaffected": False, "unclear": None}
"""List on the page → what it means for a region that is chosen in it."""

SEVERITIES: Final[Mapping[str, int]] = {"severity-0": 0, "severity-1": 1, "severity-2": 2}
"""List on the page → severity of the regions that are chosen in it: 0 slight, 1 clear, 2 no movement."""

SYNKINESES: Final[Mapping[str, bool]] = {"synkinesis": True, "no-synkinesis": False}
"""List on the page → whether a region that is chosen in it moves along with another one."""

T = TypeVar("T")

_TITLES: Final = {
    "regions": "affected",
    "unaffected": "not affected",
    "unclear": "cannot tell",
    "severity-0": "severity 0",
    "severity-1": "severity 1",
    "severity-2": "severity 2",
    "synkinesis": "synkinesis",
    "no-synkinesis": "no synkinesis",
}
_WORD: Final = re.compile(r"[a-z]{1,12}|AU\d{1,2}|-?\d{1,3}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A reader's answer about one person.

    ``affected`` holds all 8 regions of a reader's answer, and of an adjudicator's those that were settled; ``None`` is
    "cannot tell". ``side`` is the person's own, ``None`` if no region is affected. ``unusable`` holds indices of the pictures
    shown, from 0. ``grade`` is House and Brackmann's, 1 to 6. ``severity`` and ``synkinesis`` hold the answered regions only.

    ``marks`` holds boxes by region: (index of the picture, left, top, width, height). The last four are fractions of the
    picture, to a millionth.
    """

    affected: Mapping[AU, bool | None]
    side: Side | None = None
    unusable: frozenset[int] = field(default=frozenset())
    note: str | None = None
    grade: int | None = None
    severity: Mapping[AU, int] = field(default_factory=dict)
    synkinesis: Mapping[AU, bool] = field(default_factory=dict)
    marks: Mapping[AU, tuple[tuple[int, float, float, float, float], ...]] = field(default_factory=dict)


def to_result(answer: Answer, *, explicit: bool = False) -> list[dict[str, Any]]:
    """Convert an answer to the result of a Label Studio annotation; ``from_result`` is the inverse.

    Args:
        answer: the answer.
        explicit: choose "not affected" too. A reader leaves those regions blank.
    """
    side = answer.side.value if answer.side else "none"
    result = [
        *(_chosen(name, _holding(answer.affected, state)) for name, state in STATES.items() if explicit or state is not False),
        *(_chosen(name, _holding(answer.severity, level)) for name, level in SEVERITIES.items()),
        *(_chosen(name, _holding(answer.synkinesis, moves)) for name, moves in SYNKINESES.items()),
        _chosen("side", [side]),
        _chosen("grade", [str(answer.grade)] if answer.grade else []),
        *(_chosen("frame", ["unusable"]) | {"item_index": index} for index in sorted(answer.unusable)),
        *(_drawn(au, *box) for au in AUS for box in answer.marks.get(au, ())),
    ]
    if answer.note:
        result.append({"from_name": "note", "to_name": "face", "type": "textarea", "value": {"text": [answer.note]}})
    return [region for region in result if region["type"] != "choices" or region["value"]["choices"]]


def from_result(
    result: Sequence[Mapping[str, Any]],
    *,
    num_pictures: int | None = None,
    stage: Stage = Stage.READER,
    asked: Collection[AU] = (),
) -> Answer:
    """Convert the result of a Label Studio annotation to an answer.

    A region that a reader left blank is not affected. One that the adjudicator left blank was not settled, unless it is
    ``asked`` and the side is "none".

    Args:
        result: the annotation's regions.
        num_pictures: the number of pictures on the page; a mark on another picture is an error.
        stage: the reader's or the adjudicator's page.
        asked: the regions that the adjudicator has to settle.

    Raises:
        LabelingError: an unknown region, side or grade, no side, an answer that contradicts itself, or a region that the
            adjudicator has to settle and left blank.
    """
    chosen: dict[str, list[str]] = {name: [] for name in (*_TITLES, "side", "grade")}
    unusable, notes, marks = set(), [], dict[AU, tuple[tuple[int, float, float, float, float], ...]]()
    for region in result:
        name, value, index = region.get("from_name"), region.get("value", {}), int(region.get("item_index") or 0)
        if name in chosen:
            chosen[name] += value.get("choices", [])
        elif name == "frame" and "unusable" in value.get("choices", []):
            unusable.add(_shown(index, num_pictures, "“unusable”"))
        elif name == "note":
            notes += value.get("text", [])
        elif name == "evidence":
            for au in _in_order(_known_regions(value.get("rectanglelabels", []))):
                marks[au] = (*marks.get(au, ()), _box(au, _shown(index, num_pictures, f"a box of {au}"), value))
    affected = _states(STATES, chosen)
    side = _known_side(chosen["side"])
    _check_side(side, affected, stage)
    blank = [au for au in AUS if au not in affected and (stage is Stage.READER or au in asked)]
    if blank and stage is Stage.ADJUDICATION and side is not None:
        raise LabelingError(
            f"to be settled and left blank: {_listed(blank)}; choose “affected”, “not affected” or “cannot tell” for each"
        )
    affected |= dict.fromkeys(blank, False)
    severity = _states(SEVERITIES, chosen)
    if graded := [au for au in severity if not affected.get(au)]:
        raise LabelingError(f"{_listed(graded)} have a severity but are not “affected”; correct one of them")
    return Answer(
        affected={au: affected[au] for au in AUS if au in affected},
        side=side if stage is Stage.ADJUDICATION or any(affected.values()) else None,
        unusable=frozenset(unusable),
        note="\n".join(notes) or None,
        grade=_known_grade(chosen["grade"]),
        severity=severity,
        synkinesis=_states(SYNKINESES, chosen),
        marks=marks,
    )


def _states(meanings: Mapping[str, T], chosen: Mapping[str, Sequence[str]]) -> dict[AU, T]:
    """Return what each region means that is chosen in one of the lists of ``meanings``."""
    regions = {name: _known_regions(chosen[name]) for name in meanings}
    for one, other in combinations(regions, 2):
        if both := regions[one] & regions[other]:
            raise LabelingError(
                f"{_listed(both)} are answered both “{_TITLES[one]}” and “{_TITLES[other]}”; choose one of them"
            )
    return {au: meaning for name, meaning in meanings.items() for au in _in_order(regions[name])}


def _check_side(side: Side | None, affected: Mapping[AU, bool | None], stage: Stage) -> None:
    """Raise LabelingError if the side contradicts the regions. The adjudicator may settle the side alone."""
    regions = [au for au, state in affected.items() if state]
    if regions and side is None:
        raise LabelingError(f"{_listed(regions)} are answered “affected” but the side is “none”; correct one of them")
    if side and stage is Stage.READER and not any(state is not False for state in affected.values()):
        raise LabelingError(f"the side is “{side}” but no region is affected; correct one of them")


def _holding(answers: Mapping[AU, T], wanted: T) -> list[str]:
    """Return the regions with one of the possible answers, in their order."""
    return [au.value for au in AUS if au in answers and answers[au] == wanted]


def _chosen(name: str, choices: list[str]) -> dict[str, Any]:
    return {"from_name": name, "to_name": "face", "type": "choices", "value": {"choices": choices}}


def _drawn(au: AU, index: int, left: float, top: float, width: float, height: float) -> dict[str, Any]:
    """Return a box in Label Studio's format: percentages of the picture, which is a crop."""
    place = {"x": 100 * left, "y": 100 * top, "width": 100 * width, "height": 100 * height, "rotation": 0}
    return {
        "from_name": "evidence",
        "to_name": "face",
        "type": "rectanglelabels",
        "item_index": index,
        "original_width": CROP_SIZE,
        "original_height": CROP_SIZE,
        "image_rotation": 0,
        "value": place | {"rectanglelabels": [au.value]},
    }


def _box(au: AU, index: int, value: Mapping[str, Any]) -> tuple[int, float, float, float, float]:
    place = [value.get(name) for name in ("x", "y", "width", "height")]
    numbers = [float(number) for number in place if isinstance(number, int | float) and math.isfinite(number)]
    if len(numbers) == len(place):
        left, top, width, height = (round(number / 100, 6) for number in numbers)
        if min(left, top) >= 0 and min(width, height) > 0 and max(left + width, top + height) <= 1 + 2e-6:
            return index, left, top, width, height
    raise LabelingError(f"a box of {au} does not lie on picture {index + 1}; draw it again in Label Studio")


def _shown(index: int, num_pictures: int | None, what: str) -> int:
    if index < 0 or (num_pictures is not None and index >= num_pictures):
        raise LabelingError(
            f"{what} is on picture {index + 1}, and {num_pictures} were shown; answer the task again in Label Studio"
        )
    return index


def _known_regions(names: Iterable[str]) -> set[AU]:
    unknown = sorted(set(names) - set(AUS))
    if unknown:
        raise LabelingError(f"unknown region {_plain(unknown)}; the regions are {', '.join(AUS)}")
    return {AU(name) for name in names}


def _known_side(names: Sequence[str]) -> Side | None:
    if len(names) != 1 or names[0] not in SIDE_KEYS:
        raise LabelingError(f"the side is {_plain(names) or 'not answered'}; it must be one of {', '.join(SIDE_KEYS)}")
    return None if names[0] == "none" else Side(names[0])


def _known_grade(names: Sequence[str]) -> int | None:
    grades = {str(grade): grade for grade in GRADES}
    if len(names) > 1 or not set(names) <= set(grades):
        raise LabelingError(f"the House–Brackmann grade is {_plain(names)}; it must be one of {', '.join(grades)}, or none")
    return grades[names[0]] if names else None


def _plain(names: Iterable[str]) -> str:
    """Return choices for a message; a text of other words may be about a person and is left out."""
    return quoted(", ".join(name if _WORD.fullmatch(name) else "(another text)" for name in names))


def _in_order(regions: Iterable[AU]) -> list[AU]:
    return sorted(regions, key=AUS.index)


def _listed(regions: Iterable[AU]) -> str:
    return ", ".join(_in_order(regions))
