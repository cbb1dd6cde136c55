"""A change of the pseudonym key: its workspace, keys, old and new names, and how old names are found in what is left."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from flows.erasure.traces import Traces
from flows.workspace import Workspace
from vitau.catalog.rekeying.journal import Rekeying
from vitau.catalog.rekeying.renaming import Renaming

_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{24,}")


@dataclass(frozen=True, kw_only=True)
class Change:
    """An unfinished change of the key. ``progress`` marks that its work makes progress."""

    workspace: Workspace
    entry: Rekeying
    new_key: bytes = field(repr=False)
    renaming: Renaming
    progress: Callable[[], None] = lambda: None

    @cached_property
    def old_names(self) -> "OldNames":
        """Every old name, to search for."""
        return OldNames(frozenset(self.renaming.names))


@dataclass(frozen=True)
class OldNames(Traces):
    """Traces of thousands of people: names are looked up in runs of digits, not one after the other."""

    @cached_property
    def _finder(self) -> Renaming:
        return Renaming({name: name for name in self.names})

    def in_text(self, text: str) -> bool:
        """Return whether a text has an old name."""
        return self._finder.has_old(text.encode("utf-8", "surrogatepass"))

    def in_raw(self, data: bytes) -> bool:
        """Return whether bytes have an old name, as text or in Base64."""
        return self._finder.has_old(data) or any(self._in_base64(run[0]) for run in _BASE64.finditer(data))

    def _in_base64(self, run: bytes) -> bool:
        for start in range(4):  # the run may begin with characters of something else
            code = run[start:].translate(_STANDARD)
            whole = code[:-1] if len(code) % 4 == 1 else code
            if self._finder.has_old(base64.b64decode(whole + b"=" * (-len(whole) % 4))):
                return True
        return False


_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
