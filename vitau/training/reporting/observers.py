"""Observers of a running training: lines and a progress bar on stderr, curves and images in MLflow."""

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
"""Batches between two losses that are written to MLflow."""


@contextmanager
def watching(
    recipe: Recipe, config: TrainConfig, model: nn.Module, identity: str, reporter: Reporter, mlflow_url: str | None
) -> Iterator[tuple[Observer, str | None]]:
    """Observe a training; yields the observer, and the id of its MLflow run if there is one.

    Args:
        recipe: the model that is trained.
        config: settings of the training, on a snapshot or, before it, on drawn people.
        model: its heatmaps are rendered after every epoch; with averaged weights, those that are trained on.
        identity: of the training; a resumed training finds its run by it, on another machine too.
        reporter: writes lines and progress.
        mlflow_url: address of the server; only the main process writes there.
    """

    def log_epoch(epoch: Epoch) -> None:
        numbers = ", ".join(f"{name} {value:.3f}" for name, value in epoch.validation.items() if name != "selection")
        turn = f"epoch {epoch.number + 1}/{config.epochs}"
        reporter.line(f"{turn}: loss {epoch.train_loss:.4f}, validation {numbers}, {epoch.seconds:.1f} s")

    with reporter.task(f"train {recipe.name}") as bar:
        if mlflow_url is None or not is_main_process():
            yield Observer(batch=lambda done, steps, _loss: bar(done, steps), epoch=log_epoch), None
            return
        from vitau.registry.tracking import tracked_run  # MLflow costs seconds to import

        settings = {"recipe": recipe.name, **{name: value for name, value in asdict(config).items() if name != "augmentation"}}
        key = sha256(identity.encode()).hexdigest()
        with tracked_run(mlflow_url, recipe.name, key=key, settings=settings, tell=reporter.line) as run:

            def batch(done: int, steps: int, loss: float) -> None:
                bar(done, steps)
                if done % STEPS_BETWEEN == 0:
                    run.step(done, loss)

            def epoch(finished: Epoch) -> None:
                log_epoch(finished)
                if isinstance(recipe.model, RegionConfig):
                    from vitau.training.reporting.heatmap_images import draw_heatmaps

                    device = next(model.parameters()).device
                    run.picture(f"heatmaps/epoch-{finished.number + 1:03}.png", draw_heatmaps(model, recipe.model, device))
                validation = {f"validation_{name}": value for name, value in finished.validation.items()}
                run.epoch(
                    finished.number + 1, {"train_loss": finished.train_loss, "epoch_seconds": finished.seconds, **validation}
                )

            yield Observer(batch=batch, epoch=epoch), run.id
