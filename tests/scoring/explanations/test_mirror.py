import pytest
import torch

from vitau.models.vit import ViTConfig, build_vit
from vitau.scoring.explanations.mirror import NUM_CELLS, mirror_occlusion


class Bright(torch.nn.Module):
    """A model whose only evidence of a palsy is what is bright; it knows no place."""

    def forward(self, crop_BCHW):
        bright_B = (crop_BCHW - 0.6).relu().sum((1, 2, 3))
        return torch.stack([torch.zeros_like(bright_B), bright_B], dim=1)


def gray_face(size=64):
    return torch.zeros(1, 3, size, size)


@pytest.mark.parametrize(("cell", "size"), [((4, 3), 64), ((11, 12), 64), ((1, 9), 64), ((9, 3), 100)])
def test_the_map_has_its_maximum_where_the_evidence_lies(cell, size):
    crop, (row, column), edge = gray_face(size), cell, size / NUM_CELLS
    crop[:, :, round(row * edge) : round((row + 1) * edge), round(column * edge) : round((column + 1) * edge)] = 1.0
    (cell_GG,) = mirror_occlusion(Bright().eval(), crop)
    assert cell_GG.shape == (NUM_CELLS, NUM_CELLS)
    assert cell_GG[row, column] == cell_GG.max() > 0
    elsewhere = cell_GG.clone()
    elsewhere[max(row - 1, 0) : row + 2, column - 1 : column + 2] = 0  # the windows of 3 cells that contain it
    assert elsewhere.max() == 0


def test_a_symmetric_face_has_no_evidence():
    crop = gray_face()
    crop[:, :, 16:24, 20:28] = crop[:, :, 16:24, 36:44] = 1.0
    assert mirror_occlusion(Bright().eval(), crop).max() == 0


def test_a_window_that_makes_a_palsy_more_likely_is_no_evidence():
    crop = gray_face()
    crop[:, :, 16:20, 8:12] = 1.0
    (cell_GG,) = mirror_occlusion(Bright().eval(), crop)
    assert cell_GG[:, 8:].max() == 0, "there the mirrored picture adds the bright place a second time"


def test_the_fall_is_that_of_the_difference_between_the_classes():
    torch.manual_seed(0)
    model, crop = build_vit(ViTConfig(input_size=32, patch_size=8, width=16, depth=1, heads=2)).eval(), torch.rand(2, 3, 32, 32)
    torch.nn.init.normal_(model.vit.head.weight)
    shown = mirror_occlusion(model, crop)
    torch.testing.assert_close(mirror_occlusion(model, crop[1:])[0], shown[1], rtol=0, atol=1e-5)
    row, column = divmod(int(shown[0].argmax()), NUM_CELLS)
    window = ..., slice(2 * row - 2, 2 * row + 4), slice(2 * column - 2, 2 * column + 4)
    changed = crop[:1].clone()
    changed[window] = crop[:1].flip(-1)[window]
    with torch.inference_mode():
        before, after = (model(images)[0] for images in (crop[:1], changed))
    fall = (before[1] - before[0]) - (after[1] - after[0])
    assert fall > 0
    torch.testing.assert_close(shown[0, row, column], fall, rtol=0, atol=1e-5)


def test_training_mode_is_refused():
    with pytest.raises(ValueError, match=r"^an explanation by a model in training mode changes at random: call model.eval"):
        mirror_occlusion(Bright().train(), gray_face())
