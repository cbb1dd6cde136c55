"""False alarms on healthy faces: every file of a folder, judged by what is served, with what is not judged and why."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vitau.errors import ClipError
from vitau.judging.judges import JUDGED, Judge, Outcome, Verdict
from vitau.media.clips import kind_of
from vitau.media.inputs import list_files
from vitau.schema import safe_cell
from vitau.store.atomic import write_atomic

COLUMNS: Final = (*("file", "kind", "face", "judge", "outcome", "score", "alarm_from", "side", "side_probability", "reason"),)


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedFace:
    """A verdict of one judge on one face of a file, which is named by its path within the folder."""

    file: str
    kind: str
    judge: str
    threshold: float
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthyCheck:
    """All verdicts, in the order of files, and the number of files that are neither photos nor clips."""

    faces: tuple[CheckedFace, ...]
    num_ignored: int

    def count(self, judge: str) -> Counter[Outcome]:
        """Count the outcomes of a judge."""
        return Counter(face.verdict.outcome for face in self.faces if face.judge == judge)

    @property
    def num_alarms(self) -> int:
        """Number of false alarms of all judges."""
        return sum(face.verdict.outcome is Outcome.ALARM for face in self.faces)


def check_healthy(
    inputs: Sequence[Path],
    judges: Sequence[Judge],
    watch: Callable[[Iterable[Path], int], Iterable[Path]] = lambda paths, _: paths,
) -> HealthyCheck:
    """Judge the photos and clips of folders whose faces are all healthy.

    Raises:
        ClipError: there is nothing to judge.
    """
    paths, num_ignored = list_files(inputs)
    if not paths:
        raise ClipError(f"{', '.join(map(str, inputs))} contains neither photos nor clips; give a folder of healthy faces")
    faces = [
        CheckedFace(file=_name(path, inputs), kind=kind_of(path), judge=judge.name, threshold=judge.threshold, verdict=verdict)
        for path in watch(paths, len(paths))
        for judge in judges
        for verdict in judge.judge(path)
    ]
    return HealthyCheck(faces=tuple(faces), num_ignored=num_ignored)


def _name(path: Path, inputs: Sequence[Path]) -> str:
    folder = next((folder for folder in inputs if path.is_relative_to(folder) and path != folder), path.parent)
    return path.relative_to(folder).as_posix()


def write_check(checked: HealthyCheck, path: Path) -> None:
    """Write the verdicts as CSV, readable by the owner only: files are often named after people."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for face in checked.faces:
        own = face.verdict
        numbers = (_number(own.score), f"{face.threshold:.4g}", own.side or "", _number(own.side_probability), own.reason or "")
        writer.writerow([safe_cell(str(cell)) for cell in (face.file, face.kind, own.face, face.judge, own.outcome, *numbers)])
    write_atomic(path, text.getvalue())


def lines(checked: HealthyCheck) -> Iterator[str]:
    """Yield one line per face and judge: file, judge, outcome, and the score with its side, or the reason."""
    for face in checked.faces:
        own = face.verdict
        number = f" face {own.face}" if own.face > 1 else ""
        yield "\t".join([f"{face.file}{number}", face.judge, own.outcome, *_details(face)])


def _details(face: CheckedFace) -> Iterator[str]:
    own = face.verdict
    if own.score is not None:
        yield f"{own.score:.2f} (alarm from {face.threshold:.2f})"
    if own.side is not None and own.side_probability is not None:
        yield f"side: {own.side}, {own.side_probability:.0%}"
    if own.reason is not None:
        yield own.reason


def summary(checked: HealthyCheck, judges: Sequence[Judge]) -> Iterator[str]:
    """Yield one sentence per judge: false alarms among the judged faces, and what was not judged."""
    for judge in judges:
        found = checked.count(judge.name)
        judged = sum(found[outcome] for outcome in JUDGED)
        rest = [f"{found[outcome]} {outcome}" for outcome in Outcome if outcome not in JUDGED and found[outcome]]
        uncertain = f", {found[Outcome.UNCERTAIN]} uncertain" if found[Outcome.UNCERTAIN] else ""
        others = f"; not judged: {', '.join(rest)}" if rest else ""
        noun = "false alarm" if found[Outcome.ALARM] == 1 else "false alarms"
        yield f"{judge.name}: {found[Outcome.ALARM]} {noun} among {judged} judged faces{uncertain}{others}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
