"""Tasks for the readers, built from a person's pictures, without identifying data."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from labeling.interface.answer import GRADES
from labeling.interface.config import region_title
from labeling.interface.measure_block import MeasureBlock, measure_html
from vitau.schema import AU, AUS, LedgerRow, split_case

PAGE_DATA: Final[Mapping[str, Any]] = {"returned": "", "asked": None, "pictures": [], "player": []}
"""Data of a task that the page needs, and that tasks of earlier versions lack.

``returned`` is the reason, HTML, why an answer came back to its reader. ``asked`` are the regions that an adjudicator has to
settle. ``pictures`` is the strip below the picture: HTML of each picture with its caption. ``player`` is the clip, if any, that
Label Studio's player shows: its URL, and its frames per second in the player's own unit.
"""

_STEP: Final = 10
"""The player's buttons for one frame move ten (Label Studio 1.21 to 1.23): a tenth of a frame is declared as its frame."""


def returned(reason: str) -> str:
    """Return HTML that shows a reader why an answer came back."""
    return f'<div class="vitau-returned"><b>Your last answer came back:</b> {escape(reason)}. Please answer again.</div>'


def image_url(store_uri: str, key: str) -> str:
    """Return the URL of an object for Label Studio: its ``s3://`` URI, or a file below its document root, the store."""
    if urlsplit(store_uri).scheme == "s3":
        return f"{store_uri.rstrip('/')}/{key}"
    return f"/data/local-files/?d={quote(key)}"


