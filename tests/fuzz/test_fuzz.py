"""A short run of every fuzzer, and the inputs that once failed."""

import logging
import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.fuzz.containers import EBML, structure_of
from tests.fuzz.engine import CPU_S, Target, run_input
from tests.fuzz.media import image_seeds, video_seeds
from tests.fuzz.mutations import mutate, mutate_json, mutate_rows
from tests.fuzz.run import Result, fuzz, make_input, regressions
from tests.fuzz.targets import TARGETS
from vitau.errors import SourceError

SEED = 20261129
TEXT, MEDIA = 300, 40


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_crashes_or_hangs_a_reader(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    kept = [(path.name, path.read_bytes()) for path in regressions(target)]
    numbers = range(MEDIA if target.media else TEXT)
    inputs = ((f"input {number}", make_input(target, SEED, number)) for number in numbers)
    outcomes = {what: run_input(target, data, tmp_path) for what, data in (*kept, *inputs)}
    assert {what: outcome for what, outcome in outcomes.items() if outcome.failed} == {}
    kinds = {outcome.kind for outcome in outcomes.values()}
    assert kinds >= {"accepted"} or name == "playlist", "no input was accepted: the mutations start from what is refused"


def failing(data: bytes, _: Path) -> Iterable[str]:
    match data:
        case b"refused":
            raise SourceError("the table has no column subject; add it")
        case b"identity":
            raise SourceError("the table of Mustermann has no column subject; add it")
        case b"logged":
            logging.getLogger("a reader").warning("refused a table of %s", "Mustermann")
        case b"skipped":
            return ["row 1: its cohort is\nwrong"]
        case b"key":
            raise KeyError(data)
        case b"endless":
            while True:
                pass
    return ["row 1: its cohort is neither palsy nor control; write one of them"]


def test_the_fuzzer_sees_exceptions_hangs_and_sentences_that_people_should_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CPU_S, False, 0.2)
    target = Target(name="failing", seeds=lambda: [b"a"], run=failing, mutate=mutate)
    outcomes = {}
    for data in (b"refused", b"identity", b"logged", b"skipped", b"key", b"endless", b"fine"):
        outcome = run_input(target, data, tmp_path)
        outcomes[data.decode()] = f"{outcome.kind}: {outcome.cause}".rstrip("0123456789 :")
    assert outcomes == {
        "refused": "refused: test_fuzz.py",
        "identity": "crash: an identity in a message at test_fuzz.py",
        "logged": "crash: an identity in a message",
        "skipped": "crash: a message with control characters",
        "key": "crash: KeyError at test_fuzz.py",
        "endless": "hang: more than 0.2 s",
        "fine": "accepted: row N: its cohort is neither palsy nor control; write one of them",
    }


def test_a_run_that_is_stopped_and_continued_counts_as_one_run() -> None:
    whole, stopped = Result(target="csv"), Result(target="csv")
    for number, result in ((40, stopped), (120, stopped), (120, whole)):
        for _ in fuzz(TARGETS["csv"], number, SEED, result):
            pass
    counts = [(result.inputs, result.accepted, result.refused, result.next, set(result.ways)) for result in (whole, stopped)]
    assert counts[0] == counts[1]
    assert whole.inputs == 120 + len(regressions(TARGETS["csv"]))


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_can_be_repeated(name: str) -> None:
    target = TARGETS[name]
    assert make_input(target, 1, 7) == make_input(target, 1, 7) != make_input(target, 1, 8)


def test_mutations_of_json_are_json_and_those_of_tables_keep_most_headers() -> None:
    for number in range(200):
        mutate_json(random.Random(number), [b'{"a": [1, {"b": null}]}'])
    tables = [mutate_rows(random.Random(number), [b"a,b\r\n1,2\r\n"]) for number in range(200)]
    assert sum(table.replace(b'"', b"").startswith(b"a,b") for table in tables) > 100
    assert len({mutate(random.Random(number), [b"abcdef"]) for number in range(50)}) > 30


def test_the_parts_of_a_recording_are_put_together_again_with_their_lengths_and_checksums() -> None:
    seeds = [*image_seeds(), *video_seeds()]
    structured = [(seed, found) for seed in seeds if (found := structure_of(seed))]
    assert len(structured) > len(seeds) / 2
    for seed, found in structured:
        nodes = found.parse(seed)
        assert len(nodes) > 0
        again = found.build(nodes)
        assert found.parse(again) == nodes
        assert len(again) == len(seed) or found is EBML, "EBML's lengths are written with eight bytes"
