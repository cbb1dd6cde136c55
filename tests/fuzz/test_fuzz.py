"""A short run of every fuzzer, and the inputs that once failed."""

import random
from pathlib import Path

import pytest

from tests.fuzz.mutations import mutate, mutate_json
from tests.fuzz.run import regressions, run_input
from tests.fuzz.targets import TARGETS, Target
from vitau.errors import SourceError

TEXT, MEDIA = 400, 40


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_crashes_or_hangs_a_reader(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    kept = [(path.name, path.read_bytes()) for path in regressions(target)]
    inputs = [(f"input {number}", target.input(20261129, number)) for number in range(MEDIA if target.media else TEXT)]
    causes = {what: cause for what, data in [*kept, *inputs] if (cause := run_input(target, data, tmp_path)) != "refused"}
    assert not {what: cause for what, cause in causes.items() if cause is not None}
    assert causes or name == "playlist", "no input was accepted: the mutations start from something that is refused"


def test_the_fuzzer_sees_exceptions_deaths_and_hangs(tmp_path: Path) -> None:
    def failing(data: bytes, _: Path) -> None:
        if data == b"refused":
            raise SourceError("a sentence")
        raise KeyError(data)

    target = Target(name="failing", seeds=lambda: [b"a"], run=failing)
    assert run_input(target, b"refused", tmp_path) == "refused"
    assert str(run_input(target, b"b", tmp_path)).startswith("KeyError at test_fuzz.py:")


def test_inputs_can_be_repeated() -> None:
    target = TARGETS["manifest"]
    assert target.input(1, 7) == target.input(1, 7) != target.input(1, 8)


def test_mutations_of_json_are_json() -> None:
    for number in range(200):
        mutate_json(random.Random(number), [b'{"a": [1, {"b": null}]}'])
    assert len({mutate(random.Random(number), [b"abcdef"]) for number in range(50)}) > 30
