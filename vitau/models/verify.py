"""``python -m vitau.models.verify --oracle DIR``: compare our networks with the public ones.

A folder of reference numbers holds activations in ``gen_SIZE[cmMULTIPLIER].npz``, ``enc_STYLES.npz``, ``heatmaps.npz``,
``interp.npz``, ``e2e_wplus.npz`` and ``e2e_zplus.npz``, and the names and shapes of a checkpoint's tensors in ``keys_*.json``.
The weights behind them are those of :mod:`vitau.models.reference`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import typer
from torch import Tensor, nn

from vitau.errors import CheckpointError, VitauError
from vitau.models import reference
from vitau.models.encoder import Encoder, EncoderConfig
from vitau.models.generator import Generator, GeneratorConfig
from vitau.models.heatmaps import true_heatmaps
from vitau.models.interpreter import Interpreter

Array = npt.NDArray[Any]
Numbers = Mapping[str, Array]
M = TypeVar("M", bound=nn.Module)

TOLERANCE: Final = 1e-4
"""Of a generator's activations, and of everything else as a share of the largest value: there float32 itself is that coarse."""
INTERPRETER_OUTPUTS: Final = 32
HEATMAP_SIGMA: Final = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """Result of one file: ``worst`` is the largest difference, ``of`` its unit; keys have no difference."""

    file: str
    compared: int
    worst: float | None
    of: str
    agrees: bool

    def line(self) -> str:
        """Return the check as a line of text."""
        worst = "" if self.worst is None else f", worst {self.worst:.1e} {self.of}"
        return f"{'ok     ' if self.agrees else 'DIFFERS'}  {self.file}: {self.compared} {self._what}{worst}"

    @property
    def _what(self) -> str:
        return "keys and shapes" if self.worst is None else "tensors"


def verify(folder: Path) -> Iterator[Check | str]:
    """Compare our networks with every file of reference numbers in a folder.

    Yields:
        A check per file, or the name of a file of no known form.

    Raises:
        CheckpointError: the folder is missing or holds no such file.
    """
    files = sorted(path for path in folder.glob("*") if path.name.startswith("keys_") or path.suffix == ".npz")
    if not files:
        raise CheckpointError(f"{folder} holds no reference numbers (gen_*.npz, enc_*.npz, keys_*.json, …): give their folder")
    for path in files:
        yield _check(path)


def _check(path: Path) -> Check | str:
    for pattern, check in _FORMS.items():
        if found := re.fullmatch(pattern, path.name):
            return check(path, *found.groups())
    return path.name


def _keys(path: Path, name: str) -> Check | str:
    expected = {key: tuple(shape) for key, shape in json.loads(path.read_text()).items()}
    for pattern, build in _NETWORKS.items():
        if found := re.fullmatch(pattern, name):
            with torch.device("meta"):
                own = build(*found.groups()).state_dict()
            found_keys = {key: tuple(tensor.shape) for key, tensor in own.items()}
            return Check(file=path.name, compared=len(expected), worst=None, of="", agrees=found_keys == expected)
    return path.name


def _generator(size: str, multiplier: str | None = None) -> Generator:
    return Generator(GeneratorConfig(size=int(size), channel_multiplier=float(multiplier or 2)))


def _encoder(num_styles: str) -> Encoder:
    return Encoder(EncoderConfig(num_styles=int(num_styles)))


def _interpreter() -> Interpreter:
    config = GeneratorConfig()
    channels = [config.channels(resolution) for resolution in config.resolutions]
    return Interpreter(channels, config.resolutions, num_outputs=INTERPRETER_OUTPUTS)


@torch.inference_mode()
def _generator_check(path: Path, size: str, multiplier: str | None) -> Check:
    expected, generator = _numbers(path), _with_reference(_generator(size, multiplier))
    images = len(expected["w"])
    style_BSD = torch.from_numpy(reference.normal("input.wplus", (images, generator.config.num_styles, 512)))
    w_BD = generator.mapping(torch.from_numpy(reference.normal("input.z", (images, 512))))
    mapped_BSD = generator.mapping(style_BSD)
    seen = {"w": w_BD.numpy(), "zplus_w": mapped_BSD.numpy()}
    routes = {"wplus": style_BSD, "zplus": mapped_BSD, "w": w_BD[:, None].expand(-1, generator.config.num_styles, -1)}
    for route, styles in routes.items():
        if f"{route}/feat0" not in expected:
            continue
        for i, activation in enumerate(generator.activations(styles)):
            seen[f"{route}/feat{i}"] = reference.samples(activation)
        seen[f"{route}/img"] = reference.samples(generator.image(styles), 256)
    return _compare(path.name, seen, {key: value for key, value in expected.items() if not key.startswith("fp64/")})