def store_folder(store_uri: str) -> Path | None:
    """Return the folder of a ``file://`` store or of a plain path, ``None`` for any other store."""
    parts = urlsplit(store_uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(store_uri)


def build_task(
    case: str,
    images: Sequence[str],
    frames: Sequence[str],
    *,
    synthetic: bool = False,
    clips: Sequence[str] = (),
    suggestions: Mapping[AU, float] | None = None,
    suggested_by: str | None = None,
    material: str | None = None,
) -> dict[str, Any]:
    """Build the task about one person at one visit.

    Args:
        case: the name of the person at the visit (:mod:`vitau.schema.visits`), which the page does not show.
        images: URLs of the pictures, from ``image_url``.
        frames: the name of each picture's frame.
        synthetic: whether the page calls the person drawn.
        clips: URLs of the person's clips, from ``image_url``; a clip that the browser cannot decode stays black.
        suggestions: a model's scores by region, to show; ``None`` for a blind reader.
        suggested_by: name and version of that model.
        material: the name of the material from which the frames were chosen.

    Raises:
        ValueError: there are no pictures, or not as many as frames.
    """
    if not images or len(images) != len(frames):
        raise ValueError(f"subject {case} has {len(images)} pictures and {len(frames)} frame names; give as many, at least one")
    subject, visit = split_case(case)
    data: dict[str, Any] = {
        "subject": subject,
        "about": f"{'Drawn, synthetic person' if synthetic else 'One person'}, pictures: {len(images)}",
        "images": list(images),
        "frames": list(frames),
        "clips": [{"html": _player(address, number)} for number, address in enumerate(clips, start=1)],
        "material": material,
        "after": 0,
        **PAGE_DATA,
        "pictures": strip(images),
        **({} if visit is None else {"visit": visit}),
    }
    return {"data": data | suggested(suggestions, suggested_by)}


def build_adjudication_task(
    task: Mapping[str, Any],
    answers: Iterable[LedgerRow],
    disputed: Collection[AU],
    *,
    side: bool = False,
    suggestions: Mapping[AU, float] | None = None,
    suggested_by: str | None = None,
) -> dict[str, Any]:
    """Build the adjudicator's task: a reader's task with a table of all readers' answers, disputed rows highlighted.

    Args:
        task: from ``build_task``.
        answers: the blind answers about this person, in the ledger's order; the last one of a reader about a region counts.
        disputed: the disputed regions.
        side: whether the side is disputed.
        suggestions: a model's scores by region, shown below the answers.
        suggested_by: name and version of that model.
    """
    by_reader: dict[str, dict[AU, LedgerRow]] = {}
    for row in answers:
        by_reader.setdefault(row.reader, {})[row.au] = row
    readers = sorted(by_reader)
    lines = [_line("Decide the marked rows", readers, tag="th")]
    for au in AUS:
        cells = [_answer_text(by_reader[reader].get(au)) for reader in readers]
        lines.append(_line(region_title(au), cells, marked=au in disputed))
    whole = [next(iter(by_reader[reader].values())) for reader in readers]
    lines.append(_line("Side", [row.side or "none" for row in whole], marked=side))
    lines.append(_line("House–Brackmann grade", [GRADES[row.grade] if row.grade else "–" for row in whole]))
    notes = [f"<p>{escape(row.reader)}: {escape(row.note)}</p>" for row in whole if row.note]
    table = {
        "answers": f"<table>{''.join(lines)}</table>{''.join(notes)}",
        "asked": [au.value for au in AUS if au in disputed],
    }
    return {"data": dict(task["data"]) | suggested(suggestions, suggested_by) | table}


def with_captions(task: Mapping[str, Any], captions: Sequence[str]) -> dict[str, Any]:
    """Return a task whose strip of pictures has captions, one each, such as ``smile`` and in the next line ``3.5 s``."""
    data = task["data"]
    return {**task, "data": {**data, "pictures": strip(data["images"], captions)}}


def with_player(task: Mapping[str, Any], url: str, frame_rate: float) -> dict[str, Any]:
    """Return a task whose first clip is in Label Studio's own player, which steps through its frames and slows it down.

    The browser's player stays, folded: Label Studio's is black where the store does not allow it to read the clip.

    Args:
        task: from ``build_task``.
        url: of its first clip, a format that Label Studio accepts: it opens an error of its own at any other.
        frame_rate: frames per second of that clip.
    """
    data = task["data"]
    clips = [{"html": _player(url, 1, title="Clip 1 in the browser's player")}, *data["clips"][1:]]
    return {**task, "data": {**data, "clips": clips, "player": [{"url": url, "fps": f"{_STEP * frame_rate:g}"}]}}


def with_measures(task: Mapping[str, Any], measures: MeasureBlock | None) -> dict[str, Any]:
    """Return a task that shows a person's measures, and nothing else of that kind; ``None`` shows none.

    They share the page's element of the suggestions: the page of an existing project cannot get another one, because its tasks
    would lack what that shows.
    """
    data = without_measures(task["data"])
    if measures is not None:
        html = measure_html(measures)
        data |= {"suggested": data["suggested"] + html, "measures": html, "measures_version": measures.version}
    return {**task, "data": data}


def without_measures(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return task data without measures; a model's scores stay."""
    scores = str(data.get("suggested") or "").removesuffix(data.get("measures") or "")
    return {**data, "suggested": scores, "measures": "", "measures_version": None}


def without_suggestions(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return task data without a model's scores; measures stay."""
    return {**data, **suggested(None, None), "suggested": data.get("measures") or ""}


def suggested(suggestions: Mapping[AU, float] | None, by: str | None) -> dict[str, Any]:
    """Return a model's scores as task data: HTML for the page, and values to record with the answer."""
    if suggestions is None:
        return {"suggested": "", "suggestions": None, "suggested_by": None}
    lines = [_line("A model suggests", [by or "unnamed"], tag="th")]
    lines += [_line(region_title(au), [f"{suggestions[au]:.2f}"]) for au in AUS if au in suggestions]
    scores = {au.value: float(suggestions[au]) for au in AUS if au in suggestions}
    return {"suggested": f"<table>{''.join(lines)}</table>", "suggestions": scores, "suggested_by": by}


def strip(images: Sequence[str], captions: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return the HTML of each picture of the strip: small, with its number and caption; a pointer over it enlarges it."""
    titles = [*captions, *[""] * (len(images) - len(captions))]
    return [
        {"html": _small_picture(address, title, number)}
        for number, (address, title) in enumerate(zip(images, titles, strict=True), start=1)
    ]


def _small_picture(address: str, caption: str, number: int) -> str:
    text = escape(f"{number} {caption}".replace(" \n", "\n").strip())
    lines, alt = text.replace("\n", "<br/>"), text.replace("\n", " ")
    return f'<div class="vitau-small"><img src="{escape(address)}" alt="{alt}"/><span>{lines}</span></div>'


def _player(address: str, number: int, *, title: str | None = None) -> str:
    """Return HTML in which the browser plays a clip. It has a single URL, because Label Studio resolves only one.

    All but the first are folded, and that too if it has a ``title`` of its own.

    A clip does not play by itself: on its sound track, a name may be spoken.
    """
    video = (
        f'<video src="{escape(address)}" controls="controls" preload="metadata" loop="loop" playsinline="playsinline"></video>'
    )
    opened = ' open="open"' if number == 1 and title is None else ""
    return f"<details{opened}><summary>{title or f'Clip {number}'}</summary>{video}</details>"


def _answer_text(row: LedgerRow | None) -> str:
    if row is None:
        return "–"
    affected = {True: "affected", False: "not affected", None: "cannot tell"}[row.affected]
    severity = "" if row.severity is None else f", severity {row.severity}"
    return affected + severity + {True: ", synkinesis", False: ", no synkinesis", None: ""}[row.synkinesis]


def _line(head: str, cells: Iterable[str], *, tag: str = "td", marked: bool = False) -> str:
    style = ' style="background:#fff0b3;color:#222;font-weight:bold"' if marked else ""
    texts = "".join(f'<{tag} style="padding:2px 10px;text-align:left">{escape(text)}</{tag}>' for text in [head, *cells])
    return f"<tr{style}>{texts}</tr>"
