"""Weights that the user brings: a ViT's from a file, the object store or a hub; a region model's public checkpoints."""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import Tensor

from vitau.errors import CheckpointError, ObjectNotFoundError
from vitau.models.checkpoint import load_fgnet, load_psp, load_strictly, load_stylegan2, read_public
from vitau.models.regions import RegionModel
from vitau.models.vit import PalsyViT
from vitau.store import Store, sha256_of

HUB: Final = "hub"
IN_STORE: Final = "store:"
_HEAD: Final = "head."


def bring_weights(model: PalsyViT | RegionModel, sources: Sequence[str], store: Store) -> list[str]:
    """Load the user's own weights into a fresh model.

    A ViT loads the first source that exists. A region model loads all of them, each a public checkpoint that is recognized
    by its keys: StyleGAN2 (``g_ema``), pSp (``state_dict`` and ``latent_avg``) or FG-Net (``interpreter``).

    Args:
        model: changed in place; a ViT keeps its own head, its position embedding is resampled to its own grid.
        sources: paths of files, ``store:KEY`` of objects, or ``hub``: timm's own weights for the architecture's name.
        store: the object store of ``store:``.

    Returns:
        The sha256 of every file that was loaded (of the hub's tensors as safetensors); paths may name people, so no path.

    Raises:
        CheckpointError: nothing is there, or what is there does not fit: the first key at fault is named.
    """
    if isinstance(model, RegionModel):
        return [digest for source in sources for digest in _load_public(model, source, store)]
    missing: list[str] = []
    for source in sources:
        found = _vit_tensors(model, source, store)
        if isinstance(found, str):
            missing.append(f"{source} ({found})")
            continue
        tensors, digest = found
        own_head = {key: tensor for key, tensor in model.vit.state_dict().items() if key.startswith(_HEAD)}
        fitted = _fitted(model, tensors)
        body = {key: tensor for key, tensor in fitted.items() if not key.startswith(_HEAD)}
        load_strictly(model.vit, {**body, **own_head}, source)
        return [digest]
    name = model.config.name or "vision transformer"
    raise CheckpointError(
        f"no weights for {name} at {', '.join(missing)}: save timm's file of that name where there is a network, "
        "and give its path or put it into the store"
    )


def find_weights(sources: Sequence[str], store: Store, *, recognition: bool) -> list[str]:
    """Return the sha256 of the files that :func:`bring_weights` would load, without loading them; ``hub`` stays a name.

    Args:
        sources: as of :func:`bring_weights`.
        store: as of :func:`bring_weights`.
        recognition: whether the model is a ViT, which takes the first source that exists; a region model takes all.

    Raises:
        CheckpointError: a source, or each of a ViT's, does not exist.
    """
    found = [_digest(source, store) for source in sources]
    there = [digest for digest in found if digest is not None]
    if recognition and there:
        return there[:1]
    if None in found:
        lacking = sources[found.index(None)]
        raise CheckpointError(f"there are no weights at {lacking}: give the path of the public file, store:KEY, or hub")
    return there


def _digest(source: str, store: Store) -> str | None:
    if source == HUB:
        return HUB
    if not source.startswith(IN_STORE):
        return sha256_of(Path(source)) if Path(source).is_file() else None
    key = source.removeprefix(IN_STORE)
    digest = store.digest(key)
    if digest is not None:
        return digest.sha256
    return sha256_of(store.get(key)) if store.exists(key) else None


def _vit_tensors(model: PalsyViT, source: str, store: Store) -> tuple[Mapping[str, Tensor], str] | str:
    """Return a ViT's tensors with their digest, or the reason why there are none."""
    if source == HUB:
        return _from_hub(model)
    with tempfile.TemporaryDirectory() as work:
        path = _fetched(source, store, Path(work))
        if path is None:
            return "there is no such object" if source.startswith(IN_STORE) else "there is no such file"
        if path.suffix != ".safetensors":
            return _plain(read_public(path)), sha256_of(path)
        try:
            return load_file(path), sha256_of(path)
        except SafetensorError as damage:
            raise CheckpointError(f"{source} is damaged ({damage}): fetch it again") from damage


def _from_hub(model: PalsyViT) -> tuple[Mapping[str, Tensor], str] | str:
    if model.config.name is None:
        return "only an architecture with a name of timm's has weights there"
    import timm  # takes as much processor time as torch

    try:
        tensors = timm.create_model(model.config.name, pretrained=True).state_dict()
    except (OSError, RuntimeError):  # no network, none in the cache; timm's own word for "has none"
        return "the hub cannot be reached or has none, and none are in its cache"
    return tensors, sha256_of(save_tensors({key: tensor.contiguous() for key, tensor in tensors.items()}))


def _fitted(model: PalsyViT, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return tensors under timm's names and of the model's grid; the public layouts of CLIP, FaRL, DINO and MAE are known."""
    from timm.models import eva, vision_transformer

    if isinstance(model.vit, eva.Eva):
        with redirect_stdout(sys.stderr):  # timm prints every bias that DINOv3 leaves out
            return eva.checkpoint_filter_fn(dict(tensors), model.vit)
    return vision_transformer.checkpoint_filter_fn(dict(tensors), model.vit)


def _plain(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor]:
    for name in ("model", "state_dict"):
        inner = checkpoint.get(name)
        if isinstance(inner, Mapping):
            return inner
    return checkpoint


def _load_public(model: RegionModel, source: str, store: Store) -> list[str]:
    with tempfile.TemporaryDirectory() as work:
        path = _fetched(source, store, Path(work))
        if path is None:
            raise CheckpointError(f"there are no weights at {source}: bring the public checkpoint and give its path")
        held = read_public(path)
        if "g_ema" in held:
            load_stylegan2(model.generator, path)
        elif "interpreter" in held:
            load_fgnet(model, path)
        elif "latent_avg" in held:
            load_psp(model, path)
        else:
            known = "which is no checkpoint that we know: give StyleGAN2's, pSp's or FG-Net's"
            raise CheckpointError(f"{source} holds {', '.join(map(str, held))}, {known}")
        return [sha256_of(path)]


def _fetched(source: str, store: Store, work: Path) -> Path | None:
    if not source.startswith(IN_STORE):
        path = Path(source)
        return path if path.is_file() else None
    key = source.removeprefix(IN_STORE)
    try:
        return store.download(key, work / Path(key).name)
    except ObjectNotFoundError:
        return None
