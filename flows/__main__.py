"""``python -m flows``: the operator's commands."""

from flows.cli.app import app

if __name__ == "__main__":
    app(prog_name="python -m flows")
