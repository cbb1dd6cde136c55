"""Checkpoints of an unfinished training: weights, best weights, optimizer state and history in one file without pickles."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vitau.data.layout import checkpoint_prefix
from vitau.errors import TrainingError
from vitau.store import Store
from vitau.store.atomic import atomic_path
from vitau.training.parallel import is_main_process

FILE: Final = "last.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """Result of one epoch; ``validation`` holds metrics of the validation people only."""

    number: int
    train_loss: float
    validation: dict[str, float]
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """All epochs so far; ``best`` is the number of the best one, from 0."""

    epochs: tuple[Epoch, ...] = ()
    best: int | None = None

    @property
    def seconds(self) -> float:
        """Time spent in all epochs, s."""
        return sum(epoch.seconds for epoch in self.epochs)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Position:
    """Position within an epoch: ``done`` batches, the sum of their losses, the time in s, and torch's random states."""

    done: int
    total_loss: float
    seconds: float
    random: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class State:
    """State to resume from; ``best`` is empty before the first epoch, ``position`` is ``None`` between epochs."""

    history: History = field(default_factory=History)
    best: dict[str, Tensor] = field(default_factory=dict)
    position: Position | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A folder for the state of one training; ``identity`` names its data, start and settings.

    With a ``store``, every state is an object there as well, so that another machine can resume. The newest state counts,
    wherever it is; older objects are erased after it is complete. A state holds weights and numbers, no image and no name.
    """

    folder: Path
    identity: str
    store: Store | None = None

    def save(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        state: State,
        average: nn.Module | None = None,
    ) -> None:
        """Replace the state atomically; ``average`` holds the averaged weights, if there are any.

        Only the main process writes.
        """
        if not is_main_process():
            return
        tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
        if average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in average.state_dict().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in state.best.items()}
        for index, of_one in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": tensor for name, tensor in of_one.items()}
        tensors = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        metadata = {"history": json.dumps(asdict(state.history)), "identity": self.identity}
        if state.position is not None:
            here = state.position
            metadata["position"] = json.dumps({"done": here.done, "total_loss": here.total_loss, "seconds": here.seconds})
            tensors |= {f"random/{name}": tensor for name, tensor in here.random.items()}
        with atomic_path(self.folder / FILE) as partial:
            save_file(tensors, partial, metadata=metadata)
        if self.store is not None:
            key = f"{self._prefix}{_place(metadata)}.safetensors"
            older = [known for known in self.store.keys(self._prefix) if known < key]
            self.store.put(key, self.folder / FILE)
            for known in older:
                self.store.erase(known)

    def clear(self) -> None:
        """Delete the state in the folder and in the store; only the main process does."""
        if not is_main_process():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.store is not None:
            self.store.erase(self._prefix)

    @property
    def _prefix(self) -> str:
        return checkpoint_prefix(sha256(self.identity.encode()).hexdigest())

    def _newest(self) -> Path:
        """Return the path of the newest state; download it if the store is ahead of the folder."""
        path = self.folder / FILE
        stored = list(self.store.keys(self._prefix)) if self.store is not None else []
        if self.store is None or not stored:
            return path
        if path.exists():
            with _reading(path), safe_open(path, framework="pt") as file:
                if f"{self._prefix}{_place(file.metadata())}.safetensors" >= stored[-1]:
                    return path
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.store.download(stored[-1], path)

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None = None) -> State:
        """Load the saved state into model, optimizer and averaged weights; return the rest of it.

        Raises:
            TrainingError: if the saved state belongs to another training or is damaged.
        """
        path = self._newest()
        if not path.exists():
            return State()
        with _reading(path), safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if metadata["identity"] != self.identity:
            raise TrainingError(f"{path} is of another training: train in another folder, or delete it to start anew")
        moments: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer/"):
                _, index, moment = name.split("/")
                moments.setdefault(int(index), {})[moment] = tensor
        model.load_state_dict(_within("model/", tensors))
        if average is not None:
            average.load_state_dict(_within("average/", tensors))
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
        history = json.loads(metadata["history"])
        epochs = tuple(Epoch(**epoch) for epoch in history["epochs"])
        position = None
        if "position" in metadata:
            position = Position(**json.loads(metadata["position"]), random=_within("random/", tensors))
        return State(history=History(epochs=epochs, best=history["best"]), best=_within("best/", tensors), position=position)


def _place(metadata: dict[str, str]) -> str:
    """Return the name of a state; names sort by progress."""
    done = json.loads(metadata["position"])["done"] if "position" in metadata else 0
    return f"{len(json.loads(metadata['history'])['epochs']):06}-{done:09}"


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except SafetensorError as damage:
        raise TrainingError(f"{path} is damaged ({damage}): delete it to start anew") from damage


def _within(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
