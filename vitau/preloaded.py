"""The first import of a server that forks workers: it imports the modules that :mod:`vitau.preloading` names.

An import of this module in any other process does nothing.
"""

import ctypes
import importlib
import os
import signal
from contextlib import suppress
from typing import Final

from vitau.collector import collector_paused
from vitau.preloading import PRELOAD

_PR_SET_PDEATHSIG: Final = 1


def _preload(names: str) -> None:
    """Import modules; the process ends with its parent, also in the middle of an import."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with collector_paused():  # it exempts the modules, of which a collection in a worker would copy every page
        for name in names.split(","):
            with suppress(Exception):  # the worker that needs it reports it
                importlib.import_module(name)


if modules := os.environ.pop(PRELOAD, ""):
    _preload(modules)
