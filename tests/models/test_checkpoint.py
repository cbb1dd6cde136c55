"""Models come back from their folder as they were, and weights that do not fit are named."""

import json
from dataclasses import replace

import pytest
import torch

from vitau.errors import CheckpointError
from vitau.models.checkpoint import load_fgnet, load_model, load_psp, load_stylegan2, model_digest, save_model
from vitau.models.regions import build_regions
from vitau.models.vit import ViTConfig, build_vit

SMALL_VIT = ViTConfig(input_size=32, patch_size=8, width=16, depth=2, heads=2, stem="conv")
WHOLE = "it belongs to another model or configuration"


@pytest.fixture
def regions(small_regions):
    return build_regions(replace(small_regions, num_outputs=32, latent_route="mapping"))


def fresh(module):
    """Other weights of the same layout."""
    return {
        key: torch.randn_like(tensor) if tensor.is_floating_point() else tensor for key, tensor in module.state_dict().items()
    }


@pytest.mark.parametrize("kind", ["palsy", "regions"])
def test_a_model_comes_back_as_it_was_with_its_card(kind, small_regions, tmp_path):
    config = SMALL_VIT if kind == "palsy" else small_regions
    model = build_vit(config) if kind == "palsy" else build_regions(config)
    save_model(tmp_path / "model", model, config, threshold=0.25, synthetic=True)
    loaded, card = load_model(tmp_path / "model")
    crop = torch.randn(2, 3, loaded.input_size, loaded.input_size)
    assert torch.equal(loaded(crop), model.eval()(crop))
    assert loaded.config == config
    assert not loaded.training
    assert (card["kind"], card["threshold"], card["synthetic"]) == (kind, 0.25, True)


def test_the_digest_is_that_of_weights_and_card(tmp_path):
    model = build_vit(SMALL_VIT)
    first = save_model(tmp_path / "a", model, SMALL_VIT, threshold=0.5)
    assert first == save_model(tmp_path / "b", model, SMALL_VIT, threshold=0.5) == model_digest(tmp_path / "a")
    assert len(first) == 64
    assert first != save_model(tmp_path / "c", model, SMALL_VIT, threshold=0.6)
    model.vit.cls_token.data += 1
    assert first != save_model(tmp_path / "d", model, SMALL_VIT, threshold=0.5)


def test_a_folder_without_a_model_says_what_is_missing(tmp_path):
    with pytest.raises(CheckpointError, match=rf"^{tmp_path} has no model.json: give the folder that save_model wrote$"):
        load_model(tmp_path)


def test_damaged_weights_are_refused(tmp_path):
    save_model(tmp_path, build_vit(SMALL_VIT), SMALL_VIT)
    (tmp_path / "weights.safetensors").write_bytes((tmp_path / "weights.safetensors").read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"^the model in .* is damaged \(.*\): fetch it again$"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "gait"}, r"model.json names no kind that we know \(palsy, regions\): update vitau or fetch it again$"),
        ({"config": {"dept": 2}}, r"model.json has a configuration that we cannot build \(.*'dept'.*\): update vitau$"),
        (
            {"config": {"depth": True}},
            r"a configuration that we cannot build \(depth is True, and no whole number\): update vitau$",
        ),
        ({"config": {"input_size": 30}}, r"has a configuration that we cannot build \(patches of 16 px .*\): update vitau$"),
    ],
)
def test_a_card_that_we_cannot_build_is_refused(change, message, tmp_path):
    save_model(tmp_path, build_vit(SMALL_VIT), SMALL_VIT)
    card = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(card | change))
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path)


