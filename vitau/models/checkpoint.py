"""Models as folders of safetensors and a card, and the public checkpoints of the networks that we start from."""

import dataclasses
import hashlib
import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import lru_cache
from pathlib import Path
from pickletools import genops
from typing import IO, Any, Final, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from vitau.errors import CheckpointError, quoted
from vitau.models.encoder import EncoderConfig
from vitau.models.generator import Generator, GeneratorConfig
from vitau.models.regions import RegionConfig, RegionModel, build_regions
from vitau.models.vit import PalsyViT, ViTConfig, build_vit

WEIGHTS: Final = "weights.safetensors"
CARD: Final = "model.json"
KINDS: Final[Mapping[str, type]] = {"palsy": ViTConfig, "regions": RegionConfig}

_LONGEST_TEXT: Final = 1000
_OLD_PICKLES: Final = 5
_MAX_TOKENS: Final = 64  # register tokens are one tensor

_Config = TypeVar("_Config", ViTConfig, RegionConfig, EncoderConfig, GeneratorConfig)

Model = PalsyViT | RegionModel
"""What can be saved and loaded."""


def save_model(folder: Path, model: Model, config: ViTConfig | RegionConfig, **card: Any) -> str:
    """Write ``weights.safetensors`` and ``model.json`` into a folder, which is created if it is missing.

    Args:
        folder: where to write; the card is written last, so a folder with a card is complete.
        model: its weights and buffers are kept as they are, on whatever device.
        config: configuration of the model, which also gives its kind.
        card: further entries of ``model.json``: threshold, synthetic, protocol, snapshot, recipe, … (JSON values).

    Returns:
        The model's digest: sha256 of the bytes of both files, weights first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = next(kind for kind, of in KINDS.items() if isinstance(config, of))
    weights = save_tensors({key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()})
    text = json.dumps(
        {**card, "kind": kind, "config": dataclasses.asdict(config)}, indent=1, sort_keys=True, ensure_ascii=False
    )
    (folder / WEIGHTS).write_bytes(weights)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")
    return model_digest(folder)


def load_model(folder: Path) -> tuple[Model, dict[str, Any]]:
    """Rebuild a saved model, in evaluation mode on the CPU.

    Returns:
        The model and its card, the content of ``model.json``.

    Raises:
        CheckpointError: a file is missing or damaged, the kind or a setting is unknown, or the weights are another model's.
    """
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        weights = load_tensors((folder / WEIGHTS).read_bytes())
    except FileNotFoundError as missing:
        raise CheckpointError(
            f"{folder} has no {Path(missing.filename).name}: give the folder that save_model wrote"
        ) from missing
    except (SafetensorError, ValueError, RecursionError) as damage:  # ValueError: no JSON, no UTF-8, a number of 5 000 digits
        raise CheckpointError(f"the model in {folder} is damaged ({quoted(damage)}): fetch it again") from damage
    if not isinstance(card, dict) or card.get("kind") not in list(KINDS):
        raise CheckpointError(
            f"{folder / CARD} names no kind that we know ({', '.join(KINDS)}): update vitau or fetch it again"
        )
    try:
        config = read_config(card["kind"], card["config"])
        _check_depth(config, len(weights))
        outline = _outline(config)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as unknown:
        raise CheckpointError(
            f"{folder / CARD} has a configuration that we cannot build ({quoted(unknown)}): update vitau"
        ) from unknown
    check_fit(outline, weights, str(folder / WEIGHTS))  # before memory is taken for whatever size the card names
    model = _build(config)
    load_strictly(model, weights, str(folder / WEIGHTS))
    return model.eval(), card


def _build(config: ViTConfig | RegionConfig) -> Model:
    return build_vit(config) if isinstance(config, ViTConfig) else build_regions(config)


@lru_cache(maxsize=4)
def _outline(config: ViTConfig | RegionConfig) -> Model:
    """Return the model without memory for its weights."""
    with torch.device("meta"), warnings.catch_warnings(action="ignore"):
        return _build(config)


def _check_depth(config: ViTConfig | RegionConfig, num_tensors: int) -> None:
    """Raise ValueError for more layers than there are tensors: building them would take hours."""
    if isinstance(config, ViTConfig):
        counts: tuple[int, ...] = (config.depth, config.register_tokens)
    else:
        counts = (*config.encoder.units, config.encoder.num_styles, config.generator.mapping_layers)
    if max(counts) > max(num_tensors, _MAX_TOKENS):
        raise ValueError(f"{max(counts)} layers for {num_tensors} tensors")


def read_config(kind: str, values: Mapping[str, Any]) -> ViTConfig | RegionConfig:
    """Rebuild a configuration from its JSON.

    Raises:
        KeyError, TypeError, ValueError: a setting is missing, unknown or impossible.
    """
    if kind == "palsy":
        return _whole_numbers(ViTConfig(**values))
    encoder: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values["encoder"].items()
    }
    parts = {
        "encoder": _whole_numbers(EncoderConfig(**encoder)),
        "generator": _whole_numbers(GeneratorConfig(**values["generator"])),
    }
    return _whole_numbers(RegionConfig(**{**values, **parts}))


def _whole_numbers(config: _Config) -> _Config:
    """Return the configuration if its sizes and numbers are whole; true and 3.0 of a card are not."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if type(field.default) is int and type(value) is not int:
            raise ValueError(f"{field.name} is {quoted(value)}, and no whole number")
    return config


