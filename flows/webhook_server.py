"""Webhook server: runs the annotate flow when Label Studio reports an answer, and at regular times in any case.

Webhooks are hints, and polling makes up for lost ones. After a round, and again when the readers have paused, the server checks
whether a retraining is due. The server also watches for runs whose worker died.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from flows.execution.orphaned_runs import watching
from flows.settings import Settings
from flows.workspace import Workspace
from labeling.label_studio.webhook import make_app
from vitau.errors import VitauError

Tell = Callable[[str], None]
_MARGIN_S: Final = 1.0  # the pause starts with the last answer, which was given before it was pulled


def serve(settings: Settings, *, host: str, port: int, every_s: float, tell: Tell) -> None:
    """Listen for webhooks at ``host``:``port`` until stopped, and run a round every ``every_s`` seconds.

    Raises:
        LabelingError: there is no secret.
    """
    import uvicorn

    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else ""
    rounds = Rounds(Workspace(settings), tell)
    app = make_app(secret, rounds.run)
    with rounds.polling(every_s), watching(tell):
        tell(f"Listening on http://{host}:{port}/webhook; Ctrl-C ends")
        uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False)


class Rounds:
    """Rounds of the annotate flow, one at a time. An error is printed, and the next round makes up for it."""

    def __init__(self, workspace: Workspace, tell: Tell) -> None:
        self._workspace, self._tell = workspace, tell
        self._one_at_a_time, self._stopping = threading.Lock(), threading.Event()
        self._delayed_check: threading.Timer | None = None

    def run(self, project: int | None = None) -> None:
        """Run a round for all projects of Label Studio, or for the one with this number."""
        from flows.annotate import annotate

        with self._one_at_a_time:
            try:
                summary = annotate(only=project, settings=self._workspace.settings)
            except (VitauError, ValueError) as error:
                self._tell(f"Error: {error}")
                return
        what = "everything" if project is None else f"project {project}"
        self._tell(f"pulled {what}: {summary.new_answers} new answers, {summary.labeled} people labeled")
        for notice in summary.notices:
            self._tell(notice)
        if summary.new_answers:
            self._check_later(self._workspace.settings.retrain_quiet_s + _MARGIN_S)
        self.check_retraining()

    def check_retraining(self) -> None:
        """Request a retraining if enough labels changed and the readers paused."""
        from flows.promotion.retrain_trigger import retrain_if_due

        with self._one_at_a_time:
            try:
                run = retrain_if_due(self._workspace)
            except (VitauError, ValueError) as error:
                self._tell(f"Error: {error}")
                return
        if run is not None:
            self._tell(f"enough labels changed: retraining {run}")

    def _check_later(self, delay_s: float) -> None:
        """Schedule a check for the end of the readers' pause; a later answer postpones it (debounce)."""
        if self._delayed_check is not None:
            self._delayed_check.cancel()
        self._delayed_check = threading.Timer(delay_s, self.check_retraining)
        self._delayed_check.daemon = True
        self._delayed_check.start()

    @contextmanager
    def polling(self, every_s: float) -> Iterator[None]:
        """Run a round at once and every ``every_s`` seconds, in a thread, until the ``with`` block ends."""
        thread = threading.Thread(target=self._poll, args=(every_s,), name="poll", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            if self._delayed_check is not None:
                self._delayed_check.cancel()
            thread.join()

    def _poll(self, every_s: float) -> None:
        while True:
            self.run()
            if self._stopping.wait(every_s):
                return
