"""Keyed identities: the names under which the catalog has people, URLs, sources and recordings, without what they stand for.

Each is an HMAC under the pseudonym key. When that key was replaced, they were renamed: functions that take
:class:`PseudonymKeys` return every name that the catalog may have.
"""

import hmac
import json
import re
from collections.abc import Collection, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from vitau.catalog.rekeying.keys import PseudonymKeys
from vitau.media.manifests import SourceClip
from vitau.schema import tombstone

_PORTS: Final = {"http": 80, "https": 443}


def names_of(keys: PseudonymKeys, source: str, subject_id: str) -> list[str]:
    """Return every pseudonym that a person of a source may have, the one of new people first.

    People who were recorded before identifiers were normalized have that of the identifier as it is written.
    """
    by_spelling = (keys.derive(partial(_pseudonym, source, subject_id, spelling)) for spelling in (0, -1))
    return list(dict.fromkeys(name for names in zip(*by_spelling, strict=True) for name in names))


def tombstones_of(keys: PseudonymKeys, source: str, subject_id: str) -> set[str]:
    """Return every tombstone that a person of a source may have."""

    def bury(spelling: int, key: bytes) -> str:
        return tombstone(_pseudonym(source, subject_id, spelling, key))

    return {name for spelling in (0, -1) for name in keys.derive(partial(bury, spelling))}


def known_name(keys: PseudonymKeys, source: str, subject_id: str, known: Collection[str]) -> str | None:
    """Return the pseudonym under which a person of a source is known; ``None`` for an unknown one."""
    return next((name for name in names_of(keys, source, subject_id) if name in known), None)


def _pseudonym(source: str, subject_id: str, spelling: int, key: bytes) -> str:
    """Return the pseudonym of an identifier, normalized (0) or as it is written (−1)."""
    from vitau.media.sources import pseudonyms  # loads OpenCV and PyAV, which some commands need for no other reason

    return pseudonyms(key, source, subject_id)[spelling]


def url_name(key: bytes, url: str) -> str:
    """Return the name of a URL in the catalog, an HMAC."""
    return hmac.new(key, f"url\0{normalized_url(url)}".encode(), sha256).hexdigest()


def content_name(lease_name: str) -> str:
    """Return the name of a clip among the dead letters: the HMAC in the name of its lease, whatever the recipe."""
    return lease_name.rpartition("/")[2]


def statement_of(clips: Sequence[SourceClip], key: bytes) -> str:
    """Return a digest of everything that a source states about its clips, but for the places of their files.

    A source without visits keeps the digest that it had before there were any.
    """
    rows: list[dict[str, Any]] = [
        {
            "row": clip.row,
            "subject": clip.subject_id,
            "cohort": clip.cohort,
            "source": clip.source,
            "range": [clip.start_s, clip.end_s],
            "frames": [clip.mirrored, clip.fps],
            "use": [clip.consent, clip.licence],
            **({"visit": [clip.visit, clip.recorded_at]} if clip.visit or clip.recorded_at else {}),
        }
        for clip in clips
    ]
    return hmac.new(key, json.dumps(rows, sort_keys=True).encode(), sha256).hexdigest()[:32]


def normalized_url(url: str) -> str:
    """Return one spelling of the URLs of one recording.

    The case of scheme and host, default ports, fragments, the order of parameters and the addresses of campaigns do not count.
    """
    parts = urlsplit(url.strip())
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower().removeprefix("www.")
    fields = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if not name.startswith("utm_")]
    short = re.fullmatch(r"/([\w-]{11})", parts.path) if host == "youtu.be" else None
    videos = [value for name, value in fields if name == "v"] if host in {"youtube.com", "m.youtube.com"} else []
    if short is not None or (videos and parts.path == "/watch"):
        return f"https://youtube.com/watch?v={short[1] if short is not None else videos[0]}"
    port = "" if parts.port in {None, _PORTS.get(scheme)} else f":{parts.port}"
    return f"{scheme}://{host}{port}{parts.path or '/'}?{urlencode(sorted(fields))}"
