"""Crops become inputs the same way everywhere."""

import numpy as np
import pytest
import torch

from vitau.models.inputs import to_device, to_input, to_pixels


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_black_and_white_span_the_range_and_rows_stay_rows(kind):
    crop = np.zeros((1, 256, 256, 3), np.uint8)
    crop[:, :128, :, 0] = 255
    x = to_input(kind(crop), 64)
    assert x.shape == (1, 3, 64, 64)
    assert x.dtype == torch.float32
    assert x[0, 0, :30].min() == 1
    assert x[0, 0, 34:].max() == -1
    assert x[0, 1:].max() == -1


def test_resizing_averages_instead_of_picking():
    stripes = np.zeros((1, 256, 256, 3), np.uint8)
    stripes[:, :, ::4] = 255
    inner = to_input(stripes, 64)[..., 1:-1]  # at the border the filter is cut off
    torch.testing.assert_close(inner, torch.full_like(inner, -0.5), rtol=0, atol=0.01)


def test_a_crop_of_the_right_size_keeps_its_values():
    crop = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    torch.testing.assert_close(to_input(crop, 64), torch.from_numpy(crop).permute(0, 3, 1, 2) / 127.5 - 1, check_stride=False)


def test_other_arrays_are_refused():
    expected = r"crops must be uint8 of shape \(N, S, S, 3\), these are torch.float32 of shape \(3, 64, 64\): stack"
    with pytest.raises(ValueError, match=expected):
        to_input(torch.zeros(3, 64, 64), 64)


def test_a_small_input_is_the_same_whether_crops_were_kept_small_or_not():
    """Training keeps small crops as whole numbers; scoring gets whole crops."""
    crop = np.random.default_rng(1).integers(0, 256, (8, 256, 256, 3), dtype=np.uint8)
    kept = to_pixels(to_input(crop, 64)).byte().permute(0, 2, 3, 1)
    assert torch.equal(to_input(kept, 64), to_input(crop, 64))
    whole = (to_input(crop, 64) + 1) * 127.5
    torch.testing.assert_close(whole, whole.round(), rtol=0, atol=1e-4)
    larger = (to_input(crop, 128) + 1) * 127.5
    assert (larger - larger.round()).abs().max() > 0.4, "a larger input is not kept, and not rounded"


def test_an_array_is_not_copied_to_the_processor():
    crop = np.zeros((1, 2, 2, 3), np.uint8)
    assert np.shares_memory(to_device(crop, torch.device("cpu")).numpy(), crop)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gets_the_values_of_an_array():
    crop = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    found = to_device(crop, torch.device("cuda"))
    assert found.device.type == "cuda"
    assert np.array_equal(found.cpu().numpy(), crop)
