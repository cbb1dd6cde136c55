import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from vitau.baselines.fitting import FrameMethod, Settings, draw_items, seeded, select, train_network
from vitau.baselines.method import Budget
from vitau.errors import TrainingError


def _flat(budget, image_px):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * image_px**2, 2))


def _objective(network, batch):
    return functional.cross_entropy(network(batch.crop_BCHW), batch.palsied_B.long())


def _read(network, batch):
    return network(batch.crop_BCHW).softmax(1)[:, 1]


LINEAR = FrameMethod(
    name="linear",
    title="Linear",
    task="palsy",
    image_px=24,
    build=_flat,
    objective=_objective,
    read=_read,
    settings=Settings(lr=3e-3),
)


class _Numbers:
    """Items whose batch is their numbers."""

    def __init__(self, subjects):
        self.subjects, self.seen = np.asarray(subjects), []

    def batch(self, item_B):
        self.seen.append(item_B)
        return torch.from_numpy(item_B)


def test_every_person_gives_the_same_number_of_items_however_many_it_has():
    subjects = np.array(["a"] * 50 + ["b"] * 3 + ["c"])
    drawn = draw_items(subjects, 4, np.random.default_rng(0))
    names, counts = np.unique(subjects[drawn], return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {"a": 4, "b": 4, "c": 4}
    assert len(set(drawn[subjects[drawn] == "a"])) == 4
    assert set(drawn[subjects[drawn] == "b"]) == {50, 51, 52}  # all its frames before one again


def test_the_epoch_that_is_best_on_the_validation_people_is_kept():
    network = nn.Linear(1, 1, bias=False)
    values, weights = iter([0.1, 0.7, 0.7, 0.2]), []

    def selection():
        weights.append(network.weight.item())
        assert not network.training
        return next(values)

    budget = Budget(epochs=4, batch_size=2, frames_per_person=2)
    history = train_network(
        network, lambda net, _: net.weight.sum(), _Numbers("aabb"), selection, budget, Settings(lr=0.1), seed=0
    )
    assert history.best == 1
    assert history.selections == (0.1, 0.7, 0.7, 0.2)
    assert network.weight.item() == weights[1] != weights[2]


def test_without_validation_people_the_last_epoch_is_kept():
    network, items = nn.Linear(1, 1), _Numbers("ab")
    history = train_network(network, lambda net, _: net.weight.sum(), items, lambda: None, Budget(epochs=3), Settings(), seed=0)
    assert history.best == 2


def test_the_cosine_falls_and_a_constant_rate_does_not():
    def path(schedule):
        network, steps = nn.Linear(1, 1, bias=False), []

        def objective(net, _):
            steps.append(net.weight.item())
            return net.weight.sum()

        settings = Settings(lr=1.0, weight_decay=0.0, optimizer="sgd", schedule=schedule, grad_clip=None)
        train_network(network, objective, _Numbers("a"), lambda: None, Budget(epochs=2, frames_per_person=1), settings, seed=0)
        return steps[1] - steps[0], network.weight.item() - steps[1]

    assert path("constant") == pytest.approx((-1.0, -1.9))  # a momentum of 0.9
    assert path("cosine") == pytest.approx((-1.0, -0.5 * 1.9))


def test_a_loss_that_is_not_finite_stops_the_training():
    with pytest.raises(TrainingError, match=r"^the loss is nan at step 1 \(epoch 1\): lower the learning rate of 0.0001$"):
        train_network(
            nn.Linear(1, 1),
            lambda net, _: net.weight.sum() * math.nan,
            _Numbers("a"),
            lambda: None,
            Budget(epochs=1),
            Settings(),
            seed=0,
        )


def test_selection_is_the_auroc_less_the_brier_score_of_people(eight_people):
    palsied = eight_people.palsied_N
    assert select(np.where(palsied, 0.9, 0.2).astype(np.float32), eight_people, "palsy") == pytest.approx(1 - (0.01 + 0.04) / 2)
    assert select(np.full(len(palsied), 0.5, np.float32), eight_people, "palsy") == pytest.approx(0.5 - 0.25)
    regions = eight_people.where(palsied)
    perfect = select(regions.affected_NA.astype(np.float32), regions, "regions")
    varied = np.array([len(set(column)) == 2 for column in regions.affected_NA.T.tolist()])
    assert perfect == pytest.approx(np.where(varied, 1.0, 0.5).mean())


def test_the_same_seed_gives_the_same_scores_and_another_one_others(eight_people, other_people):
    budget = Budget(epochs=2)
    fits = []
    for seed in (1, 1, 2):
        torch.rand(3)  # the state of torch before does not matter
        fits.append(LINEAR.fit(eight_people, other_people, budget, seed=seed))
    first, again, other = (fitted.predict(other_people) for fitted in fits)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert fits[0].num_parameters == 3 * 24**2 * 2 + 2


def test_training_leaves_the_random_state_of_torch(eight_people, other_people):
    before = torch.get_rng_state()
    LINEAR.fit(eight_people, other_people, Budget(epochs=1), seed=1)
    with seeded(3):
        torch.rand(1)
    assert torch.equal(torch.get_rng_state(), before)


def test_eight_people_are_learned(eight_people, other_people):
    fitted = LINEAR.fit(eight_people, eight_people, Budget(epochs=40), seed=0)
    assert select(fitted.predict(eight_people), eight_people, "palsy") > 0.9
    assert fitted.history.losses[-1] < 0.5 * fitted.history.losses[0]


def test_a_missing_class_is_refused(eight_people, other_people):
    controls = eight_people.where(~eight_people.palsied_N)
    with pytest.raises(TrainingError, match=r"^the training people are only controls, and recognition needs"):
        LINEAR.fit(controls, other_people, Budget(epochs=1), seed=0)
    with pytest.raises(TrainingError, match=r"^no palsied person of the training people has a label"):
        replace(LINEAR, task="regions").fit(controls, other_people, Budget(epochs=1), seed=0)


def test_region_methods_train_on_palsied_people_with_labels(eight_people, other_people):
    palsied = np.zeros(len(eight_people), bool)

    def objective(network, batch):
        assert batch.palsied_B.all()
        assert batch.known_BA.any(1).all()
        palsied[:] = True
        return network(batch.crop_BCHW).square().mean()

    method = replace(
        LINEAR,
        task="regions",
        objective=objective,
        read=lambda net, batch: net(batch.crop_BCHW).sigmoid().mean(1, keepdim=True).repeat(1, 8),
    )
    fitted = method.fit(eight_people, other_people, Budget(epochs=1), seed=0)
    assert palsied.all()
    assert fitted.predict(other_people).shape == (len(other_people), 8)


def test_a_budget_changes_the_rates_of_articles_and_not_ours():
    assert Settings(lr=1e-4).under(Budget(epochs=1, lr_factor=10.0)).lr == pytest.approx(1e-3)
    assert Settings(lr=1e-4, own_lr=True).under(Budget(epochs=1, lr_factor=10.0)).lr == 1e-4
