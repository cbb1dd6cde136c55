"""The measures of people, from the tables that the ingest wrote beside the frames of their clips."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from flows.execution.clip_worker import frames_version
from flows.workspace import Workspace
from vitau.data import layout
from vitau.errors import ObjectNotFoundError
from vitau.measures.analysis import Analysis, analyze
from vitau.measures.results import Series
from vitau.measures.stored import join_series, measures_version, read_measures
from vitau.store import Store


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PersonMeasures:
    """The measures of one person, from all clips together.

    ``analysis`` is ``None`` if no clip was measured or none shows a face. ``num_unmeasured`` counts the clips that were
    ingested before measures were stored.
    """

    subject: str
    analysis: Analysis | None
    num_clips: int
    num_unmeasured: int


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
    """Read the measures of a person's clips and analyze them together.

    Raises:
        StoreError: an object cannot be read.
    """
    found: list[Series] = []
    num_clips = num_unmeasured = 0
    for key in keys:
        num_clips += 1
        try:
            series = read_measures(store, key)
        except ObjectNotFoundError:
            num_unmeasured += 1
            continue
        if series is not None:
            found.append(series)
    analysis = analyze(join_series(subject, found)) if found else None
    return PersonMeasures(subject=subject, analysis=analysis, num_clips=num_clips, num_unmeasured=num_unmeasured)
