"""What ViTAU raises on purpose.

``ValueError`` is a bad argument, a :class:`VitauError` is a bad world, ``assert`` is our own mistake. Every message is one
sentence that names the thing, its value and the way out; the commands print it and exit with 1.
"""


class VitauError(Exception):
    """The world is not as it must be; the message says what to do about it."""


class SourceError(VitauError):
    """A source of clips cannot be read as a whole: a manifest without its columns, a tree without subjects."""


class ClipError(VitauError):
    """One clip cannot be used: missing, empty, not a video, truncated, unreachable. The rest of its batch goes on."""


class StoreError(VitauError):
    """An object cannot be read or written."""


class ObjectNotFoundError(StoreError, KeyError):
    """No object under this key."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0])


class ChecksumError(StoreError):
    """The bytes of an object are not the bytes that were written."""


class CatalogError(VitauError):
    """The catalog cannot be reached or refuses a row."""


class ContradictionError(CatalogError):
    """Two facts that cannot both hold: one clip under two subjects, two answers for one subject and AU."""


class GateError(VitauError):
    """A table does not pass its validation gate."""


class LabelingError(VitauError):
    """Label Studio cannot be used: not reachable, a wrong token, a project whose configuration was changed by hand."""


class SnapshotError(VitauError):
    """A data set version cannot be frozen, or what is stored is not what was frozen."""


class TrainingError(VitauError):
    """A training cannot start or go on."""


class CheckpointError(VitauError):
    """Weights do not fit the model that they are loaded into."""


class RegistryError(VitauError):
    """No such model, version or alias, or the registry cannot be reached."""


class StackError(VitauError):
    """A service cannot be started, does not answer, or its port is taken."""


class BenchError(VitauError):
    """A bench cannot run here: what it compares with is not installed."""


class EngineError(VitauError):
    """Work cannot be spread as asked: Ray is not installed, or its cluster cannot be reached."""
