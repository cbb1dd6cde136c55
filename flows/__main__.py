"""``python -m flows``: the operator's commands."""

from flows.cli.app import app
from vitau.collector import collect_seldom

if __name__ == "__main__":
    collect_seldom()
    app(prog_name="python -m flows")