def test_a_public_stylegan2_loads_by_name(regions, tmp_path):
    weights = fresh(regions.generator)
    torch.save({"g_ema": weights, "latent_avg": torch.zeros(32)}, tmp_path / "g.pt")
    load_stylegan2(regions.generator, tmp_path / "g.pt")
    assert all(torch.equal(tensor, weights[key]) for key, tensor in regions.generator.state_dict().items())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.pop("conv1.activate.bias"), f"lacks the key conv1.activate.bias: {WHOLE}"),
        (
            lambda state: state.update(stranger=torch.zeros(1), other=torch.zeros(1)),
            f"has the unknown key stranger and 1 more: {WHOLE}",
        ),
        (
            lambda state: state.update({"conv1.activate.bias": torch.zeros(3)}),
            rf"has the misshapen key conv1.activate.bias, \(3,\) for \(12,\): {WHOLE}",
        ),
    ],
    ids=["missing", "extra", "misshapen"],
)
def test_a_key_that_does_not_fit_is_named_and_nothing_is_loaded(spoil, message, regions, tmp_path):
    weights, before = fresh(regions.generator), {key: tensor.clone() for key, tensor in regions.generator.state_dict().items()}
    spoil(weights)
    torch.save({"g_ema": weights}, tmp_path / "g.pt")
    with pytest.raises(CheckpointError, match=rf"^g_ema of {tmp_path}/g.pt {message}$"):
        load_stylegan2(regions.generator, tmp_path / "g.pt")
    assert all(torch.equal(tensor, before[key]) for key, tensor in regions.generator.state_dict().items())


@pytest.mark.parametrize("shape", [(8,), (1, 8), (8, 8)])
def test_a_public_psp_loads_encoder_decoder_and_average_latent(shape, regions, tmp_path):
    encoder, decoder, average = fresh(regions.encoder), fresh(regions.generator), torch.randn(shape)
    state = {f"encoder.{key}": v for key, v in encoder.items()} | {f"decoder.{key}": v for key, v in decoder.items()}
    torch.save({"state_dict": state, "latent_avg": average, "opts": {"output_size": 32}}, tmp_path / "psp.pt")
    load_psp(regions, tmp_path / "psp.pt")
    assert torch.equal(regions.encoder.latlayer1.weight, encoder["latlayer1.weight"])
    assert torch.equal(regions.generator.input.input, decoder["input.input"])
    assert torch.equal(regions.latent_avg, average.expand(8, 8))


def test_a_psp_without_its_average_latent_is_refused(regions, tmp_path):
    state = {f"encoder.{key}": v for key, v in regions.encoder.state_dict().items()}
    state |= {f"decoder.{key}": v for key, v in regions.generator.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "psp.pt")
    with pytest.raises(CheckpointError, match=r"latent_avg of .* is missing for \(8, 8\): it belongs to another model$"):
        load_psp(regions, tmp_path / "psp.pt")


def test_fg_net_s_own_checkpoint_loads(regions, tmp_path):
    parts = {"interpreter": regions.interpreter, "g_all": regions.generator, "pspencoder": regions.encoder}
    weights = {name: fresh(module) for name, module in parts.items()}
    torch.save(weights, tmp_path / "fgnet.pt")
    load_fgnet(regions, tmp_path / "fgnet.pt")
    for name, module in parts.items():
        assert all(torch.equal(tensor, weights[name][key]) for key, tensor in module.state_dict().items())


class Intruder:
    def __reduce__(self):
        return print, ("a checkpoint must not run code",)


def test_a_checkpoint_that_wants_to_run_code_is_refused(regions, tmp_path, capsys):
    torch.save({"g_ema": Intruder()}, tmp_path / "g.pt")
    with pytest.raises(CheckpointError, match=r"g.pt is not a checkpoint of plain tensors: fetch the public file again$"):
        load_stylegan2(regions.generator, tmp_path / "g.pt")
    assert capsys.readouterr().out == ""


def test_a_checkpoint_of_another_kind_and_a_missing_one_are_refused(regions, tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "g.pt")
    with pytest.raises(CheckpointError, match=r"g.pt has no g_ema, only state_dict: it is another kind of checkpoint$"):
        load_stylegan2(regions.generator, tmp_path / "g.pt")
    with pytest.raises(
        CheckpointError, match=r"there are no weights at .*none.pt: bring the public checkpoint and give its path$"
    ):
        load_stylegan2(regions.generator, tmp_path / "none.pt")
