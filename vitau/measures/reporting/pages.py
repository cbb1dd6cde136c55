"""The templates of the pages of measures, with what all of them need."""

import datetime as dt
from importlib.metadata import version
from pathlib import Path

from vitau.measures.reporting import words
from vitau.measures.results import TASK_WORDS
from vitau.pages import data_uri, page_environment
from vitau.schema import REASON_WORDS


def render_page(template: str, **values: object) -> str:
    """Render a template of this folder as a self-contained page."""
    environment = page_environment(Path(__file__).parent)
    environment.filters.update(
        number=words.number, signed=words.signed, percent=words.percent, words=words.measure_words, data_uri=data_uri
    )
    return environment.get_template(template).render(
        synthetic=False,
        statement=words.STATEMENT,
        task_words=TASK_WORDS,
        reason_words=REASON_WORDS,
        span=words.span,
        exceeds=words.exceeds,
        date=dt.datetime.now(tz=dt.UTC).date().isoformat(),
        version=version("vitau"),
        **values,
    )
