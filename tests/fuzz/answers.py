"""Readers of answers: tasks of Label Studio, its webhooks, and CSV files."""

import asyncio
import csv
import io
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final

from labeling.consensus.csv_io import COLUMNS, read_csv, write_csv
from labeling.interface.answer import Answer, to_result
from labeling.label_studio.annotations import ParsedAnnotation, ReaderProject, parse_task, parse_time
from labeling.label_studio.projects import SECRET_HEADER
from labeling.label_studio.reconcile import reconcile
from labeling.label_studio.webhook import MAX_BODY, make_app
from tests.fuzz.mutations import mutate, mutate_json
from tests.fuzz.storable import check_storable
from vitau.schema import AUS, Side, Stage

SECRET: Final = b"the secret of the fuzzer"
SUBJECT: Final = "3f" * 16
NAME: Final = "Mustermann"
_POSTS_PER_APP: Final = 500  # the server's rate limit admits 600 at once
_LARGE: Final = 1_100_000


def run_label_json(data: bytes, _: Path) -> Iterable[str]:
    """Parse a task of Label Studio, put its answers in order, and reconcile them, as a pull does."""
    project = ReaderProject(id=1, title="ViTAU · reader-a", reader="reader-a", stage=Stage.READER)
    parsed = parse_task(project, json.loads(data), {SUBJECT})
    parsed = sorted(parsed, key=lambda annotation: (parse_time(annotation.version), int(annotation.annotation)))
    result = reconcile(project, parsed, (), (), num_seen=0)
    check_storable([list(asdict(seen).values()) for seen in result.seen])
    for row in result.rows:
        check_storable(asdict(row))
    again = reconcile(project, parsed, result.seen, (), num_seen=len(result.seen))
    assert not again.seen or _has_doubles(parsed), "a second pull sees changes"
    return [annotation.problem for annotation in parsed if annotation.problem]


def _has_doubles(parsed: Sequence[ParsedAnnotation]) -> bool:
    return len({annotation.key for annotation in parsed}) < len(parsed)


@cache
def label_json_seeds() -> Sequence[bytes]:
    """Return tasks with one answer, with a renewed page, and with several answers of all kinds."""
    answer = Answer(
        affected={au: au is AUS[0] for au in AUS},
        side=Side.LEFT,
        unusable=frozenset({1}),
        note=f"a note about {NAME}",
        grade=3,
        marks={AUS[0]: ((0, 0.1, 0.2, 0.3, 0.4),)},
    )
    unclear = Answer(affected=dict.fromkeys(AUS), side=None, unusable=frozenset(), note=None, grade=None, marks={})
    time = "2026-11-23T09:30:00.123456Z"
    annotation = {"id": 5, "updated_at": time, "created_at": time, "lead_time": 12.5, "was_cancelled": False}
    frames = [f"{'0' * 64}:{index}" for index in range(3)]
    data = {"subject": SUBJECT, "frames": frames, "suggestions": {"AU1": 0.5}, "suggested_by": "model/1"}
    task = {"id": 7, "data": data, "annotations": [annotation | {"result": to_result(answer)}]}
    renewed = task | {"data": {**data, "before": [{"until": time, "frames": frames[:1]}]}}
    later = annotation | {"id": 6, "updated_at": "2026-11-23T10:30:00Z", "result": to_result(unclear)}
    skipped = annotation | {"id": 8, "was_cancelled": True, "result": []}
    several = task | {"annotations": [*task["annotations"], later, skipped]}
    return tuple(json.dumps(value).encode() for value in (task, renewed, several))


