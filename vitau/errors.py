"""The exceptions of ViTAU, as a tree.

::

    Exception
    └── VitauError                       the state of the world does not permit the operation
        ├── SourceError                  a source of clips cannot be read
        ├── ClipError                    one clip cannot be used
        │   └── DecoderDiedError         the process that decoded it was killed, crashed, or hung
        ├── StoreError                   an object or a file cannot be read or written
        │   ├── ObjectNotFoundError      no object has this key; also a KeyError
        │   ├── ChecksumError            the bytes were changed
        │   └── ErasedError              the object is of an erased person
        ├── CatalogError                 the database cannot be reached, or refuses a row
        │   ├── ContradictionError       two facts exclude each other
        │   └── OvertakenError           another process was faster
        ├── LeaseLostError               another worker has taken the work over
        ├── GateError                    a table fails its validation
        ├── LabelingError                Label Studio cannot be used
        ├── SnapshotError                a data set cannot be frozen or read
        ├── TrainingError                a training cannot start or continue
        ├── CheckpointError              weights do not fit the model
        ├── RegistryError                a model, version or alias is missing
        ├── StackError                   a local service does not run
        ├── BenchError                   a benchmark cannot run here
        └── EngineError                  work cannot be distributed

A bad argument is a ``ValueError``, a mistake in ViTAU itself an ``assert``. The message of a VitauError is one sentence that
names the thing, its value and the remedy. Commands print it and exit with code 1. This module imports nothing.
"""

MAX_QUOTED = 100
"""Most characters of a foreign text in a message."""


def quoted(text: object, most: int = MAX_QUOTED) -> str:
    """Return a foreign text for a message: without control characters and line breaks, and not too long."""
    words = " ".join(str(text).split())
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in words)
    return printable if len(printable) <= most else f"{printable[:most]}…"


class VitauError(Exception):
    """The base class of all errors that ViTAU raises on purpose, except ValueError."""


class SourceError(VitauError):
    """A whole source of clips cannot be read: a manifest without its columns, a tree without subjects."""


class ClipError(VitauError):
    """One clip cannot be used: missing, empty, not a video, truncated, unreachable. The rest of its batch continues."""


class DecoderDiedError(ClipError):
    """The process that decoded a clip was killed, crashed, hung, or ran out of memory."""


class StoreError(VitauError):
    """An object or a file cannot be read or written."""


class ObjectNotFoundError(StoreError, KeyError):
    """No object has this key."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0])


class ChecksumError(StoreError):
    """The bytes of an object or a file differ from those that were written."""


class ErasedError(StoreError):
    """An object of an erased person was written; it is not kept."""


class CatalogError(VitauError):
    """The catalog cannot be reached or refuses a row."""


class ContradictionError(CatalogError):
    """Two facts exclude each other: one clip of two subjects, two answers for one visit and AU."""


class LeaseLostError(VitauError):
    """Another worker has taken this work over; this one writes nothing more."""


class OvertakenError(CatalogError):
    """Another process changed the state on which this one based its work: do the work again."""


class GateError(VitauError):
    """A table does not pass its validation gate."""


class LabelingError(VitauError):
    """Label Studio cannot be used: unreachable, a wrong token, a project with an edited configuration."""


class SnapshotError(VitauError):
    """A data set cannot be frozen, or a stored snapshot was changed."""


class TrainingError(VitauError):
    """A training cannot start or continue."""


class CheckpointError(VitauError):
    """Weights do not fit the model into which they are loaded."""


class RegistryError(VitauError):
    """A model, version or alias does not exist, or the registry cannot be reached."""


class StackError(VitauError):
    """A local service cannot start, does not answer, or its port is taken."""


class BenchError(VitauError):
    """A benchmark cannot run here, because the program to compare with is not installed."""


class EngineError(VitauError):
    """Work cannot be distributed: Ray is not installed, or its cluster cannot be reached."""
