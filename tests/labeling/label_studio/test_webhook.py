"""The webhook server on a real port: authentication, debouncing, and fast replies."""

import logging
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn

from labeling.label_studio.projects import SECRET_HEADER
from labeling.label_studio.webhook import MAX_BODY, MAX_PER_MINUTE, RateLimit, make_app
from vitau.errors import LabelingError

SECRET = "the secret of these tests"
ANSWER = {"action": "ANNOTATION_CREATED", "project": {"id": 7}, "annotation": {"id": 1}}


@pytest.fixture
def receiver() -> Iterator:
    """Start the server with a callback; return a function that posts to it."""
    running, client = (
        [],
        httpx.Client(),
    )  # one for all: a new one per request takes longer than the quiet time on a busy machine

    def start(hint, **how):
        config = uvicorn.Config(make_app(SECRET, hint, **how), host="127.0.0.1", port=0, log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        until(lambda: server.started)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/webhook"

        def post(body=ANSWER, *, secret: str | None = SECRET, **more) -> int:
            headers = {} if secret is None else {SECRET_HEADER: secret}
            return client.post(url, headers=headers, **({"json": body} | more)).status_code

        return post

    yield start
    client.close()
    for server, thread in running:
        server.should_exit = True
        thread.join()


def until(true, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)


def test_a_burst_of_requests_is_one_pull_per_project(receiver):
    pulls: list[int] = []
    post = receiver(pulls.append, quiet_s=0.3)
    for number in range(20):
        assert post(ANSWER | {"project": {"id": number % 2}}) == 202
    until(lambda: len(pulls) == 2)
    time.sleep(0.5)
    assert pulls == [0, 1]


def test_requests_that_never_pause_are_pulled_after_the_limit(receiver):
    pulls: list[int] = []
    post = receiver(pulls.append, quiet_s=0.5, at_most_s=1.0)
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        post()
        time.sleep(0.05)
    assert 2 <= len(pulls) <= 3


def test_label_studio_never_waits_for_a_pull(receiver):
    released, pulling, pulled = (threading.Event() for _ in range(3))

    def pull(_: int) -> None:
        pulling.set()
        released.wait(60)
        pulled.set()

    post = receiver(pull, quiet_s=0.01)
    post()
    assert pulling.wait(5)
    assert post() == 202
    assert not pulled.is_set()
    released.set()


def test_a_failed_pull_is_logged_and_the_next_request_is_processed(receiver, caplog):
    pulls: list[int] = []

    def pull(project: int) -> None:
        pulls.append(project)
        if len(pulls) == 1:
            raise LabelingError("Label Studio does not answer")

    post = receiver(pull, quiet_s=0.01)
    post()
    until(lambda: caplog.records)
    post()
    until(lambda: len(pulls) == 2)
    assert caplog.records[0].getMessage() == "project 7 could not be pulled; the next poll repeats it"


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + "s", SECRET[:-1]])
def test_a_request_without_the_secret_is_refused_and_logged(receiver, caplog, secret):
    pulls: list[int] = []
    post = receiver(pulls.append, quiet_s=0.01)
    with caplog.at_level(logging.DEBUG, logger="labeling.label_studio.webhook"):
        assert post(secret=secret) == 401
    time.sleep(0.1)
    assert pulls == []
    (line,) = [record.getMessage() for record in caplog.records if record.name == "labeling.label_studio.webhook"]
    assert line == f"refused a request: the secret in X-ViTAU-Secret is {'wrong' if secret else 'missing'}"


@pytest.mark.parametrize(
    "body",
    [
        {"action": "TASKS_CREATED", "project": {"id": 7}},
        {"action": "ANNOTATION_CREATED"},
        {"action": "ANNOTATION_CREATED", "project": {"id": "7"}},
        {"action": ["ANNOTATION_CREATED"], "project": {"id": 7}},
        ["ANNOTATION_CREATED"],
        7,
    ],
)
def test_other_events_are_accepted_and_ignored(receiver, body):
    pulls: list[int] = []
    post = receiver(pulls.append, quiet_s=0.01)
    assert post(body) == 202
    time.sleep(0.2)
    assert pulls == []


def test_a_body_that_is_too_large_or_not_json_is_refused(receiver, caplog):
    pulls: list[int] = []
    post = receiver(pulls.append, quiet_s=0.01)
    assert post(content=b"{" + b" " * MAX_BODY) == 413
    assert post(content=b"\xff{") == 400
    assert post(content=b"") == 400
    assert pulls == []
    assert [record.getMessage() for record in caplog.records if record.name == "labeling.label_studio.webhook"] == [
        "refused a request of more than 1048576 bytes",
        "refused a request that is not JSON",
        "refused a request that is not JSON",
    ]


def test_without_a_secret_the_server_does_not_start():
    with pytest.raises(LabelingError) as caught:
        make_app("", print)
    assert str(caught.value) == "the webhook server has no secret and would accept any request; set VITAU_WEBHOOK_SECRET"


def test_half_a_megabyte_of_brackets_is_not_json_and_the_server_goes_on(receiver):
    pulls: list[int] = []
    post = receiver(pulls.append, quiet_s=0.1)
    assert post(content=b"[" * 500_000, json=None) == 400
    assert post() == 202
    until(lambda: pulls == [7])


def test_a_thousand_requests_a_minute_are_accepted_and_a_flood_is_limited_without_losing_a_hint(receiver, monkeypatch):
    monkeypatch.setattr("labeling.label_studio.webhook.MAX_PER_MINUTE", 100)
    monkeypatch.setattr("labeling.label_studio.webhook.MAX_REFUSALS_PER_MINUTE", 50)
    assert MAX_PER_MINUTE >= 1000
    pulls: list[int | None] = []
    post = receiver(pulls.append, quiet_s=0.3)
    replies = [post(ANSWER | {"project": {"id": number}}) for number in range(60)]
    assert set(replies) == {202, 429}
    until(lambda: pulls)
    assert pulls == [None], "all projects: the hints of refused requests are not lost"
    assert [post(secret="wrong") for _ in range(30)].count(429) >= 10


def test_the_rate_limit_recovers_with_time():
    clock = [0.0]
    limit = RateLimit(60, clock=lambda: clock[0])
    assert [limit.admits() for _ in range(13)] == [True] * 12 + [False]
    clock[0] += 2
    assert [limit.admits() for _ in range(3)] == [True, True, False]