@torch.inference_mode()
def _encoder_check(path: Path, num_styles: str) -> Check:
    expected, encoder = _numbers(path), _with_reference(_encoder(num_styles), "encoder.")
    layers = {"input_layer": encoder.input_layer, **{f"body{i}": unit for i, unit in enumerate(encoder.body)}}
    seen: dict[str, Array] = {}
    for name in layers.keys() & expected.keys():
        layers[name].register_forward_hook(lambda _module, _inputs, out, name=name: seen.update({name: reference.samples(out)}))
    seen["latents"] = encoder(_image()).numpy()
    return _compare(path.name, seen, expected, relative=True)


def _heatmaps_check(path: Path) -> Check:
    expected = _numbers(path)
    landmarks, labels = torch.from_numpy(expected["landmarks"]), torch.from_numpy(expected["labels/DISFA"])
    wanted = {key: value for key, value in expected.items() if key.startswith("DISFA/")}
    seen = {
        key: true_heatmaps(landmarks, labels, int(key.split("/")[1]), HEATMAP_SIGMA)[..., ::8, ::8].numpy() for key in wanted
    }
    return _compare(path.name, seen, wanted)


@torch.inference_mode()
def _interpreter_check(path: Path) -> Check:
    interpreter, config = _with_reference(_interpreter(), "interpreter."), GeneratorConfig()
    features = [
        torch.from_numpy(reference.normal(f"input.feat{i}", (1, config.channels(resolution), resolution, resolution)))
        for i, resolution in enumerate(config.resolutions)
    ]
    return _compare(path.name, {"heatmaps": interpreter(features).numpy()}, _numbers(path), relative=True)


@torch.inference_mode()
def _end_to_end_check(path: Path, route: str) -> Check:
    encoder, generator = _with_reference(_encoder("18"), "encoder."), _with_reference(_generator("1024"))
    style_BSD = encoder(_image()) + torch.from_numpy(reference.normal("latent_avg", (18, 512)))
    styles = generator.mapping(style_BSD) if route == "zplus" else style_BSD
    features = generator.features(styles, range(len(generator.config.resolutions)))
    heatmaps = _with_reference(_interpreter(), "interpreter.")(features)[:, :8, ::4, ::4]
    seen = {"latents": style_BSD.numpy(), "heatmaps8": heatmaps.numpy()}
    return _compare(path.name, seen, _numbers(path), relative=True)


def _image() -> Tensor:
    return torch.from_numpy(np.clip(reference.normal("input.image", (1, 3, 256, 256)) * 0.5, -1, 1))


def _with_reference(module: M, prefix: str = "") -> M:
    module.load_state_dict(reference.weights(module.state_dict(), prefix))
    return module.eval()


def _numbers(path: Path) -> Numbers:
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def _compare(file: str, seen: Numbers, expected: Numbers, *, relative: bool = False) -> Check:
    shared = [key for key in expected if key in seen and seen[key].shape == expected[key].shape]
    scales = {key: float(np.abs(expected[key]).max()) or 1.0 if relative else 1.0 for key in shared}
    worst = max((float(np.abs(seen[key] - expected[key]).max()) / scales[key] for key in shared), default=float("inf"))
    return Check(
        file=file,
        compared=len(shared),
        worst=worst,
        of="of the largest value" if relative else "absolute",
        agrees=len(shared) == len(expected) and worst < TOLERANCE,
    )


_FORMS: Final[Mapping[str, Callable[..., Check | str]]] = {
    r"gen_(\d+)(?:cm([\d.]+))?\.npz": _generator_check,
    r"enc_(\d+)\.npz": _encoder_check,
    r"heatmaps\.npz": _heatmaps_check,
    r"interp\.npz": _interpreter_check,
    r"e2e_(wplus|zplus)\.npz": _end_to_end_check,
    r"keys_(.+)\.json": _keys,
}
_NETWORKS: Final[Mapping[str, Callable[..., nn.Module]]] = {
    r"gen_(\d+)(?:cm([\d.]+))?": _generator,
    r"enc_(\d+)": _encoder,
    r"interpreter": _interpreter,
}


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(oracle: Annotated[Path, typer.Option(help="Folder of reference numbers.")]) -> None:
    """Compare encoder, generator, interpreter and heatmaps with reference numbers; exit code 1 if one differs."""
    agree = True
    try:
        for check in verify(oracle):
            typer.echo(f"skipped  {check}: not of a known form" if isinstance(check, str) else check.line())
            agree = agree and (isinstance(check, str) or check.agrees)
    except VitauError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    if not agree:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
