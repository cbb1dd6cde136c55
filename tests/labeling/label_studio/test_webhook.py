"""The receiver on a real port: who may speak, what counts, and how fast it answers."""

import logging
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn

from labeling.label_studio.storage import SECRET_HEADER
from labeling.label_studio.webhook import MAX_BODY, make_app
from vitau.errors import LabelingError

SECRET = "the secret of these tests"
ANSWER = {"action": "ANNOTATION_CREATED", "project": {"id": 7}, "annotation": {"id": 1}}


@pytest.fixture
def receiver() -> Iterator:
    """Starts the receiver with a hint; returns a function that posts to it."""
    running = []

    def start(hint, **how):
        config = uvicorn.Config(make_app(SECRET, hint, **how), host="127.0.0.1", port=0, log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        until(lambda: server.started)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/webhook"

        def post(said=ANSWER, *, secret: str | None = SECRET, **more) -> int:
            headers = {} if secret is None else {SECRET_HEADER: secret}
            return httpx.post(url, headers=headers, **({"json": said} | more)).status_code

        return post

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join()


def until(true, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_a_burst_of_hints_is_one_pull_per_project(receiver):
    pulls: list[int] = []
    post = receiver(pulls.append, quiet_s=0.3)
    for number in range(20):
        assert post(ANSWER | {"project": {"id": number % 2}}) == 202
    until(lambda: len(pulls) == 2)
    time.sleep(0.5)
    assert pulls == [0, 1]


def test_hints_that_never_cease_are_pulled_all_the_same(receiver):
    pulls: list[int] = []
    post = receiver(pulls.append, quiet_s=0.5, at_most_s=1.0)
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        post()
        time.sleep(0.05)
    assert 2 <= len(pulls) <= 3


def test_label_studio_never_waits_for_a_pull(receiver):
    released, pulling = threading.Event(), threading.Event()

    def pull(_: int) -> None:
        pulling.set()
        released.wait(10)

    post = receiver(pull, quiet_s=0.01)
    post()
    assert pulling.wait(5)
    start = time.monotonic()
    assert post() == 202
    assert time.monotonic() - start < 1
    released.set()


def test_a_pull_that_fails_is_logged_and_the_next_hint_is_heard(receiver, caplog):
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
    assert caplog.records[0].getMessage() == "what project 7 hinted at could not be pulled; the next poll does it"


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + "s", SECRET[:-1]])
def test_whoever_does_not_know_the_secret_is_refused_and_the_log_keeps_it(receiver, caplog, secret):
    pulls: list[int] = []
    post = receiver(pulls.append, quiet_s=0.01)
    with caplog.at_level(logging.DEBUG, logger="labeling.label_studio.webhook"):
        assert post(secret=secret) == 401
    time.sleep(0.1)
    assert pulls == []
    (line,) = [record.getMessage() for record in caplog.records if record.name == "labeling.label_studio.webhook"]
    assert line == f"refused a hint: the secret in X-ViTAU-Secret is {'wrong' if secret else 'missing'}"


@pytest.mark.parametrize(
    "said",
    [
        {"action": "TASKS_CREATED", "project": {"id": 7}},
        {"action": "ANNOTATION_CREATED"},
        {"action": "ANNOTATION_CREATED", "project": {"id": "7"}},
        {"action": ["ANNOTATION_CREATED"], "project": {"id": 7}},
        ["ANNOTATION_CREATED"],
        7,
    ],
)
def test_other_news_is_accepted_and_ignored(receiver, said):
    pulls: list[int] = []
    post = receiver(pulls.append, quiet_s=0.01)
    assert post(said) == 202
    time.sleep(0.2)
    assert pulls == []


def test_what_is_too_large_or_no_json_is_refused(receiver, caplog):
    pulls: list[int] = []
    post = receiver(pulls.append, quiet_s=0.01)
    assert post(content=b"{" + b" " * MAX_BODY) == 413
    assert post(content=b"\xff{") == 400
    assert post(content=b"") == 400
    assert pulls == []
    assert [record.getMessage() for record in caplog.records if record.name == "labeling.label_studio.webhook"] == [
        "refused a hint of more than 1048576 bytes",
        "refused a hint that is not JSON",
        "refused a hint that is not JSON",
    ]


def test_without_a_secret_it_does_not_start():
    with pytest.raises(LabelingError) as caught:
        make_app("", print)
    assert str(caught.value) == "the receiver has no secret and would believe anybody; set VITAU_WEBHOOK_SECRET"
