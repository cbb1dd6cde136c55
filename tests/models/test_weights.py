"""Weights of the user's own are found where the user says, fit or are refused by name, and are never run as code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from vitau.errors import CheckpointError
from vitau.models.regions import build_regions
from vitau.models.vit import ViTConfig, build_vit
from vitau.models.weights import bring_weights, find_weights
from vitau.store import open_store, sha256_of

NAME = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """A file as timm publishes it: 224 px, a thousand classes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    save_file(timm.create_model(NAME).state_dict(), path)
    return path


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def vit():
    torch.manual_seed(1)
    return build_vit(ViTConfig(name=NAME, input_size=256))


def test_a_file_of_another_size_is_resampled_as_timm_does_and_the_head_stays(public, store, vit):
    head = vit.vit.head.weight.clone()
    assert bring_weights(vit, [str(public)], store) == [sha256_of(public)]
    assert torch.equal(vit.vit.head.weight, head)
    reference = timm.create_model(
        NAME, img_size=256, num_classes=2, pretrained_cfg_overlay={"file": str(public)}, pretrained=True
    )
    theirs = reference.state_dict()
    assert all(torch.equal(theirs[key], own) for key, own in vit.vit.state_dict().items() if not key.startswith("head."))


def test_the_first_source_that_is_there_is_taken(public, store, vit, tmp_path):
    store.put("weights/vit.safetensors", public)
    sources = [str(tmp_path / "nothing.pth"), "store:weights/other", "store:weights/vit.safetensors", "hub"]
    assert bring_weights(vit, sources, store) == [sha256_of(public)]


