"""The labeling page: its Label Studio configuration, and whether a configuration is one that ViTAU wrote."""

import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import combinations
from typing import Final
from xml.etree.ElementTree import canonicalize
from xml.sax.saxutils import quoteattr

from labeling.interface.answer import GRADES, SEVERITIES, STATES, SYNKINESES
from labeling.interface.guide import (
    GRADE_DEFINITIONS,
    LOOK_AT,
    MARK_COLORS,
    PICTURE_STYLE,
    REGIONS_PICTURE,
    SEVERITY_DEFINITIONS,
    THEIR_SIDES,
    instruction,
)
from labeling.interface.hotkeys import (
    AFFECTED_KEYS,
    FRAME_KEYS,
    GRADE_KEYS,
    MARK_KEYS,
    SIDE_KEYS,
    SPARE_KEYS,
    UNAFFECTED_KEYS,
    UNCLEAR_KEYS,
)
from vitau.schema import AU, AUS, REGION_NAMES

INSTRUCTION: Final = instruction()
"""The labeling guide, HTML; Label Studio shows it behind the button Instructions."""

EARLIER_PAGES: Final = frozenset({"a2a8825ce6201452", "ea55bfee5bfd959f"})
"""Digests of the pages before they had a version. ``ensure_project`` replaces them."""

_VERSION: Final = re.compile(r"vitau-page-[0-9a-f]{16}")

# Label Studio sizes the picture before it adds an empty toolbar of 42 px beside it, which cuts off the picture's edge: no
# toolbar. Its side panels repeat the page and take a third of it: no panels. It escapes the sign for a child: no such selectors
_STYLE: Final = """
.lsf-sidepanels__wrapper { display: none; }
.lsf-sidepanels { padding: 0 !important; }
.vitau { display: flex; flex-wrap: wrap; gap: 8px 24px; align-items: flex-start; }
.vitau-face { flex: 1 1 340px; min-width: 0; max-width: min(520px, 100vh - 360px); }
.vitau-face .lsf-toolbar { display: none; }
.vitau-form { flex: 0 1 490px; min-width: 470px; }
.vitau-side { flex: 1 1 300px; min-width: 0; max-width: 420px; }
.vitau-side .vitau-map { max-width: 100%; }
.vitau-side table { font-size: 14px; margin-bottom: 8px; }
.vitau-rows { display: flex; gap: 12px; }
.vitau-column { white-space: nowrap; }
.vitau-more { flex: 0 0 44px; }
.vitau-more sup { display: none; }
.vitau-apart { margin-left: 8px; }
.vitau-form.vitau-wide { flex: 0 0 784px; }
.vitau-wide .vitau-rows { gap: 7px; }
.vitau-wide ~ .vitau-side { flex-basis: 236px; }
.vitau-their { display: flex; justify-content: space-between; font-weight: bold; }
.vitau-side .vitau-their { max-width: 300px; }
.vitau-wrong * { color: #b00020; font-size: 14px; line-height: 1.3; margin: 0; }
.vitau-returned { border: 2px solid #b00020; border-radius: 6px; padding: 4px 10px; margin-bottom: 8px; }
.vitau-strip div { display: inline-block; vertical-align: top; }
.vitau-small { width: 54px; font-size: 10px; line-height: 1.15; overflow-wrap: anywhere; }
.vitau-small span { display: block; padding-right: 4px; }
.vitau-small img { width: 52px; height: 52px; object-fit: cover; display: block; transform-origin: 0 100%; }
.vitau-small img:hover { transform: scale(5); position: relative; z-index: 9; }
.vitau-side .lsf-frames-control { display: none; }
.vitau-side .lsf-timeline-controls { display: flex; flex-wrap: wrap; gap: 4px; }
.vitau-side .lsf-timeline { max-width: 100%; overflow: hidden; }
.vitau details video { width: 100%; max-height: 60vh; background: #222; }
"""
SIDE_TITLES: Final = {"left": "Left", "right": "Right", "both": "Both", "none": "None affected"}
_TITLES: Final = {
    "regions": "Affected",
    "unaffected": "Not",
    "unclear": "Cannot tell",
    **{name: f"Severity {level}" for name, level in SEVERITIES.items()},
    "synkinesis": "Synkinesis",
    "no-synkinesis": "No synkinesis",
}
_NARROW: Final = {"severity-0": "Severity", "synkinesis": "Synkinesis"}
_NO_TITLE: Final = "\N{NO-BREAK SPACE}"  # the title of the column before goes on above this one
_MOVES_ALONG: Final = {
    True: "synkinesis: it moves along with another region",
    False: "it does not move along with another region",
}


