import numpy as np
import pytest
import torch
from torch import nn

from vitau.baselines.fitting import FrameItems, Settings
from vitau.baselines.method import Budget
from vitau.baselines.recognition.clips.items import ClipItems, ClipMethod


class _Mean(nn.Module):
    """Two logits from the mean color of a window."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.seen = []

    def forward(self, batch):
        self.seen.append((len(batch.palsied_B), batch.num_frames))
        return self.head(batch.frames.crop_BCHW.mean((2, 3)).unflatten(0, (-1, batch.num_frames)).mean(1))


MEAN = ClipMethod(name="mean", title="Mean", image_px=8, build=lambda _b, _s: _Mean(), settings=Settings(lr=0.1), num_frames=3)


def test_a_batch_holds_its_windows_one_after_the_other(eight_people):
    items = ClipItems(eight_people, 8, "cpu", 3)
    assert len(items.subjects) == 8 * 3  # 7 frames: 0–2, 3–5, 4–6
    batch = items.batch(np.array([4, 0]))
    frames = FrameItems(eight_people, 8, "cpu").batch(np.array([10, 11, 12, 0, 1, 2]))
    assert torch.equal(batch.frames.crop_BCHW, frames.crop_BCHW)
    assert batch.palsied_B.tolist() == eight_people.palsied_N[[10, 0]].tolist()
    assert items.subjects[4] == eight_people.subject_N[10]


def test_a_step_has_as_many_windows_as_fit_in_the_batch_of_frames(eight_people, other_people):
    nobody = other_people.where(np.zeros(len(other_people), bool))
    fitted = MEAN.fit(eight_people, nobody, Budget(epochs=1, batch_size=12, frames_per_person=4), seed=0)
    # 4 frames are 2 windows of 3 for each of 8 people, in batches of 4 windows
    assert fitted.network.seen == [(4, 3)] * 4


def test_all_frames_of_a_recording_have_its_mean_score(eight_people, other_people):
    fitted = MEAN.fit(eight_people, other_people, Budget(epochs=1), seed=0)
    scores = fitted.predict(other_people)
    first = scores[other_people.subject_N == other_people.subject_N[0]]
    assert len(set(first.tolist())) == 1
    items = ClipItems(other_people, 8, "cpu", 3)
    with torch.no_grad():
        windows = fitted.network(items.batch(np.arange(3))).softmax(1)[:, 1]
    assert first[0] == pytest.approx(windows.mean().item())


def test_the_same_seed_gives_the_same_scores(eight_people, other_people):
    first, again, other = (
        MEAN.fit(eight_people, other_people, Budget(epochs=2), seed=seed).predict(other_people) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_it_learns_brightness(eight_people):
    pixels = eight_people.pixels(np.arange(len(eight_people))) // 4 + 120 * eight_people.palsied_N[:, None, None, None]
    bright = eight_people.with_pixels([pixels.astype(np.uint8)])
    fitted = MEAN.fit(bright, bright, Budget(epochs=30), seed=0)
    assert ((fitted.predict(bright) > 0.5) == bright.palsied_N).all()
    assert fitted.history.losses[-1] < fitted.history.losses[0]
