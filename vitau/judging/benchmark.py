"""The benchmark: fixed drawn people in three styles and three difficulties, judged one by one; what is judged is kept."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import vitau.media
from vitau.errors import VitauError
from vitau.judging.difficulties import DIFFICULTIES, FRAMES_PER_TASK, Case, truth_of, write_case
from vitau.judging.judges import ASYMMETRY, AsymmetryJudge, Judge, ModelJudge, MovementJudge, Outcome, package_digest
from vitau.media.synthetic.values import Style
from vitau.processes import parallel_map, single_threaded, temporary_folder
from vitau.store.atomic import make_private_folders, remove_partials, write_atomic

CLAIM: Final = "people.json"
VERDICTS: Final = "verdicts"
SECONDS_PER_CLIP: Final = 4.0
"""Processor time of one clip of 14 frames on a core of 2026: it is drawn in 1 s, and judged without a model in 3 s."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """A judge before it is loaded: without a folder one of those that come with the package, by its name, else a model."""

    name: str
    folder: Path | None = None

    def load(self) -> Judge:
        """Load the judge."""
        if self.folder is not None:
            return ModelJudge(self.folder, self.name, analyze_all=True)
        return AsymmetryJudge() if self.name == ASYMMETRY else MovementJudge()


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A contestant's verdict on a case, with the truth."""

    case: Case
    outcome: Outcome
    score: float | None
    side: str | None
    regions: dict[str, float]
    palsied: bool
    true_side: str | None
    affected: tuple[str, ...]


def cases(num_people: int) -> list[Case]:
    """Return the cases of the first people, each in every style.

    Raises:
        ValueError: no or odd people, so that palsied ones and others would not be equally many.
    """
    if num_people < 2 or num_people % 2:
        raise ValueError(f"{num_people} people are no benchmark; give an even number from 2, half of them have a palsy")
    return [Case(index=index, style=style) for index in range(num_people) for style in Style]


def run(
    out: Path,
    contestants: Sequence[Contestant],
    num_people: int,
    *,
    num_processes: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> dict[str, list[Judged]]:
    """Judge all cases by all contestants; verdicts that are in the folder are only read.

    Args:
        out: folder of the verdicts; a larger number of people extends it.
        contestants: with names that differ.
        num_people: even.
        num_processes: by default one per core.
        progress: called with the number of judged clips and of all.

    Raises:
        VitauError: the folder holds verdicts on other drawings.
    """
    wanted = cases(num_people)
    make_private_folders(out)
    _claim(out)
    folders = {contestant.name: _folder(out, contestant) for contestant in contestants}
    for folder in folders.values():
        make_private_folders(folder)
        remove_partials(folder)
    missing = [case for case in wanted if not all((folder / f"{case.name}.json").exists() for folder in folders.values())]
    progress(len(wanted) - len(missing), len(wanted))
    work = partial(_judge, out=out, contestants=tuple(contestants), folders=tuple(folders.values()))
    done = parallel_map(work, missing, min(num_processes or _cores(), len(missing)) if missing else 1)
    for count, _ in enumerate(done, start=len(wanted) - len(missing) + 1):
        progress(count, len(wanted))
    return {name: [_read(folder / f"{case.name}.json", case) for case in wanted] for name, folder in folders.items()}


def num_missing(out: Path, contestants: Sequence[Contestant], num_people: int) -> int:
    """Return the number of clips that are not judged by all contestants yet."""
    folders = [_folder(out, contestant) for contestant in contestants]
    return sum(not all((folder / f"{case.name}.json").exists() for folder in folders) for case in cases(num_people))


def expected_minutes(num_clips: int, num_models: int, num_processes: int | None = None) -> float:
    """Return about how long clips take."""
    return num_clips * (SECONDS_PER_CLIP + num_models) / (num_processes or _cores()) / 60


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0))


def definition() -> dict[str, Any]:
    """Return what decides about the drawn clips; verdicts on other clips are not comparable."""
    drawing = package_digest(str(Path(vitau.media.__path__[0]) / "synthetic"))
    return {"drawing": drawing, "frames_per_task": FRAMES_PER_TASK, "difficulties": [asdict(one) for one in DIFFICULTIES]}


def _claim(out: Path) -> None:
    claim, wanted = out / CLAIM, json.loads(json.dumps(definition()))
    if not claim.exists():
        write_atomic(claim, json.dumps(wanted, indent=1) + "\n")
    if json.loads(claim.read_text(encoding="utf-8")) != wanted:
        raise VitauError(f"{out} holds verdicts on other drawings than this version draws; give another --out")


def _folder(out: Path, contestant: Contestant) -> Path:
    """Return the folder of a contestant's verdicts; another version of it gets another folder."""
    name = "".join(letter if letter.isalnum() else "-" for letter in contestant.name)[:40]
    return out / VERDICTS / f"{name}-{_digest(contestant)[:16]}"


@cache
def _loaded(contestant: Contestant) -> Judge:
    return contestant.load()


@cache
def _digest(contestant: Contestant) -> str:
    return sha256(f"{_loaded(contestant).digest} {contestant.name}".encode()).hexdigest()


def _judge(case: Case, *, out: Path, contestants: tuple[Contestant, ...], folders: tuple[Path, ...]) -> None:
    """Draw a clip, and write the verdict of each contestant that has not judged it."""
    with single_threaded(), temporary_folder(out / "clips") as scratch:
        clip = scratch / "clip.mp4"
        person = write_case(case, clip)
        for contestant, folder in zip(contestants, folders, strict=True):
            path = folder / f"{case.name}.json"
            if path.exists():
                continue
            verdict = _loaded(contestant).judge(clip)[0]
            found = {name: getattr(verdict, name) for name in ("outcome", "score", "side", "side_probability", "reason")}
            write_atomic(path, json.dumps({**found, "regions": dict(verdict.regions), "truth": truth_of(person)}) + "\n")


def _read(path: Path, case: Case) -> Judged:
    found = json.loads(path.read_text(encoding="utf-8"))
    truth = found["truth"]
    return Judged(
        case=case,
        outcome=Outcome(found["outcome"]),
        score=found["score"],
        side=found["side"],
        regions=found["regions"],
        palsied=truth["palsied"],
        true_side=truth["side"],
        affected=tuple(truth["affected"]),
    )


def describe(contestants: Iterable[Contestant]) -> Iterator[tuple[str, str, float]]:
    """Yield name, description and threshold of each contestant."""
    for contestant in contestants:
        judge = _loaded(contestant)
        yield contestant.name, judge.about, judge.threshold
