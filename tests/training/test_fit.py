"""The loop learns, keeps its best epoch, stops at a loss that is not finite, and resumes after a kill."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vitau.data.dataset import Crops
from vitau.errors import LeaseLostError, TrainingError
from vitau.models.vit import PalsyViT, ViTConfig, build_vit
from vitau.schema import Split
from vitau.store import open_store
from vitau.training.checkpoint import FILE, Checkpoint, Epoch, History, State
from vitau.training.config import TrainConfig
from vitau.training.fit import Observer, adamw, fit, learning_rate, train_step
from vitau.training.tasks import Batch, CropBatches, objective, validation

CPU = torch.device("cpu")
CONFIG = TrainConfig(epochs=4, batch_size=8, lr=1e-2, grad_clip=1.0, schedule="cosine")


class Killed(BaseException):
    """Interruption of the loop, as by a signal."""


def _vit() -> PalsyViT:
    torch.manual_seed(0)
    return build_vit(ViTConfig(input_size=16, patch_size=8, width=16, depth=1, heads=2, stem="conv", dropout=0.1))


def _fit(
    crops: Crops, folder: Path, config: TrainConfig = CONFIG, observer: Observer | None = None
) -> tuple[PalsyViT, History]:
    model = _vit()
    batches = CropBatches(crops.of(Split.TRAIN), config, 16, CPU)
    judge = validation("palsy", crops.of(Split.VAL), 16, CPU)
    checkpoint = Checkpoint(folder=folder, identity="one")
    return model, fit(model, objective("palsy", config), batches, judge, config, checkpoint, observer)


def _same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_loss_falls_and_validation_people_are_told_apart(few_crops: Crops, tmp_path: Path) -> None:
    model, history = _fit(few_crops, tmp_path)
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss * 0.8
    assert history.best is not None
    assert history.epochs[history.best].validation["auroc"] == 1.0
    assert not model.training


@pytest.mark.parametrize("killed_at", [1, 4, 5, 11])
def test_a_killed_training_ends_as_if_it_had_not_been(few_crops: Crops, tmp_path: Path, killed_at: int) -> None:
    def kill(step: int, _steps: int, _loss: float) -> None:
        if step == killed_at:
            raise Killed

    whole, told = _fit(few_crops, tmp_path / "whole")
    with pytest.raises(Killed):
        _fit(few_crops, tmp_path / "killed", observer=Observer(batch=kill))
    resumed, told_again = _fit(few_crops, tmp_path / "killed")
    assert _same(whole, resumed)
    assert [epoch.train_loss for epoch in told.epochs] == [epoch.train_loss for epoch in told_again.epochs]
    assert told.best == told_again.best


@pytest.mark.parametrize("killed_at", [1, 2, 3, 5, 6, 7, 11])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_training_killed_within_an_epoch_goes_on_from_there_exactly(
    few_crops: Crops, tmp_path: Path, killed_at: int, accumulate: int
) -> None:
    config = replace(CONFIG, batch_size=6, epochs=3, save_every=2, accumulate=accumulate)

    def kill(step: int, _steps: int, _loss: float) -> None:
        if step == killed_at:
            raise Killed

    whole, told = _fit(few_crops, tmp_path / "whole", config)
    with pytest.raises(Killed):
        _fit(few_crops, tmp_path / "killed", config, Observer(batch=kill))
    steps: list[int] = []
    observer = Observer(batch=lambda step, _all, _loss: steps.append(step))
    resumed, told_again = _fit(few_crops, tmp_path / "killed", config, observer)
    assert steps == list(range((killed_at - 1) // 2 * 2 + 1, 13))  # what was told was not kept yet
    assert _same(whole, resumed)
    assert [epoch.train_loss for epoch in told.epochs] == [epoch.train_loss for epoch in told_again.epochs]


def test_another_machine_goes_on_from_the_store(few_crops: Crops, tmp_path: Path) -> None:
    config = replace(CONFIG, save_every=1)
    store = open_store(str(tmp_path / "store"))

    def kill(step: int, _steps: int, _loss: float) -> None:
        if step == 4:
            raise Killed

    def run(folder: str, observer: Observer | None = None) -> tuple[PalsyViT, list[int]]:
        steps: list[int] = []
        observer = observer or Observer(batch=lambda step, _all, _loss: steps.append(step))
        model = _vit()
        batches = CropBatches(few_crops.of(Split.TRAIN), config, 16, CPU)
        judge = validation("palsy", few_crops.of(Split.VAL), 16, CPU)
        checkpoint = Checkpoint(folder=tmp_path / folder, identity="one", store=store)
        fit(model, objective("palsy", config), batches, judge, config, checkpoint, observer)
        return model, steps

    whole, _ = _fit(few_crops, tmp_path / "alone", config)
    with pytest.raises(Killed):
        run("here", Observer(batch=kill))
    assert len(list(store.keys("checkpoints/"))) == 1
    there, steps = run("there")
    assert steps[0] == 4
    assert _same(whole, there)
    assert run("here")[1] == []  # what the store has is farther than this folder
    Checkpoint(folder=tmp_path / "here", identity="one", store=store).clear()
    assert not list(store.keys("checkpoints/"))
    assert not (tmp_path / "here").exists()


def test_a_torn_local_checkpoint_and_a_damaged_stored_one_are_passed_over_for_an_intact_one(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    checkpoint = Checkpoint(folder=tmp_path / "here", identity="one", store=store)
    model = _vit()
    optimizer = torch.optim.SGD(model.parameters())

    def save(num_epochs: int) -> None:
        epochs = tuple(Epoch(number=n, train_loss=1.0, validation={}, seconds=1.0) for n in range(num_epochs))
        checkpoint.save(model, optimizer, State(history=History(epochs=epochs)))

    def resumed() -> int:
        return len(checkpoint.resume(model, optimizer).history.epochs)

    save(1)
    (first,) = store.keys("checkpoints/")
    kept = store.get(first)
    save(2)
    local = tmp_path / "here" / FILE
    local.write_bytes(local.read_bytes()[:-100])  # a power failure
    assert resumed() == 2
    (second,) = store.keys("checkpoints/")
    store.put(first, kept)  # killed before it erased the older one
    path = tmp_path / "store" / second
    path.write_bytes(path.read_bytes()[:-100])
    local.write_bytes(b"")
    assert resumed() == 1
    assert sorted(file.name for file in local.parent.iterdir()) == [FILE]


def test_a_training_that_another_worker_took_over_writes_no_checkpoint(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    model = _vit()
    optimizer = torch.optim.SGD(model.parameters())
    suspended, successor = (
        Checkpoint(folder=tmp_path / str(token), identity="one", store=store, token=token) for token in (9, 10)
    )
    suspended.resume(model, optimizer)
    suspended.save(model, optimizer, State())
    successor.resume(model, optimizer)
    before = list(store.keys())
    epoch = Epoch(number=0, train_loss=1.0, validation={}, seconds=1.0)
    with pytest.raises(LeaseLostError, match=r"another worker has taken this training over"):
        suspended.save(model, optimizer, State(history=History(epochs=(epoch,))))
    assert list(store.keys()) == before
    with pytest.raises(LeaseLostError):
        suspended.resume(model, optimizer)
    successor.save(model, optimizer, State(history=History(epochs=(epoch,))))
    successor.clear()
    assert list(store.keys()) == []
    with pytest.raises(LeaseLostError):
        suspended.save(model, optimizer, State())


def test_a_finished_training_is_not_trained_again(few_crops: Crops, tmp_path: Path) -> None:
    first, _ = _fit(few_crops, tmp_path)
    steps: list[int] = []
    second, _ = _fit(few_crops, tmp_path, observer=Observer(batch=lambda step, _all, _loss: steps.append(step)))
    assert not steps
    assert _same(first, second)


def test_the_weights_that_remain_are_those_of_the_best_epoch(few_crops: Crops, tmp_path: Path) -> None:
    model = _vit()
    seen: list[dict[str, Tensor]] = []

    def judge(judged: nn.Module) -> dict[str, float]:
        seen.append({name: tensor.clone() for name, tensor in judged.state_dict().items()})
        return {"selection": [0.1, 0.9, 0.9, 0.3][len(seen) - 1]}

    batches = CropBatches(few_crops, CONFIG, 16, CPU)
    history = fit(model, objective("palsy", CONFIG), batches, judge, CONFIG, Checkpoint(folder=tmp_path, identity=""))
    assert history.best == 1
    assert all(torch.equal(tensor, seen[1][name]) for name, tensor in model.state_dict().items())


def test_the_first_loss_that_is_not_finite_stops_it(few_crops: Crops, tmp_path: Path) -> None:
    def broken(model: nn.Module, batch: Batch) -> Tensor:
        return model(batch.crop_BCHW).sum() * float("nan")

    batches = CropBatches(few_crops, CONFIG, 16, CPU)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 1 \(epoch 1\): lower the learning rate of 0.01"):
        fit(_vit(), broken, batches, lambda _model: {"selection": 0.0}, CONFIG, Checkpoint(folder=tmp_path, identity=""))


def test_weights_do_not_change_by_a_step_with_a_loss_that_is_not_finite() -> None:
    model = nn.Linear(3, 1)
    before, optimizer = model.weight.detach().clone(), adamw(model, CONFIG)
    micro_batches = [torch.ones(2, 3), torch.full((2, 3), 1e30)]
    with pytest.raises(TrainingError, match=r"the loss is inf at step 6 \(epoch 2\)"):
        train_step(model, lambda m, x: (m(x) ** 2).sum(), micro_batches, optimizer, CONFIG, num_before=4, num_total=16)
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_weights_are_those_of_a_plain_loop(few_crops: Crops, tmp_path: Path, accumulate: int) -> None:
    config = replace(CONFIG, epochs=1, batch_size=5, accumulate=accumulate, schedule="constant")
    fitted, history = _fit(few_crops, tmp_path, config)

    model, loss_of = _vit().train(), objective("palsy", config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    losses: list[float] = []
    torch.manual_seed(0)
    batches = list(CropBatches(few_crops.of(Split.TRAIN), config, 16, CPU).epoch(0))
    assert len(batches) == 5
    for first in range(0, 5, accumulate):
        micro_batches = batches[first : first + accumulate]
        for batch in micro_batches:
            loss = loss_of(model, batch)
            (loss / len(micro_batches)).backward()
            losses.append(loss.item())
        nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        optimizer.step()
        optimizer.zero_grad()
    assert _same(fitted, model)
    assert history.epochs[0].train_loss == sum(losses) / 5


def test_the_checkpoint_of_another_training_is_refused(few_crops: Crops, tmp_path: Path) -> None:
    _fit(few_crops, tmp_path)
    model = _vit()
    optimizer = torch.optim.AdamW(model.parameters())
    with pytest.raises(TrainingError, match="is of another training: train in another folder, or delete it to start anew"):
        Checkpoint(folder=tmp_path, identity="two").resume(model, optimizer)


def test_a_damaged_checkpoint_is_named(few_crops: Crops, tmp_path: Path) -> None:
    _fit(few_crops, tmp_path)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"is damaged .*: delete it to start anew"):
        _fit(few_crops, tmp_path)


def test_every_epoch_is_told_once(few_crops: Crops, tmp_path: Path) -> None:
    told: list[Epoch] = []
    _, history = _fit(few_crops, tmp_path, observer=Observer(epoch=told.append))
    assert tuple(told) == history.epochs
    assert [epoch.number for epoch in told] == [0, 1, 2, 3]


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    config = replace(CONFIG, lr=1.0, warmup=0.2, schedule="cosine")
    rates = [learning_rate(config, step, 100) for step in range(101)]
    assert rates[:20] == sorted(rates[:20])
    assert rates[0] < 0.06
    assert max(rates) == rates[20] == 1.0
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[100] == pytest.approx(0)
    assert learning_rate(replace(CONFIG, lr=1.0, schedule="constant"), 99, 100) == 1.0


@pytest.mark.parametrize("accumulate", [3, 6])
def test_accumulated_batches_make_the_step_of_one_large_batch(tmp_path: Path, accumulate: int) -> None:
    torch.manual_seed(1)
    x, y = torch.randn(6, 4, 5), torch.randn(6, 4, 1)

    class Parts:
        def __init__(self, size: int) -> None:
            self.size = size

        def __len__(self) -> int:
            return 6 // self.size

        def epoch(self, _number: int) -> list[tuple[Tensor, Tensor]]:
            return [(x[i : i + self.size].flatten(0, 1), y[i : i + self.size].flatten(0, 1)) for i in range(0, 6, self.size)]

    def trained(size: int, config: TrainConfig) -> Tensor:
        torch.manual_seed(2)
        model, folder = nn.Linear(5, 1), tmp_path / f"{size}-{config.accumulate}"
        checkpoint = Checkpoint(folder=folder, identity="")
        fit(model, lambda m, b: ((m(b[0]) - b[1]) ** 2).mean(), Parts(size), lambda _m: {"selection": 0.0}, config, checkpoint)
        return model.weight.detach()

    config = replace(CONFIG, epochs=1, schedule="constant", grad_clip=0.1)
    large, small = trained(accumulate, config), trained(1, replace(config, accumulate=accumulate))
    assert torch.allclose(large, small, atol=1e-6)
    assert not torch.allclose(large, trained(1, config), atol=1e-4)


def test_averaged_weights_are_judged_and_kept_and_survive_a_kill(few_crops: Crops, tmp_path: Path) -> None:
    config = replace(CONFIG, ema=0.8)

    def kill(step: int, _steps: int, _loss: float) -> None:
        if step == 5:
            raise Killed

    plain, _ = _fit(few_crops, tmp_path / "plain")
    whole, told = _fit(few_crops, tmp_path / "whole", config)
    with pytest.raises(Killed):
        _fit(few_crops, tmp_path / "killed", config, Observer(batch=kill))
    resumed, told_again = _fit(few_crops, tmp_path / "killed", config)
    assert _same(whole, resumed)
    assert [epoch.validation for epoch in told.epochs] == [epoch.validation for epoch in told_again.epochs]
    assert not _same(plain, whole)


def test_the_average_moves_by_its_share_at_every_step(tmp_path: Path) -> None:
    seen: list[tuple[float, float]] = []
    model = nn.Linear(1, 1, bias=False)
    config = replace(CONFIG, epochs=1, ema=0.75, schedule="constant")

    class Ones:
        def __len__(self) -> int:
            return 3

        def epoch(self, _number: int) -> list[int]:
            return [0, 1, 2]

    def judge(judged: nn.Module) -> dict[str, float]:
        seen.append((next(judged.parameters()).item(), model.weight.item()))
        return {"selection": 0.0}

    steps: list[float] = []
    observer = Observer(batch=lambda _step, _all, _loss: steps.append(model.weight.item()))
    fit(
        model,
        lambda m, _b: next(m.parameters()).sum(),
        Ones(),
        judge,
        config,
        Checkpoint(folder=tmp_path, identity=""),
        observer,
    )
    expected = steps[0]
    for weight in steps[1:]:
        expected = 0.75 * expected + 0.25 * weight
    assert seen == [(pytest.approx(expected), steps[-1])]


def test_bfloat16_changes_nothing_on_a_processor(few_crops: Crops, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=1)
    exact, _ = _fit(few_crops, tmp_path / "exact", config)
    asked, _ = _fit(few_crops, tmp_path / "asked", replace(config, precision="bfloat16"))
    assert _same(exact, asked)