def label_config(*, adjudication: bool = False, severity: bool = False) -> str:
    """Build the page's configuration: pictures, clips, the questions with their hotkeys, and a picture of the regions.

    Each region is a row of three states. Label Studio draws them as three lists, of which a contradiction is shown in words.
    With ``adjudication`` it shows the readers' answers (``$answers``, HTML) beside the questions. With ``severity`` each row
    has the severity of its region and its synkinesis too. Stored answers hold the ``alias`` of a choice, not its text.

    The text holds its own version, by which ``is_ours`` recognizes the pages of earlier versions. ``ensure_project`` replaces
    those. Label Studio keeps a list in which an answer was given, so that a list must never be renamed.
    """
    page = _page(adjudication=adjudication, severity=severity)
    return page.replace('className="vitau"', f'className="vitau {_version(page)}"', 1)


def is_ours(config: str) -> bool:
    """Return whether a page is unchanged since ViTAU, of this or of an earlier version, wrote it."""
    found = _VERSION.search(config)
    if found is None:
        return _digest(config) in EARLIER_PAGES
    return _version(config.replace(f" {found[0]}", "", 1)) == found[0]


def _version(page: str) -> str:
    return f"vitau-page-{_digest(page)}"


def _digest(config: str) -> str:
    """Compute the digest of a page; spaces between its tags do not count."""
    return sha256(canonicalize(config, strip_text=True).encode()).hexdigest()[:16]


def _page(*, adjudication: bool, severity: bool) -> str:
    """Build the configuration without its version."""
    affected = _choices((region_title(au), au.value, AFFECTED_KEYS[au], LOOK_AT[au]) for au in AUS)
    unaffected = _choices(
        ((f"{au} no", au.value, UNAFFECTED_KEYS[au], "this region is not affected") for au in AUS),
        shown="no" if severity else None,
    )
    unclear = _choices(
        ((f"{au} ?", au.value, UNCLEAR_KEYS[au], "nobody could judge this region from what is here") for au in AUS),
        shown="?" if severity else None,
    )
    side = _choices((SIDE_TITLES[name], name, key, None) for name, key in SIDE_KEYS.items())
    grade = _choices((GRADES[grade], str(grade), key, GRADE_DEFINITIONS[grade]) for grade, key in GRADE_KEYS.items())
    frame = _choices((_sentence(name), name, key, None) for name, key in FRAME_KEYS.items())
    lists = {"regions": affected, "unaffected": unaffected, "unclear": unclear}
    rows = "".join(
        f'<View className="vitau-column"><Header value="{_TITLES[name]}" size="5"/>'
        f'<Choices name="{name}" toName="face" choice="multiple" layout="vertical">{choices}</Choices></View>'
        for name, choices in lists.items()
    )
    rows += "".join(
        f'<View className="vitau-column vitau-more{" vitau-apart" if name in _NARROW else ""}">'
        f'<Header value="{_NARROW.get(name, _NO_TITLE)}" size="5"/>'
        f'<Choices name="{name}" toName="face" choice="multiple" layout="vertical">{choices}</Choices></View>'
        for name, choices in (_severities().items() if severity else ())
    )
    boxes = "".join(f'<Label value="{au}" hotkey="{MARK_KEYS[au]}" background="{MARK_COLORS[au]}"/>' for au in AUS)
    answers = '<HyperText name="answers" value="$answers" inline="true"/>' if adjudication else ""
    return f"""<View>
  <Style>{_STYLE}{PICTURE_STYLE}</Style>
  <View className="vitau">
    <View className="vitau-face">
      <Header value="$about" size="6"/>
      <HyperText name="their-sides" value={quoteattr(THEIR_SIDES)} inline="true"/>
      <Image name="face" valueList="$images" zoom="true" zoomControl="false" selectionControl="false"/>
      <Choices name="frame" toName="face" choice="single-radio" perItem="true" showInline="true">{frame}</Choices>
      <View className="vitau-strip">
        <Repeater on="$pictures" indexFlag="{{{{p}}}}">
          <HyperText name="picture-{{{{p}}}}" value="$pictures[{{{{p}}}}].html" inline="true"/>
        </Repeater>
      </View>
      <RectangleLabels name="evidence" toName="face" canRotate="false" opacity="0.1" strokeWidth="2">{boxes}</RectangleLabels>
    </View>
    <View className="vitau-form{" vitau-wide" if severity else ""}">
      <HyperText name="returned" value="$returned" inline="true"/>
      <View className="vitau-rows">{rows}</View>
      <Header value="Side (the person's own)" size="5"/>
      <Choices name="side" toName="face" choice="single-radio" showInline="true" required="true"
               requiredMessage="Which side? Press z (left), x (right), c (both) or n (none).">{side}</Choices>
      <View className="vitau-wrong">{"".join(_contradictions(adjudication, severity))}</View>
      <Header value="House–Brackmann grade (optional)" size="5"/>
      <Choices name="grade" toName="face" choice="single-radio" showInline="true">{grade}</Choices>
      <TextArea name="note" toName="face" placeholder="Note (optional)" rows="2" maxSubmissions="1" editable="true"
                showSubmitButton="false"/>
    </View>
    <View className="vitau-side">
      {answers}
      <HyperText name="suggested" value="$suggested" inline="true"/>
      <Repeater on="$player" indexFlag="{{{{v}}}}">
        <Video name="player-{{{{v}}}}" value="$player[{{{{v}}}}].url" frameRate="$player[{{{{v}}}}].fps" minPlaybackSpeed="0.25"
               height="315" timelineHeight="24"/>
      </Repeater>
      <Repeater on="$clips" indexFlag="{{{{n}}}}">
        <HyperText name="clip-{{{{n}}}}" value="$clips[{{{{n}}}}].html" inline="true"/>
      </Repeater>
      <Header value="The regions" size="5"/>
      <HyperText name="map" value={quoteattr(THEIR_SIDES + REGIONS_PICTURE)} inline="true"/>
    </View>
  </View>
</View>"""


