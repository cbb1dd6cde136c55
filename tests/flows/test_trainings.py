import pytest

from flows.trainings import run_training, shown
from vitau.errors import TrainingError


def test_what_a_failing_training_said_last_is_the_reason():
    heard = []
    with pytest.raises(TrainingError) as caught:
        run_training(
            "x", ["--recipe", "tiny-palsy", "--store", "/nowhere", "--snapshot", "none"], lambda *said: heard.append(said)
        )
    assert str(caught.value).startswith("x ended with exit code ")
    assert heard[-1][0] == "x"


def test_off_a_terminal_every_line_is_told_with_the_name_of_its_training(capsys):
    with shown() as listener:
        listener("training tiny-palsy", "epoch 1/4: loss 0.5")
    assert capsys.readouterr().err == "training tiny-palsy: epoch 1/4: loss 0.5\n"
