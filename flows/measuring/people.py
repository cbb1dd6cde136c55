"""The measures of people, from the tables that the ingest wrote beside the frames of their clips."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flows.execution.clip_worker import frames_version
from flows.workspace import Workspace
from vitau.data import layout
from vitau.errors import ChecksumError, ObjectNotFoundError
from vitau.measures.analysis import Analysis, analyze
from vitau.measures.results import Series
from vitau.measures.stored import join_series, measures_version, read_measures
from vitau.schema import Clip, Visit, group_visits
from vitau.store import Store

NO_FACE: Final = "no frame of its clips shows a face"
NOT_MEASURED: Final = "its clips were ingested before measures were stored: run `python -m flows measures`"

_SHOWN: Final = 12  # characters of a clip's digest


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VisitMeasures:
    """The measures of one person at one visit; ``analysis`` is ``None`` if no clip of it was measured or none shows a face."""

    visit: Visit
    analysis: Analysis | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PersonMeasures:
    """The measures of one person: ``analysis`` of all clips together, and that of each visit in the order of time.

    ``analysis`` is ``None`` if no clip was measured or none shows a face. ``num_unmeasured`` counts the clips that were
    ingested before measures were stored. ``damaged`` has the keys of the damaged objects, which are left out.
    """

    subject: str
    visits: tuple[VisitMeasures, ...]
    analysis: Analysis | None
    num_clips: int
    num_unmeasured: int
    damaged: tuple[str, ...] = ()

    @property
    def reason(self) -> str | None:
        """The reason why there is no analysis; ``None`` if there is one."""
        if self.analysis is not None:
            return None
        if self.damaged:
            return self._broken()
        return NOT_MEASURED if self.num_unmeasured else NO_FACE

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the clips that are left out."""
        without = f"{self.num_unmeasured} of {self.num_clips} clips {_have(self.num_unmeasured)} no measures."
        broken = (f"T{self._broken()[1:]}.",) if self.damaged else ()
        return (*((without,) if self.num_unmeasured else ()), *broken)

    def _broken(self) -> str:
        clips = ", ".join(sorted(layout.parse_measures_key(key)[:_SHOWN] for key in self.damaged))
        return f"the measures of clip {clips} are damaged: run `python -m flows fsck`"


def people_measures(workspace: Workspace, subjects: Collection[str] | None = None) -> dict[str, PersonMeasures]:
    """Return the measures of people by pseudonym, sorted by it; nobody who withdrew the consent is among them.

    Args:
        workspace: the rows and the objects.
        subjects: whose measures; by default everybody's.

    Raises:
        StoreError: an object cannot be read.
    """
    keys = measure_keys(workspace)
    clips = measured_clips(workspace, keys, subjects)
    return {subject: read_person(workspace.store, subject, own, keys) for subject, own in clips.items()}


def measured_clips(
    workspace: Workspace, keys: Mapping[str, str], subjects: Collection[str] | None = None
) -> dict[str, list[Clip]]:
    """Return the clips of people with a key of measures, by pseudonym and sorted by it; by default everybody's."""
    clips: dict[str, list[Clip]] = defaultdict(list)
    for clip in workspace.catalog.clips():
        if clip.sha256 in keys and (subjects is None or clip.subject in subjects):
            clips[clip.subject].append(clip)
    return dict(sorted(clips.items()))


def measure_keys(workspace: Workspace) -> dict[str, str]:
    """Return the digest of each clip in use → the key of its measures, whether that object exists or not."""
    tables = workspace.catalog.frame_tables(frames_version())
    return {table.clip: layout.measures_key(table.key, measures_version()) for table in tables}


def read_person(store: Store, subject: str, clips: Sequence[Clip], keys: Mapping[str, str]) -> PersonMeasures:
    """Read the measures of a person's clips, and analyze them together and by visit; damaged objects are named and left out.

    Args:
        store: the objects.
        subject: the pseudonym.
        clips: of the person.
        keys: digest of a clip → the key of its measures.

    Raises:
        StoreError: the store cannot be reached.
    """
    series: dict[str, Series] = {}
    damaged: list[str] = []
    num_unmeasured = 0
    for clip in clips:
        try:
            found = read_measures(store, keys[clip.sha256])
        except ObjectNotFoundError:
            num_unmeasured += 1
            continue
        except ChecksumError:
            damaged.append(keys[clip.sha256])
            continue
        if found is not None:
            series[clip.sha256] = found
    visits = tuple(
        VisitMeasures(
            visit=visit,
            analysis=_analyze(subject, [series[clip] for clip in visit.clips if clip in series]),
        )
        for visit in group_visits(clips)
    )
    together = visits[0].analysis if len(visits) == 1 else _analyze(subject, list(series.values()))
    return PersonMeasures(
        subject=subject,
        visits=visits,
        analysis=together,
        num_clips=len(clips),
        num_unmeasured=num_unmeasured,
        damaged=tuple(damaged),
    )


def _analyze(subject: str, series: Sequence[Series]) -> Analysis | None:
    return analyze(join_series(subject, series)) if series else None


def _have(count: int) -> str:
    return "has" if count == 1 else "have"
