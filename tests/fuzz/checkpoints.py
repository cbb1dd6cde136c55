"""Readers of models and of public checkpoints."""

import io
import json
import random
import struct
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import torch

from tests.fuzz.mutations import NUMBERS, mutate, mutate_json
from vitau.models.checkpoint import CARD, WEIGHTS, load_model, read_public, save_model
from vitau.models.encoder import EncoderConfig
from vitau.models.generator import GeneratorConfig
from vitau.models.regions import RegionConfig, build_regions
from vitau.models.vit import ViTConfig, build_vit


@cache
def _saved(regions: bool) -> tuple[bytes, bytes]:
    """Return the weights and the card of a small model."""
    torch.manual_seed(0)  # the same inputs in every process
    config: ViTConfig | RegionConfig = ViTConfig(input_size=32, patch_size=16, width=16, depth=1, heads=2)
    if regions:
        generator = GeneratorConfig(size=8, style_dim=8, mapping_layers=1, channel_multiplier=1 / 64, max_channels=8)
        encoder = EncoderConfig(input_size=32, units=(1, 1, 1, 1), widths=(4, 4, 8, 8), style_dim=8, num_styles=4)
        config = RegionConfig(encoder=encoder, generator=generator, heatmap_size=8, sigma=2.0)
    model = build_vit(config) if isinstance(config, ViTConfig) else build_regions(config)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_model(folder, model, config)
        return (folder / WEIGHTS).read_bytes(), (folder / CARD).read_bytes()


def run_checkpoint(data: bytes, folder: Path) -> Iterable[str]:
    """Read the bytes by the first of them: weights (W, V), a card (C, R), or a file of ``torch.save`` (P)."""
    kind, data = data[:1], data[1:]
    if kind == b"P":
        (folder / "public.pt").write_bytes(data)
        read_public(folder / "public.pt")
        return ()
    weights, card = _saved(kind in {b"V", b"R"})
    (folder / WEIGHTS).write_bytes(data if kind in {b"W", b"V"} else weights)
    (folder / CARD).write_bytes(data if kind in {b"C", b"R"} else card)
    load_model(folder)
    return ()


@cache
def checkpoint_seeds() -> Sequence[bytes]:
    """Return weights and cards of both kinds of model, and public checkpoints in both formats of PyTorch."""
    (weights, card), (region_weights, region_card) = _saved(regions=False), _saved(regions=True)
    zipped, legacy = io.BytesIO(), io.BytesIO()
    state = {"state_dict": {"a": torch.zeros(2)}, "latent_avg": torch.zeros(4), "note": "x"}
    torch.save(state, zipped)
    torch.save(state, legacy, _use_new_zipfile_serialization=False)
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    small = struct.pack("<Q", len(header)) + header + b"\0" * 4
    timm = json.dumps({"kind": "palsy", "config": {**json.loads(card)["config"], "name": "vit_tiny_patch16_224"}}).encode()
    defaults = json.dumps({"kind": "regions", "config": {"encoder": {}, "generator": {}}}).encode()
    cards = (b"C" + card, b"C" + card, b"R" + region_card, b"R" + region_card, b"C" + timm, b"R" + defaults)
    headers = (b"W" + small, b"W" + weights, b"V" + region_weights) * 10
    return (*cards, *headers, *(kind + file.getvalue() for kind in [b"P"] * 10 for file in (zipped, legacy)))


def mutate_checkpoint(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return a checkpoint with a changed header of the right length, a changed card, or a changed member of its archive."""
    seed = rng.choice(seeds)
    kind, data = seed[:1], seed[1:]
    tokens = (b'"shape"', b'"F64"', b'"BOOL"', b"PK", *NUMBERS)
    if rng.random() < 0.3:
        return kind + mutate(rng, [data], tokens)
    if kind in {b"C", b"R"}:
        return kind + mutate_json(rng, [data])
    if kind in {b"W", b"V"}:
        (size,) = struct.unpack("<Q", data[:8])
        header = mutate_json(rng, [data[8 : 8 + size]]) if rng.random() < 0.8 else mutate(rng, [data[8 : 8 + size]], tokens)
        return kind + struct.pack("<Q", len(header)) + header + data[8 + size :]
    if not data.startswith(b"PK"):
        return kind + mutate(rng, [data], tokens)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as changed:
        for member in archive.namelist():
            content = archive.read(member)
            changed.writestr(
                member, mutate(rng, [content], (b"cos\nsystem\n", b"ctorch\nTensor\n", b".")) if rng.random() < 0.4 else content
            )
    return kind + out.getvalue()