def test_without_weights_and_network_one_sentence_says_what_was_tried(tmp_path):
    code = f"""
from vitau.models.vit import ViTConfig, build_vit
from vitau.models.weights import bring_weights, find_weights
from vitau.store import open_store
try:
    bring_weights(build_vit(ViTConfig(name="{NAME}")), ["here.pth", "store:there", "hub"], open_store("store"))
except Exception as error:
    print(type(error).__name__, error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(tmp_path / "hub"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    tried = "here.pth (there is no such file), store:there (there is no such object), hub (the hub cannot be reached"
    assert ran.stdout.startswith(f"CheckpointError no weights for {NAME} at {tried}")
    assert "give its path or put it into the store" in ran.stdout


def test_weights_of_another_shape_are_refused_by_key(public, store, vit, tmp_path):
    wide = build_vit(ViTConfig(name="vit_small_patch16_224", input_size=224))
    with pytest.raises(CheckpointError, match=r"has the misshapen key cls_token, \(1, 1, 192\) for \(1, 1, 384\)"):
        bring_weights(wide, [str(public)], store)
    short = dict(timm.create_model(NAME).state_dict())
    del short["blocks.3.attn.qkv.weight"]
    torch.save(short, tmp_path / "short.pth")
    with pytest.raises(CheckpointError, match=r"lacks the key blocks\.3\.attn\.qkv\.weight"):
        bring_weights(vit, [str(tmp_path / "short.pth")], store)


def public_layouts():
    """Return the public layouts of backbones: name of timm's architecture, and the state dict under its authors' names."""
    mae = {key: value for key, value in small("vit_tiny_patch16_224").items() if not key.startswith("head.")}
    yield "MAE", "vit_tiny_patch16_224", {"model": mae}
    dino = {key: value for key, value in small("vit_small_patch14_dinov2", 56).items() if not key.startswith("head.")}
    yield "DINOv2", "vit_small_patch14_dinov2", dino | {"mask_token": torch.zeros(1, 384)}
    renamed = {"gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma", "reg_token": "storage_tokens"}
    third = {}
    for key, value in small("vit_small_patch16_dinov3").items():
        for ours, theirs in renamed.items():
            key = key.replace(ours, theirs)  # noqa: PLW2901 - renamed step by step
        if not key.startswith("head."):
            third[key] = value
    third |= {f"blocks.{block}.attn.qkv.bias": torch.zeros(3 * 384) for block in range(12)}
    yield (
        "DINOv3",
        "vit_small_patch16_dinov3",
        third | {"mask_token": torch.zeros(1, 384), "rope_embed.periods": torch.ones(16)},
    )
    swaps = (
        *(("patch_embed.proj", "conv1"), ("pos_embed", "positional_embedding"), ("blocks.", "transformer.resblocks.")),
        *(
            ("norm_pre", "ln_pre"),
            (".norm1", ".ln_1"),
            (".norm2", ".ln_2"),
            ("qkv.", "in_proj_"),
            ("attn.proj", "attn.out_proj"),
        ),
        *(("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"), ("cls_token", "class_embedding")),
    )
    clip = {}
    for key, value in small("vit_base_patch16_clip_quickgelu_224").items():
        if key.startswith("head."):
            continue
        named = "ln_post" + key.removeprefix("norm") if key.startswith("norm.") else key
        for ours, theirs in swaps:
            named = named.replace(ours, theirs)
        clip[f"visual.{named}"] = value.squeeze() if named in {"class_embedding", "positional_embedding"} else value
    yield "FaRL", "vit_base_patch16_clip_quickgelu_224", {"state_dict": clip | {"logit_scale": torch.ones(())}}


def small(name, size=64):
    torch.manual_seed(0)
    return timm.create_model(name, img_size=size).state_dict()


@pytest.mark.parametrize(("name", "checkpoint"), [pytest.param(name, held, id=who) for who, name, held in public_layouts()])
def test_the_public_layouts_of_backbones_load_whole(name, checkpoint, store, tmp_path, capsys):
    torch.save(checkpoint, tmp_path / "public.pth")
    torch.manual_seed(1)
    size = 56 if "patch14" in name else 64
    model = build_vit(ViTConfig(name=name, input_size=size))
    assert bring_weights(model, [str(tmp_path / "public.pth")], store) == [sha256_of(tmp_path / "public.pth")]
    theirs = small(name, size)
    assert all(torch.equal(theirs[key], own) for key, own in model.vit.state_dict().items() if not key.startswith("head."))
    assert capsys.readouterr().out == "", "stdout belongs to data"


def test_weights_are_found_by_their_digest_before_anything_is_loaded(public, store, tmp_path):
    store.put("weights/vit.safetensors", public)
    digest, nothing = sha256_of(public), str(tmp_path / "nothing.pth")
    there = ["store:weights/vit.safetensors", str(public)]
    assert find_weights([nothing, *there, "hub"], store, recognition=True) == [digest]
    assert find_weights(there, store, recognition=False) == [digest, digest]
    (tmp_path / "store" / "weights" / "by-hand.pth").write_bytes(b"copied here without a digest")
    assert find_weights(["store:weights/by-hand.pth"], store, recognition=False) == [sha256_of(b"copied here without a digest")]
    assert find_weights(["hub"], store, recognition=True) == ["hub"]
    with pytest.raises(CheckpointError, match="there are no weights at store:weights/other: give the path"):
        find_weights([*there, "store:weights/other"], store, recognition=False)
    with pytest.raises(CheckpointError, match=r"there are no weights at .*nothing\.pth: give the path"):
        find_weights([nothing], store, recognition=True)


def test_a_region_model_takes_every_public_checkpoint_it_is_given(small_regions, store, tmp_path):
    torch.manual_seed(0)
    theirs, ours = build_regions(small_regions), build_regions(small_regions)
    state = {f"encoder.{key}": tensor for key, tensor in theirs.encoder.state_dict().items()}
    state |= {f"decoder.{key}": tensor for key, tensor in theirs.generator.state_dict().items()}
    torch.save({"state_dict": state, "latent_avg": torch.ones(8), "opts": {}}, tmp_path / "psp.pt")
    other = {key: tensor + 1 for key, tensor in theirs.generator.state_dict().items()}
    torch.save({"g_ema": other}, tmp_path / "stylegan2.pt")
    digests = bring_weights(ours, [str(tmp_path / "psp.pt"), str(tmp_path / "stylegan2.pt")], store)
    assert digests == [sha256_of(tmp_path / "psp.pt"), sha256_of(tmp_path / "stylegan2.pt")]
    assert torch.equal(ours.latent_avg, torch.ones_like(ours.latent_avg))
    assert all(torch.equal(tensor, other[key]) for key, tensor in ours.generator.state_dict().items())
    torch.save({"weights": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="holds weights, which is no checkpoint that we know"):
        bring_weights(ours, [str(tmp_path / "other.pt")], store)
    with pytest.raises(CheckpointError, match=r"there are no weights at nowhere\.pt"):
        bring_weights(ours, ["nowhere.pt"], store)
