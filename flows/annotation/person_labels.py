"""The label of a person, where several visits have one: that of the earliest labeled visit.

Models and their evaluation have one truth per person, and people weigh equally. Frames of another visit count where its label
is the same; those of a visit with another label, such as after a recovery, are left out and counted.
"""

from collections.abc import Iterable

from flows.workspace import Workspace
from vitau.schema import RegionLabels, case_name, cases_of


def first_labels(workspace: Workspace, labels: Iterable[RegionLabels]) -> dict[str, RegionLabels]:
    """Return the label of each person at the earliest labeled visit; person → label."""
    by_case = _by_case(workspace, labels)
    people = {label.subject for label in by_case.values()}
    order = cases_of(workspace.catalog.clips())
    found = {person: [by_case[case] for case in order.get(person, ()) if case in by_case] for person in people}
    others = {label.subject: label for label in by_case.values()}  # of people without clips
    return {person: own[0] if own else others[person] for person, own in sorted(found.items())}


def clips_with_label(workspace: Workspace, labels: Iterable[RegionLabels]) -> tuple[set[str], set[str]]:
    """Return the clips of the visits whose label is that of the person, and the cases whose label is another one."""
    by_case = _by_case(workspace, labels)
    first = first_labels(workspace, by_case.values())
    other = {case for case, label in by_case.items() if not _same(label, first[label.subject])}
    clips = {
        clip.sha256
        for clip in workspace.catalog.clips()
        if (case := case_name(clip.subject, clip.visit)) in by_case and case not in other
    }
    return clips, other


def _by_case(workspace: Workspace, labels: Iterable[RegionLabels]) -> dict[str, RegionLabels]:
    """Return labels by case; one of a visit that no clip states, as of before visits, is about the person's earliest visit."""
    order = cases_of(workspace.catalog.clips())
    found: dict[str, RegionLabels] = {}
    for label in labels:
        own = order.get(label.subject, ())
        found.setdefault(label.case if label.case in own or not own else own[0], label)
    return found


def _same(one: RegionLabels, other: RegionLabels) -> bool:
    return (one.affected, one.side) == (other.affected, other.side)
