"""Checkpoints of an unfinished training: weights, best weights, optimizer state and history in one file without pickles."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vitau.data.layout import checkpoint_prefix
from vitau.errors import ChecksumError, LeaseLostError, ObjectNotFoundError, TrainingError
from vitau.store import Store
from vitau.store.atomic import atomic_path
from vitau.training.parallel import is_main_process

FILE: Final = "last.safetensors"
_HOLDER: Final = "holder-"


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

    With a ``token``, the fencing token of the lease on this training, an object marks in the store who trains now. A process
    whose token is not the largest there stops before it writes.
    """

    folder: Path
    identity: str
    store: Store | None = None
    token: int | None = None

    def save(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        state: State,
        average: nn.Module | None = None,
    ) -> None:
        """Replace the state atomically; ``average`` holds the averaged weights, if there are any.

        Only the main process writes.

        Raises:
            LeaseLostError: another worker has taken this training over.
        """
        if not is_main_process():
            return
        self._require_token()
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
            older = [known for known in self._stored(self.store) if known < key]
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

    def _stored(self, store: Store) -> list[str]:
        """Return the keys of the states in the store, the newest last."""
        return [key for key in store.keys(self._prefix) if key.endswith(".safetensors")]

    def _tokens(self, store: Store) -> list[int]:
        start = f"{self._prefix}{_HOLDER}"
        return [int(key.removeprefix(start)) for key in store.keys(start)]

    def _take_over(self) -> None:
        """Mark in the store that the holder of this token trains now."""
        if self.store is not None and self.token is not None and is_main_process():
            self.store.put(f"{self._prefix}{_HOLDER}{self.token}", b"")
            self._require_token()

    def _require_token(self) -> None:
        if self.store is not None and self.token is not None and max(self._tokens(self.store), default=-1) != self.token:
            raise LeaseLostError("another worker has taken this training over: this one stops and writes no checkpoint")

    def _newest(self) -> Path:
        """Return the path of the newest intact state; download it if the store is ahead of the folder.

        A damaged state, local or stored, counts as missing if the store has an intact one.
        """
        path = self.folder / FILE
        stored = self._stored(self.store) if self.store is not None else []
        if self.store is None or not stored:
            return path
        local = _name_of(path)
        for key in reversed(stored):
            if local is not None and f"{self._prefix}{local}.safetensors" >= key:
                return path
            self.folder.mkdir(parents=True, exist_ok=True)
            fetched = path.with_name(f"fetched-{path.name}")
            with suppress(ChecksumError, ObjectNotFoundError):  # damaged, or erased after a newer one: try the one before
                if _name_of(self.store.download(key, fetched)) is not None:
                    return fetched.replace(path)
            fetched.unlink(missing_ok=True)
        return path

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None = None) -> State:
        """Load the saved state into model, optimizer and averaged weights; return the rest of it.

        Raises:
            TrainingError: if the saved state belongs to another training, or is damaged and the store has no intact one.
            LeaseLostError: another worker has taken this training over.
        """
        self._take_over()
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


def _name_of(path: Path) -> str | None:
    """Return the name of the state in a file by its progress; ``None`` if there is no file, or if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a dict)
                file.get_tensor(name)
            return _place(file.metadata())
    except (FileNotFoundError, SafetensorError, OSError, TypeError, KeyError, ValueError):
        return None


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except SafetensorError as damage:
        raise TrainingError(f"{path} is damaged ({damage}): delete it to start anew") from damage


def _within(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
