"""Heatmaps are those of the reference, turn with the face, and give their labels back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitau.models.heatmaps import (
    decode,
    decode_sides,
    flip_landmarks,
    peaks,
    region_side_probability,
    right_side_probability,
    sided_heatmaps,
    sided_peaks,
    true_heatmaps,
)
from vitau.schema import AUS, MIRROR


@pytest.fixture(scope="module")
def faces(reference):
    """Landmarks and labels of the reference's three faces, and all its numbers."""
    numbers = reference.numbers("heatmaps")
    return torch.from_numpy(numbers["landmarks"]), torch.from_numpy(numbers["labels/DISFA"]), numbers


@pytest.mark.parametrize("size", [64, 128, 256])
def test_true_heatmaps_are_the_reference_s(size, faces):
    landmarks, affected, numbers = faces
    heatmaps = true_heatmaps(landmarks, affected, size=size, sigma=20)
    np.testing.assert_allclose(heatmaps[..., ::8, ::8], numbers[f"DISFA/{size}"], rtol=0, atol=1e-6)


def test_sigma_grows_with_the_size_unless_it_is_given(faces):
    landmarks, affected, _ = faces
    assert torch.equal(true_heatmaps(landmarks, affected, size=64), true_heatmaps(landmarks, affected, size=64, sigma=10))


@given(labels=st.lists(st.booleans(), min_size=8, max_size=8), size=st.sampled_from([32, 64, 128]))
def test_decoding_true_heatmaps_gives_the_labels_back(labels, size, faces):
    scores = decode(true_heatmaps(faces[0][:1], torch.tensor([labels]), size=size))
    assert (scores > 0).tolist() == [labels]


def test_an_unknown_region_has_an_empty_map(faces):
    affected = torch.full((3, 8), 0.5)
    assert true_heatmaps(faces[0], affected, size=32).abs().max() == 0


def test_the_mirror_is_its_own_inverse_and_keeps_the_midline():
    assert [MIRROR[i] for i in MIRROR] == list(range(68))
    assert [i for i in range(68) if MIRROR[i] == i] == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([32, 128]))
def test_heatmaps_of_a_mirrored_face_are_the_mirrored_heatmaps(seed, size):
    landmarks = torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(seed)) * 200 + 28
    affected = torch.rand(2, 8, generator=torch.Generator().manual_seed(seed)) > 0.5
    # a heatmap of half the crop's side has its middle half a pixel elsewhere, so mirror on the heatmap's own canvas
    mirrored = flip_landmarks(landmarks, size=256 - 256 // size + 1)
    turned = true_heatmaps(mirrored, affected, size=size)
    torch.testing.assert_close(turned, true_heatmaps(landmarks, affected, size=size).flip(-1), rtol=0, atol=0.0101)


def test_paired_peaks_change_places_in_a_mirrored_face(faces):
    before, after = peaks(faces[0]), peaks(flip_landmarks(faces[0]))
    for i, au in enumerate(AUS):
        order = [0, 1] if au == "AU25" else [1, 0]  # upper and lower lip stay; AU26's 56 and 58 are a pair
        torch.testing.assert_close(255 - before[:, i, order, 0], after[:, i, :, 0])
        torch.testing.assert_close(before[:, i, order, 1], after[:, i, :, 1])


def test_landmarks_of_another_kind_are_refused():
    with pytest.raises(
        ValueError, match=r"landmarks must be of shape \(B, 68, 2\), these are \(1, 5, 2\): give 68 points an image"
    ):
        true_heatmaps(torch.zeros(1, 5, 2), torch.zeros(1, 8))


def test_the_right_peaks_lie_on_the_right_of_the_person_who_is_on_the_left_of_the_image(faces):
    right, left = sided_peaks(faces[0]).unbind(2)
    assert (right[..., 0] < left[..., 0]).all()
    for i, au in enumerate(AUS):
        if au != "AU25":  # its paired peaks are the lips
            torch.testing.assert_close(sided_peaks(faces[0])[:, i].sum(1), peaks(faces[0])[:, i].sum(1))


@given(sides=st.lists(st.booleans(), min_size=16, max_size=16), size=st.sampled_from([16, 32, 128]))
def test_decoding_sided_heatmaps_gives_both_sides_back(sides, size, faces):
    sided = torch.tensor(sides).view(1, 8, 2)
    assert torch.equal(decode_sides(sided_heatmaps(faces[0][:1], sided, size=size)) > 0, sided)


@given(seed=st.integers(0, 2**32 - 1))
def test_sides_change_places_in_a_mirrored_face(seed, faces):
    sided = torch.rand(3, 8, 2, generator=torch.Generator().manual_seed(seed)) > 0.5
    mirrored = flip_landmarks(faces[0], size=255)  # the middle of a heatmap of 128
    turned = sided_heatmaps(mirrored, sided.flip(-1), size=128)
    torch.testing.assert_close(turned, sided_heatmaps(faces[0], sided, size=128).flip(-1), rtol=0, atol=0.0101)


def test_sides_that_agree_are_the_paired_heatmaps(faces):
    affected = torch.rand(3, 8, generator=torch.Generator().manual_seed(0)) > 0.5
    paired = true_heatmaps(faces[0], affected)
    sided = sided_heatmaps(faces[0], affected[..., None].expand(-1, -1, 2))
    others = [i for i, au in enumerate(AUS) if au != "AU25"]
    torch.testing.assert_close(sided[:, others], paired[:, others])


def test_probabilities_of_sides_rise_with_the_scores():
    scores = torch.tensor([[[0.1, -0.1]] * 8, [[-0.1, -0.1]] * 8, [[-0.3, 0.2]] * 8])
    right = right_side_probability(scores, 10.0)
    torch.testing.assert_close(right, torch.sigmoid(torch.tensor([2.0, 0.0, -5.0])))
    threshold = torch.linspace(-0.1, 0.1, 8)
    sides = region_side_probability(scores, threshold, 10.0, 30.0)
    torch.testing.assert_close(sides.sum(-1), torch.sigmoid(10 * (scores.amax(-1) - threshold)))
    torch.testing.assert_close(sides[..., 0] / sides.sum(-1), torch.sigmoid(30 * (scores[..., 0] - scores[..., 1])))
    torch.testing.assert_close(region_side_probability(scores, threshold, 10.0, None), torch.sigmoid(10 * scores))
