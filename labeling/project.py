"""What a reader is asked, as a Label Studio page, and what was answered, as a value: the two directions of one format."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import quoteattr

from vitau.errors import LabelingError
from vitau.schema import AU, AUS, REGION_NAMES, Side

AFFECTED_KEYS = dict(zip(AUS, "12345678", strict=True))
UNCLEAR_KEYS = dict(zip(AUS, "asdfghjk", strict=True))
SIDE_KEYS = {"left": "l", "right": "r", "both": "b", "none": "n"}
FRAME_KEYS = {"usable": "o", "unusable": "x"}

INSTRUCTION = (
    "One person, several pictures. Say once for the person which regions of the face the palsy affects, and on which side. "
    "Left and right are the person's own. No region and side “none” is a full answer. "
    "Mark a picture as unusable if it should not be learned from. "
    "Every answer has its key; Ctrl+→ and Ctrl+← turn the pages, Ctrl+Enter submits."
)

# Label Studio sizes the picture before its (empty) toolbar takes 42 px beside it, and so cuts off its edge: no toolbar
_STYLE = """
.vitau { display: flex; gap: 16px; align-items: flex-start; }
.vitau-face { flex: 1 1 240px; min-width: 0; max-width: 720px; }
.vitau-face .lsf-toolbar { display: none; }
.vitau-form { flex: 0 1 380px; min-width: 340px; }
.vitau-pair { display: flex; gap: 12px; }
.vitau-pair > div:first-child { flex: 1 1 auto; }
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What one reader said about one person.

    ``affected`` holds all 8 regions; ``None`` is "cannot tell". ``side`` is the person's own and ``None`` when no region is
    affected. ``unusable`` are positions among the pictures shown, from 0. ``grade`` is House and Brackmann's, 1 to 6.
    ``evidence`` holds boxes by region: (position of the picture, left, top, width, height), the last four in shares of it.
    """

    affected: Mapping[AU, bool | None]
    side: Side | None = None
    unusable: frozenset[int] = field(default=frozenset())
    note: str | None = None
    grade: int | None = None
    evidence: Mapping[AU, tuple[tuple[int, float, float, float, float], ...]] = field(default_factory=dict)


def label_config(*, adjudication: bool = False) -> str:
    """The labelling configuration: pages of pictures on the left, every question with its key on the right.

    With ``adjudication`` the readers' answers (``$answers``, HTML) stand above the questions. Choices carry an ``alias``, so
    that a plain name may be reworded without touching stored answers.
    """
    affected = _choices((region_title(au), au.value, AFFECTED_KEYS[au]) for au in AUS)
    unclear = _choices((f"{au} ?", au.value, UNCLEAR_KEYS[au]) for au in AUS)
    side = _choices((_sentence(name), name, key) for name, key in SIDE_KEYS.items())
    frame = _choices((_sentence(name), name, key) for name, key in FRAME_KEYS.items())
    answers = '<HyperText name="answers" value="$answers" inline="true"/>' if adjudication else ""
    return f"""<View>
  <Style>{_STYLE}</Style>
  <View className="vitau">
    <View className="vitau-face">
      <Header value="$about" size="6"/>
      <Image name="face" valueList="$images" zoomControl="false" selectionControl="false"/>
      <Choices name="frame" toName="face" choice="single-radio" perItem="true" showInline="true">{frame}</Choices>
    </View>
    <View className="vitau-form">
      {answers}
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
               requiredMessage="Which side? Press l, r, b or n.">{side}</Choices>
      <TextArea name="note" toName="face" placeholder="Note (optional)" rows="2" maxSubmissions="1" editable="true"/>
    </View>
  </View>
</View>"""


def region_title(au: AU) -> str:
    """The name of a region as readers see it: ``Forehead, inner brow (AU1)``."""
    return f"{_sentence(REGION_NAMES[au])} ({au})"


def to_result(answer: Answer) -> list[dict[str, Any]]:
    """The regions of a Label Studio annotation that say ``answer``; ``from_result`` reads it back."""
    side = answer.side.value if answer.side else "none"
    result = [
        _chosen("regions", [au.value for au in AUS if answer.affected[au]]),
        _chosen("unclear", [au.value for au in AUS if answer.affected[au] is None]),
        _chosen("side", [side]),
        *(_chosen("frame", ["unusable"]) | {"item_index": index} for index in sorted(answer.unusable)),
    ]
    if answer.note:
        result.append({"from_name": "note", "to_name": "face", "type": "textarea", "value": {"text": [answer.note]}})
    return [region for region in result if region["type"] != "choices" or region["value"]["choices"]]


def from_result(result: Sequence[Mapping[str, Any]]) -> Answer:
    """What a Label Studio annotation says.

    Raises:
        LabelingError: an unknown region or side, no side, or an answer that contradicts itself.
    """
    chosen: dict[str, list[str]] = {"regions": [], "unclear": [], "side": []}
    unusable, notes = set(), []
    for region in result:
        name, value = region.get("from_name"), region.get("value", {})
        if name in chosen:
            chosen[name] += value.get("choices", [])
        elif name == "frame" and "unusable" in value.get("choices", []):
            unusable.add(int(region.get("item_index") or 0))
        elif name == "note":
            notes += value.get("text", [])
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
    affected = {au: None if au in unclear else au in regions for au in AUS}
    return Answer(
        affected=affected, side=side if regions else None, unusable=frozenset(unusable), note="\n".join(notes) or None
    )


def _choices(rows: Iterable[tuple[str, str, str]]) -> str:
    return "".join(
        f"<Choice value={quoteattr(name)} alias={quoteattr(alias)} hotkey={quoteattr(key)}/>" for name, alias, key in rows
    )


def _chosen(name: str, choices: list[str]) -> dict[str, Any]:
    return {"from_name": name, "to_name": "face", "type": "choices", "value": {"choices": choices}}


def _known_regions(names: Iterable[str]) -> set[AU]:
    unknown = sorted(set(names) - set(AUS))
    if unknown:
        raise LabelingError(f"unknown region {', '.join(unknown)}; the regions are {', '.join(AUS)}")
    return {AU(name) for name in names}


def _known_side(names: Sequence[str]) -> Side | None:
    if len(names) != 1 or names[0] not in SIDE_KEYS:
        raise LabelingError(f"the side is {', '.join(names) or 'not answered'}; it must be one of {', '.join(SIDE_KEYS)}")
    return None if names[0] == "none" else Side(names[0])


def _listed(regions: Iterable[AU]) -> str:
    return ", ".join(sorted(regions, key=AUS.index))


def _sentence(name: str) -> str:
    return name[0].upper() + name[1:]