def region_title(au: AU) -> str:
    """Return the name of a region on the page, such as ``Forehead, inner brow (AU1)``."""
    return f"{_sentence(REGION_NAMES[au])} ({au})"


def _severities() -> dict[str, str]:
    """Return the choices of the lists of severity and synkinesis, which are short: the row names the region."""
    columns = {name: (str(level), f"severity {level}, {SEVERITY_DEFINITIONS[level]}") for name, level in SEVERITIES.items()}
    columns |= {name: ("yes" if moves else "no", _MOVES_ALONG[moves]) for name, moves in SYNKINESES.items()}
    return {
        name: "".join(
            f'<Choice value="{au} {text}" alias="{au}" html="{text}" hotkey="{SPARE_KEYS[column][row]}" '
            f"hint={quoteattr(f'{region_title(au)}: {hint}')}/>"
            for row, au in enumerate(AUS)
        )
        for column, (name, (text, hint)) in enumerate(columns.items())
    }


def _contradictions(adjudication: bool, severity: bool) -> Iterator[str]:
    """Yield lines that Label Studio shows while an answer contradicts itself, as ``from_result`` finds it afterwards."""
    pairs = [*combinations(STATES, 2)]
    if severity:
        pairs += [*combinations(SEVERITIES, 2), *combinations(SYNKINESES, 2)]
        for au in AUS:
            line = _line(f"{region_title(au)}: a severity of what is not affected; correct one of them")
            given = "".join(_while(name, au, line) for name in SEVERITIES)
            yield f'<View visibleWhen="choice-unselected" whenTagName="regions" whenChoiceValue="{au}">{given}</View>'
    for one, other in pairs:
        for au in AUS:
            line = f"{region_title(au)}: choose one of “{_TITLES[one]}” and “{_TITLES[other]}”"
            yield _while(one, au, _while(other, au, _line(line)))
    none = _while("side", "none", _line("A region is affected: choose its side, or unmark the region"))
    yield f'<View visibleWhen="choice-selected" whenTagName="regions">{none}</View>'
    if not adjudication:  # who may settle the side alone
        sides = ",".join(name for name in SIDE_KEYS if name != "none")
        alone = _while("side", sides, _line("A side and no region: mark the region, or choose “None affected”"))
        blank = f'<View visibleWhen="choice-unselected" whenTagName="unclear">{alone}</View>'
        yield f'<View visibleWhen="choice-unselected" whenTagName="regions">{blank}</View>'


def _while(name: str, choice: str, inner: str) -> str:
    """Return ``inner`` within a view that shows while a choice of the list ``name`` is chosen."""
    return f'<View visibleWhen="choice-selected" whenTagName="{name}" whenChoiceValue={quoteattr(choice)}>{inner}</View>'


def _line(text: str) -> str:
    return f'<Header value={quoteattr(text)} size="6"/>'


def _choices(rows: Iterable[tuple[str, str, str, str | None]], *, shown: str | None = None) -> str:
    """Return the choices of a list: name, alias, key and hint of each. ``shown`` replaces the names, where space is short."""
    return "".join(
        f"<Choice value={quoteattr(name)} alias={quoteattr(alias)} hotkey={quoteattr(key)}"
        f"{'' if hint is None else f' hint={quoteattr(hint)}'}{'' if shown is None else f' html={quoteattr(shown)}'}/>"
        for name, alias, key, hint in rows
    )


def _sentence(name: str) -> str:
    return name[0].upper() + name[1:]