class _Server:
    """The webhook server's application, called as a web server calls it; a new one before its rate limit is reached."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._posts = 0

    def post(self, secret: bytes, body: bytes, chunk: int) -> int:
        """Post a body in chunks; return the status."""
        if self._posts % _POSTS_PER_APP == 0:
            self._app = make_app(SECRET.decode(), lambda _: None)
        self._posts += 1
        sent: list[Any] = []
        parts = [body[at : at + chunk] for at in range(0, len(body), chunk)] or [b""]

        async def receive() -> Any:
            return (
                {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}
                if parts
                else {"type": "http.disconnect"}
            )

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(SECRET_HEADER.lower().encode(), secret), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/webhook", "raw_path": b"/webhook", "headers": headers}
        scope |= {"query_string": b"", "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80)}
        scope |= {"client": ("127.0.0.1", 1), "root_path": "", "asgi": {"version": "3.0"}}
        self._loop.run_until_complete(self._app(scope, receive, send))
        return int(sent[0]["status"])


@cache
def _server() -> _Server:
    return _Server()


def run_webhook(data: bytes, _: Path) -> Iterable[str]:
    """Post the lines after the first, which is the secret, and compare the reply with what the body deserves."""
    secret, _, body = data.partition(b"\n")
    if body.endswith(b"x" * 40):
        body *= _LARGE // len(body) + 1
    status = _server().post(secret, body, max(1, len(body) // 3))
    if secret != SECRET:
        assert status in {401, 429}, f"a wrong secret and the reply {status}"
    else:
        try:
            json.loads(body)
        except (ValueError, RecursionError):
            expected = 400
        else:
            expected = 202
        expected = 413 if len(body) > MAX_BODY else expected
        assert status == expected, f"the reply is {status}, not {expected}"
    return ()


@cache
def webhook_seeds() -> Sequence[bytes]:
    """Return requests of Label Studio, other JSON, and what is deep or long."""
    annotation = {"id": 1, "result": [{"value": {"text": [f"a note about {NAME}"]}}]}
    events = [
        {"action": action, "project": {"id": 7, "title": "ViTAU"}, "annotation": annotation, "task": {"id": 3}}
        for action in ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_CREATED")
    ]
    bodies = [*(json.dumps(event).encode() for event in events), b"[]", b"[" * 4000, b'{"a":' * 3000, b"[" + b"x" * 40]
    return tuple(SECRET + b"\n" + body for body in bodies)


def mutate_webhook(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return a request with a changed body: mostly JSON still; sometimes with another secret."""
    secret, _, body = rng.choice(seeds).partition(b"\n")
    if rng.random() < 0.5 and body.startswith(b"{") and body.endswith(b"}"):
        body = mutate_json(rng, [body])
    else:
        body = mutate(rng, [body], (b"{", b"}", b'"id":', b"null", b"7.0", b'{"action":"ANNOTATION_CREATED","project":{"id":'))
    return (mutate(rng, [secret]).replace(b"\n", b"") if rng.random() < 0.03 else secret) + b"\n" + body


def run_csv(data: bytes, _: Path) -> Iterable[str]:
    """Read the answers of a file as `labels import` does, and check that an export of them is read as the same answers."""
    text = data.decode("utf-8-sig", "replace")
    rows = read_csv(text, source="study", find_subject={NAME: SUBJECT, SUBJECT: SUBJECT}.get)
    for row in rows:
        check_storable(asdict(row))
        parse_time(row.answered_at or "2026-11-23T09:30:00Z")
    assert read_csv(write_csv(rows), source="study", find_subject={SUBJECT: SUBJECT}.get) == rows, (
        "an export is read as other answers"
    )
    return ()


@cache
def csv_seeds() -> Sequence[bytes]:
    """Return a full export, a study with the required columns, and answers with marks and retractions."""
    row = {**dict.fromkeys(COLUMNS, ""), "subject": NAME, "au": "AU1", "reader": "reader-a", "affected": "yes", "side": "left"}
    row |= {"answered_at": "2026-11-23T09:30:00Z", "note": "a note", "grade": "2", "lead_time_s": "3.5", "suggestion": "0.25"}
    named = row | {"annotation": "5", "version": "v", "retracted": "yes", "stage": "adjudication", "suggested_by": "model/1"}
    marked = row | {
        "frames_shown": json.dumps([f"{'0' * 64}:1"]),
        "evidence": json.dumps([[f"{'0' * 64}:1", 0.1, 0.2, 0.3, 0.4]]),
    }
    tables = [
        [row, row | {"au": "AU2", "affected": "no"}, row | {"au": "AU4", "affected": "?", "note": "'=1+1"}],
        [named, named | {"au": "AU2"}],
        [marked | {"au": au.value} for au in AUS],
    ]
    return (*(_table(rows) for rows in tables), f"subject,reader,au,affected,side\n{NAME},r,AU1,no,\n".encode())


def _table(rows: Sequence[Mapping[str, str]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()
