"""Who is told of a training while it runs: people by lines and a bar, and MLflow by curves and pictures."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from typing import Final

from torch import nn

from vitau.models.regions import RegionConfig
from vitau.progress import Reporter
from vitau.training.checkpoint import Epoch
from vitau.training.config import Recipe, TrainConfig
from vitau.training.fit import Observer
from vitau.training.parallel import is_main_process

STEPS_BETWEEN: Final = 20
"""Every so many batches the loss is written."""


@contextmanager
def watching(
    recipe: Recipe, config: TrainConfig, model: nn.Module, identity: str, reporter: Reporter, mlflow_url: str | None
) -> Iterator[tuple[Observer, str | None]]:
    """Watch a training; give the watcher, and the id of its run in MLflow if there is one.

    Args:
        recipe: what is trained.
        config: how: on a snapshot or, before it, on drawn people.
        model: whose heatmaps are drawn after every epoch; with averaged weights, those that go on being trained.
        identity: of the training: one that goes on finds its run by it, on another machine too.
        reporter: tells people.
        mlflow_url: of the server; of several processes only the first writes there.
    """

    def tell(epoch: Epoch) -> None:
        numbers = ", ".join(f"{name} {value:.3f}" for name, value in epoch.validation.items() if name != "selection")
        turn = f"epoch {epoch.number + 1}/{config.epochs}"
        reporter.line(f"{turn}: loss {epoch.train_loss:.4f}, validation {numbers}, {epoch.seconds:.1f} s")

    with reporter.task(f"train {recipe.name}") as bar:
        if mlflow_url is None or not is_main_process():
            yield Observer(batch=lambda done, steps, _loss: bar(done, steps), epoch=tell), None
            return
        from vitau.registry.tracking import tracked_run  # MLflow costs seconds to import

        settings = {"recipe": recipe.name, **{name: value for name, value in asdict(config).items() if name != "augmentation"}}
        key = sha256(identity.encode()).hexdigest()
        with tracked_run(mlflow_url, recipe.name, key=key, settings=settings, tell=reporter.line) as run:

            def batch(done: int, steps: int, loss: float) -> None:
                bar(done, steps)
                if done % STEPS_BETWEEN == 0:
                    run.step(done, loss)

            def epoch(told: Epoch) -> None:
                tell(told)
                if isinstance(recipe.model, RegionConfig):
                    from vitau.training.reporting.heatmap_images import draw_heatmaps

                    device = next(model.parameters()).device
                    run.picture(f"heatmaps/epoch-{told.number + 1:03}.png", draw_heatmaps(model, recipe.model, device))
                validation = {f"validation_{name}": value for name, value in told.validation.items()}
                run.epoch(told.number + 1, {"train_loss": told.train_loss, "epoch_seconds": told.seconds, **validation})

            yield Observer(batch=batch, epoch=epoch), run.id
