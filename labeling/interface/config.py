"""The labeling page: build its Label Studio configuration, and convert answers to and from Label Studio's format."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from xml.sax.saxutils import quoteattr

from labeling.interface.guide import LOOK_AT, PICTURE_STYLE, REGIONS_PICTURE, instruction
from labeling.interface.hotkeys import AFFECTED_KEYS, FRAME_KEYS, GRADE_KEYS, MARK_KEYS, SIDE_KEYS, UNCLEAR_KEYS
from vitau.errors import LabelingError, quoted
from vitau.schema import AU, AUS, CROP_SIZE, REGION_NAMES, Side

GRADES: Final = dict(zip(GRADE_KEYS, ("I", "II", "III", "IV", "V", "VI"), strict=True))
"""Grade → its Roman numeral: House and Brackmann, Otolaryngol Head Neck Surg 1985, 93: 146–147."""

INSTRUCTION: Final = instruction()
"""The labeling guide, HTML; Label Studio shows it behind the button Instructions."""

# Label Studio sizes the picture before it adds an empty toolbar of 42 px beside it, which cuts off the picture's edge: no
# toolbar. Its side panels repeat the page and take a third of it: no panels
_WORD: Final = re.compile(r"[a-z]{1,12}|AU\d{1,2}|-?\d{1,3}")
_STYLE: Final = """
.lsf-sidepanels__wrapper { display: none; }
.lsf-sidepanels { padding: 0 !important; }
.vitau { display: flex; flex-wrap: wrap; gap: 8px 24px; align-items: flex-start; }
.vitau-face { flex: 1 1 340px; min-width: 0; max-width: min(540px, 100vh - 360px); }
.vitau-face .lsf-toolbar { display: none; }
.vitau-form { flex: 0 1 420px; min-width: 340px; }
.vitau-side { flex: 1 1 320px; max-width: 420px; }
.vitau-side table { font-size: 14px; margin-bottom: 8px; }
.vitau-pair { display: flex; gap: 12px; }
.vitau-pair > div:first-child { flex: 1 1 auto; }
.vitau details video { width: 100%; max-height: 60vh; background: #222; }
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A reader's answer about one person.

    ``affected`` holds all 8 regions; ``None`` is "cannot tell". ``side`` is the person's own, ``None`` if no region is
    affected. ``unusable`` holds indices of the pictures shown, from 0. ``grade`` is House and Brackmann's, 1 to 6.

    ``marks`` holds boxes by region: (index of the picture, left, top, width, height). The last four are fractions of the
    picture, to a millionth.
    """

    affected: Mapping[AU, bool | None]
    side: Side | None = None
    unusable: frozenset[int] = field(default=frozenset())
    note: str | None = None
    grade: int | None = None
    marks: Mapping[AU, tuple[tuple[int, float, float, float, float], ...]] = field(default_factory=dict)


def label_config(*, adjudication: bool = False) -> str:
    """Build the page's configuration: pictures, clips, the questions with their hotkeys, and a picture of the regions.

    With ``adjudication`` it shows the readers' answers (``$answers``, HTML) beside the questions. Stored answers hold the
    ``alias`` of a choice, not its text.

    Existing projects hold this text, and ``ensure_project`` refuses one that differs: never change it without updating them.
    """
    affected = _choices((region_title(au), au.value, AFFECTED_KEYS[au], LOOK_AT[au]) for au in AUS)
    unclear = _choices(
        (f"{au} ?", au.value, UNCLEAR_KEYS[au], "nobody could judge this region from what is here") for au in AUS
    )
    side = _choices((_sentence(name), name, key, None) for name, key in SIDE_KEYS.items())
    grade = _choices((GRADES[grade], str(grade), key, None) for grade, key in GRADE_KEYS.items())
    frame = _choices((_sentence(name), name, key, None) for name, key in FRAME_KEYS.items())
    boxes = "".join(f'<Label value="{au}" hotkey="{MARK_KEYS[au]}"/>' for au in AUS)
    answers = '<HyperText name="answers" value="$answers" inline="true"/>' if adjudication else ""
    return f"""<View>
  <Style>{_STYLE}{PICTURE_STYLE}</Style>
  <View className="vitau">
    <View className="vitau-face">
      <Header value="$about" size="6"/>
      <Image name="face" valueList="$images" zoomControl="false" selectionControl="false"/>
      <Choices name="frame" toName="face" choice="single-radio" perItem="true" showInline="true">{frame}</Choices>
      <Repeater on="$clips" indexFlag="{{{{n}}}}">
        <HyperText name="clip-{{{{n}}}}" value="$clips[{{{{n}}}}].html" inline="true"/>
      </Repeater>
      <RectangleLabels name="evidence" toName="face" canRotate="false" opacity="0.1" strokeWidth="2">{boxes}</RectangleLabels>
    </View>
    <View className="vitau-form">
      <View className="vitau-pair">
        <View>
          <Header value="Affected" size="5"/>
          <Choices name="regions" toName="face" choice="multiple" layout="vertical">{affected}</Choices>
        </View>
        <View>
          <Header value="Cannot tell" size="5"/>
          <Choices name="unclear" toName="face" choice="multiple" layout="vertical">{unclear}</Choices>
        </View>
      </View>
      <Header value="Side (the person's own)" size="5"/>
      <Choices name="side" toName="face" choice="single-radio" showInline="true" required="true"
               requiredMessage="Which side? Press z (left), x (right), c (both) or n (none).">{side}</Choices>
      <Header value="House–Brackmann grade (optional)" size="5"/>
      <Choices name="grade" toName="face" choice="single-radio" showInline="true">{grade}</Choices>
      <TextArea name="note" toName="face" placeholder="Note (optional)" rows="2" maxSubmissions="1" editable="true"
                showSubmitButton="false"/>
    </View>
    <View className="vitau-side">
      {answers}
      <HyperText name="suggested" value="$suggested" inline="true"/>
      <Header value="The regions" size="5"/>
      <HyperText name="map" value={quoteattr(REGIONS_PICTURE)} inline="true"/>
    </View>
  </View>
</View>"""


def region_title(au: AU) -> str:
    """Return the name of a region on the page, such as ``Forehead, inner brow (AU1)``."""
    return f"{_sentence(REGION_NAMES[au])} ({au})"


def to_result(answer: Answer) -> list[dict[str, Any]]:
    """Convert an answer to the result of a Label Studio annotation; ``from_result`` is the inverse."""
    side = answer.side.value if answer.side else "none"
    result = [
        _chosen("regions", [au.value for au in AUS if answer.affected[au]]),
        _chosen("unclear", [au.value for au in AUS if answer.affected[au] is None]),
        _chosen("side", [side]),
        _chosen("grade", [str(answer.grade)] if answer.grade else []),
        *(_chosen("frame", ["unusable"]) | {"item_index": index} for index in sorted(answer.unusable)),
        *(_drawn(au, *box) for au in AUS for box in answer.marks.get(au, ())),
    ]
    if answer.note:
        result.append({"from_name": "note", "to_name": "face", "type": "textarea", "value": {"text": [answer.note]}})
    return [region for region in result if region["type"] != "choices" or region["value"]["choices"]]


def from_result(result: Sequence[Mapping[str, Any]], *, num_pictures: int | None = None) -> Answer:
    """Convert the result of a Label Studio annotation to an answer.

    Args:
        result: the annotation's regions.
        num_pictures: the number of pictures on the page; a mark on another picture is an error.

    Raises:
        LabelingError: an unknown region, side or grade, no side, or an answer that contradicts itself.
    """
    chosen: dict[str, list[str]] = {"regions": [], "unclear": [], "side": [], "grade": []}
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
    regions, unclear = (_known_regions(chosen[name]) for name in ("regions", "unclear"))
    side = _known_side(chosen["side"])
    if both := regions & unclear:
        raise LabelingError(
            f"{_listed(both)} are answered both “affected” and “cannot tell”; choose one of them in Label Studio"
        )
    if regions and side is None:
        raise LabelingError(
            f"{_listed(regions)} are answered “affected” but the side is “none”; correct one of them in Label Studio"
        )
    if side and not regions | unclear:
        raise LabelingError(f"the side is “{side}” but no region is affected; correct one of them in Label Studio")
    return Answer(
        affected={au: None if au in unclear else au in regions for au in AUS},
        side=side if regions else None,
        unusable=frozenset(unusable),
        note="\n".join(notes) or None,
        grade=_known_grade(chosen["grade"]),
        marks=marks,
    )


def _choices(rows: Iterable[tuple[str, str, str, str | None]]) -> str:
    return "".join(
        f"<Choice value={quoteattr(name)} alias={quoteattr(alias)} hotkey={quoteattr(key)}"
        f"{'' if hint is None else f' hint={quoteattr(hint)}'}/>"
        for name, alias, key, hint in rows
    )


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


def _sentence(name: str) -> str:
    return name[0].upper() + name[1:]
