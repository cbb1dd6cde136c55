"""Rounds of the annotate flow whenever Label Studio hints at an answer, and every so often in any case.

After each, and again when the readers paused, somebody must see whether it is time to train: this does too.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from flows.settings import Settings
from flows.workspace import Workspace
from labeling.label_studio.webhook import make_app
from vitau.errors import LabelingError, VitauError

Tell = Callable[[str], None]
_LATER_S: Final = 1.0  # the pause begins with the last answer, which was given before it was pulled


def receive(settings: Settings, *, host: str, port: int, every_s: float, tell: Tell) -> None:
    """Listen for hints at ``host``:``port`` until stopped, and run a round every ``every_s`` seconds too.

    Raises:
        LabelingError: there is no secret.
    """
    import uvicorn

    if settings.webhook_secret is None:
        raise LabelingError("the webhook server has no secret and would accept any request; set VITAU_WEBHOOK_SECRET")
    rounds = Rounds(Workspace(settings), tell)
    app = make_app(settings.webhook_secret.get_secret_value(), rounds.pull)
    with rounds.every(every_s):
        tell(f"Listening on http://{host}:{port}/webhook; Ctrl-C ends")
        uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False)


class Rounds:
    """Runs the annotate flow, one round at a time; what goes wrong in one is told, and the next makes it good."""

    def __init__(self, workspace: Workspace, tell: Tell) -> None:
        self._workspace, self._tell = workspace, tell
        self._one_at_a_time, self._over = threading.Lock(), threading.Event()
        self._pause: threading.Timer | None = None

    def pull(self, project: int | None = None) -> None:
        """Run a round; of one project of Label Studio only, if its number is given."""
        from flows.annotate import annotate

        with self._one_at_a_time:
            try:
                summary = annotate(only=project, settings=self._workspace.settings)
            except (VitauError, ValueError) as error:
                self._tell(f"Error: {error}")
                return
        what = "everything" if project is None else f"project {project}"
        self._tell(f"pulled {what}: {summary.new_answers} new answers, {summary.labeled} people labelled")
        for notice in summary.notices:
            self._tell(notice)
        if summary.new_answers:
            self._look_again(self._workspace.settings.retrain_quiet_s + _LATER_S)
        self.look()

    def look(self) -> None:
        """Ask for a retraining if enough labels changed and the readers paused."""
        from flows.promotion.retrain_trigger import retrain_if_due

        with self._one_at_a_time:
            try:
                run = retrain_if_due(self._workspace)
            except (VitauError, ValueError) as error:
                self._tell(f"Error: {error}")
                return
        if run is not None:
            self._tell(f"enough labels changed: retraining {run}")

    def _look_again(self, seconds: float) -> None:
        """Look when the readers have paused; later, if they answer meanwhile."""
        if self._pause is not None:
            self._pause.cancel()
        self._pause = threading.Timer(seconds, self.look)
        self._pause.daemon = True
        self._pause.start()

    @contextmanager
    def every(self, seconds: float) -> Iterator[None]:
        """Run a round now and every so many seconds, beside whatever is done inside."""
        thread = threading.Thread(target=self._poll, args=(seconds,), name="poll", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            if self._pause is not None:
                self._pause.cancel()
            thread.join()

    def _poll(self, seconds: float) -> None:
        while True:
            self.pull()
            if self._over.wait(seconds):
                return