def model_digest(folder: Path) -> str:
    """Return the digest of a saved model: sha256 of the bytes of its weights and its card."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes() + (folder / CARD).read_bytes()).hexdigest()


def load_stylegan2(generator: Generator, path: Path) -> None:
    """Load a public StyleGAN2 (``stylegan2-ffhq-config-f.pt``: its ``g_ema``). Non-commercial weights: the user brings them.

    Raises:
        CheckpointError: the file is no such checkpoint, or a key is missing, extra or misshapen.
    """
    load_strictly(generator, part(read_public(path), "g_ema", path), f"g_ema of {path}")


def load_psp(model: RegionModel, path: Path) -> None:
    """Load a public pSp (``psp_ffhq_encode.pt``): encoder, decoder and average latent. The user brings the weights.

    Raises:
        CheckpointError: the file is no such checkpoint, or a key is missing, extra or misshapen.
    """
    checkpoint = read_public(path)
    state = part(checkpoint, "state_dict", path)
    for prefix, module in (("encoder.", model.encoder), ("decoder.", model.generator)):
        tensors = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
        load_strictly(module, tensors, f"{prefix}* of {path}")
    strays = [key for key in state if not key.startswith(("encoder.", "decoder."))]
    if strays:
        raise CheckpointError(f"state_dict of {path} has the unknown key {quoted(strays[0])}: it belongs to another model")
    average = checkpoint.get("latent_avg")
    styles, width = model.latent_avg.shape
    if not isinstance(average, Tensor) or tuple(average.shape) not in ((width,), (1, width), (styles, width)):
        shape = tuple(average.shape) if isinstance(average, Tensor) else "missing"
        raise CheckpointError(f"latent_avg of {path} is {shape} for {(styles, width)}: it belongs to another model")
    model.latent_avg.copy_(average)


def load_fgnet(model: RegionModel, path: Path) -> None:
    """Load FG-Net's own checkpoint: interpreter, generator and encoder. The user brings the weights.

    The model must have 32 outputs and the latent route ``mapping``; its average latent is pSp's, so load that first.

    Raises:
        CheckpointError: the file is no such checkpoint, or a key is missing, extra or misshapen.
    """
    checkpoint = read_public(path)
    parts = {"interpreter": model.interpreter, "g_all": model.generator, "pspencoder": model.encoder}
    for name, module in parts.items():
        load_strictly(module, part(checkpoint, name, path), f"{name} of {path}")


def read_public(path: Path) -> dict[str, Any]:
    """Read a file of ``torch.save`` that holds only tensors and plain values.

    Raises:
        CheckpointError: the file is missing, no checkpoint, or wants to run code.
    """
    try:
        check_names(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as missing:
        raise CheckpointError(f"there are no weights at {path}: bring the public checkpoint and give its path") from missing
    except Exception as damage:
        raise CheckpointError(f"{path} is not a checkpoint of plain tensors: fetch the public file again") from damage
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f"{path} holds a {type(checkpoint).__name__} where a checkpoint is a dict: fetch the public file again"
        )
    return checkpoint


def check_names(path: Path) -> None:
    """Raise ValueError if a pickle in the file has a very long text: torch searches its messages for minutes then.

    A new file is a ZIP archive with one pickle; an old one begins with up to five.
    """
    with ExitStack() as stack:
        if zipfile.is_zipfile(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
            pickles = [stack.enter_context(archive.open(name)) for name in archive.namelist() if name.endswith("data.pkl")]
        else:
            pickles = [stack.enter_context(path.open("rb"))] * _OLD_PICKLES
        for file in pickles:
            if any(isinstance(value, str) and len(value) > _LONGEST_TEXT for value in _values(file)):
                raise ValueError(f"a text of more than {_LONGEST_TEXT} characters")


def _values(pickle: IO[bytes]) -> Iterator[Any]:
    """Yield the values in a pickle, up to where it is damaged: torch stops there as well, and says why."""
    with suppress(ValueError, LookupError):
        for _, value, _ in genops(pickle):
            yield value


def part(checkpoint: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Tensor]:
    """Return a state dict from a checkpoint.

    Raises:
        CheckpointError: there is none of that name.
    """
    state = checkpoint.get(name)
    if not isinstance(state, Mapping):
        raise CheckpointError(
            f"{path} has no {name}, only {quoted(', '.join(map(str, checkpoint)))}: it is another kind of checkpoint"
        )
    return state


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Copy tensors into a module by name; every name and shape must fit.

    Args:
        module: takes the tensors; unchanged where they do not fit.
        tensors: by the module's own names.
        what: name of the source of the tensors, for messages.

    Raises:
        CheckpointError: names the first key that is missing, extra or misshapen, and says how many there are.
    """
    check_fit(module, tensors, what)
    module.load_state_dict(dict(tensors))


def check_fit(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Check that tensors fit a module by names and shapes; see :func:`load_strictly`."""
    own = module.state_dict()
    missing = [key for key in own if key not in tensors]
    extra = [key for key in tensors if key not in own]
    misshapen = [key for key in own if key in tensors and own[key].shape != tensors[key].shape]
    for keys, fault in ((missing, "lacks the"), (extra, "has the unknown"), (misshapen, "has the misshapen")):
        if keys:
            shapes = f", {tuple(tensors[keys[0]].shape)} for {tuple(own[keys[0]].shape)}" if keys is misshapen else ""
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            key = quoted(keys[0])
            raise CheckpointError(f"{what} {fault} key {key}{shapes}{more}: it belongs to another model or configuration")
