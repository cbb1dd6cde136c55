from dataclasses import replace

import torch

from vitau.baselines.fitting import Settings
from vitau.baselines.recognition.clips.lstm import RecurrentReader, lstm


def test_the_logits_are_of_the_mean_state():
    reader = RecurrentReader(5, 4)
    feature = torch.randn(2, 3, 5)
    hidden, cell = torch.zeros(2, 4), torch.zeros(2, 4)
    states = []
    (weight_in, weight_state, bias_in, bias_state) = (
        value
        for _, value in sorted(reader.recurrent.named_parameters(), key=lambda item: ("weight" not in item[0], "hh" in item[0]))
    )
    for step in range(3):
        gates = feature[:, step] @ weight_in.T + hidden @ weight_state.T + bias_in + bias_state
        let_in, forget, value, out = gates.chunk(4, 1)
        cell = forget.sigmoid() * cell + let_in.sigmoid() * value.tanh()
        hidden = out.sigmoid() * cell.tanh()
        states.append(hidden)
    assert torch.allclose(reader(feature), reader.head(torch.stack(states).mean(0)), atol=1e-6)


def test_it_learns_eight_people(check_learning):
    method = replace(lstm(), settings=Settings(lr=2e-3), num_frames=4)
    check_learning(method, epochs=12, image_px=32, width=0.25)
