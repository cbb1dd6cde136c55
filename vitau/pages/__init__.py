"""HTML pages: the Jinja environment that they share."""

import base64
from pathlib import Path

import jinja2


def page_environment(*folders: Path) -> jinja2.Environment:
    """Return an environment that reads templates from ``folders`` and from this package, where ``base.html.j2`` is.

    Every page extends the base template, so that it is one file that loads nothing: styles are inside, pictures are data URIs,
    and its content security policy forbids the rest. Values are escaped, and an undefined name is an error.
    """
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.FileSystemLoader(folders), jinja2.PackageLoader("vitau.pages", ".")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_uri(jpeg: bytes) -> str:
    """Return a JPEG as a data URI."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
