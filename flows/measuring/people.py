"""The measures of people, from the tables that the ingest wrote beside the frames of their clips."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from flows.execution.clip_worker import frames_version
from flows.workspace import Workspace
from vitau.data import layout
from vitau.errors import ChecksumError, ObjectNotFoundError
from vitau.measures.analysis import Analysis, analyze
from vitau.measures.results import Series
from vitau.measures.stored import join_series, measures_version, read_measures
from vitau.store import Store

NO_FACE: Final = "no frame of its clips shows a face"
NOT_MEASURED: Final = "its clips were ingested before measures were stored: run `python -m flows measures`"
DAMAGED: Final = "the measures of its clips are damaged: run `python -m flows fsck`"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PersonMeasures:
    """The measures of one person, from all clips together.

    ``analysis`` is ``None`` if no clip was measured or none shows a face. ``num_unmeasured`` counts the clips that were
    ingested before measures were stored. ``damaged`` has the keys of the damaged objects, which are left out.
    """

    subject: str
    analysis: Analysis | None
    num_clips: int
    num_unmeasured: int
    damaged: tuple[str, ...] = ()

    @property
    def reason(self) -> str | None:
        """Why there is no analysis; ``None`` if there is one."""
        if self.analysis is not None:
            return None
        if self.damaged:
            return DAMAGED
        return NOT_MEASURED if self.num_unmeasured else NO_FACE

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the clips that are left out."""
        num_damaged = len(self.damaged)
        without = f"{self.num_unmeasured} of {self.num_clips} clips {_have(self.num_unmeasured)} no measures."
        broken = f"The measures of {num_damaged} of {self.num_clips} clips are damaged: run `python -m flows fsck`."
        return (*((without,) if self.num_unmeasured else ()), *((broken,) if num_damaged else ()))


def people_measures(workspace: Workspace, subjects: Collection[str] | None = None) -> dict[str, PersonMeasures]:
    """Return the measures of people by pseudonym, sorted by it; nobody who withdrew the consent is among them.

    Args:
        workspace: the rows and the objects.
        subjects: whose measures; by default everybody's.
    """
    keys = measure_keys(workspace, subjects)
    return {subject: read_person(workspace.store, subject, keys[subject]) for subject in sorted(keys)}


def measure_keys(workspace: Workspace, subjects: Collection[str] | None = None) -> Mapping[str, list[str]]:
    """Return the keys of the measures of all present clips by pseudonym, whether these objects exist or not."""
    catalog = workspace.catalog
    owners = {clip.sha256: clip.subject for clip in catalog.clips()}
    keys: dict[str, list[str]] = defaultdict(list)
    for table in catalog.frame_tables(frames_version()):
        subject = owners.get(table.clip)
        if subject is not None and (subjects is None or subject in subjects):
            keys[subject].append(layout.measures_key(table.key, measures_version()))
    return keys


def read_person(store: Store, subject: str, keys: Iterable[str]) -> PersonMeasures:
    """Read the measures of a person's clips and analyze them together; damaged objects are named and left out.

    Raises:
        StoreError: the store cannot be reached.
    """
    found: list[Series] = []
    damaged: list[str] = []
    num_clips = num_unmeasured = 0
    for key in keys:
        num_clips += 1
        try:
            series = read_measures(store, key)
        except ObjectNotFoundError:
            num_unmeasured += 1
            continue
        except ChecksumError:
            damaged.append(key)
            continue
        if series is not None:
            found.append(series)
    analysis = analyze(join_series(subject, found)) if found else None
    return PersonMeasures(
        subject=subject, analysis=analysis, num_clips=num_clips, num_unmeasured=num_unmeasured, damaged=tuple(damaged)
    )


def _have(count: int) -> str:
    return "has" if count == 1 else "have"
