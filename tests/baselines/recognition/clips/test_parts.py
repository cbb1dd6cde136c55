import pytest
import torch

from vitau.baselines.recognition.clips.parts import PartEncoder, cut_parts, part_centers


@pytest.fixture
def landmarks():
    """Eye centers at (78, 100) and (178, 100), 100 px apart, and the mouth at (128, 190)."""
    points = torch.zeros(1, 68, 2)
    points[0, 36:42], points[0, 42:48], points[0, 48:] = (
        torch.tensor(place) for place in ((78.0, 100.0), (178.0, 100.0), (128.0, 190.0))
    )
    return points


def test_parts_lie_where_the_eyes_and_the_mouth_are(landmarks):
    centers, sides = part_centers(landmarks)
    assert centers[0].tolist() == [[78, 88], [178, 88], [98, 190], [158, 190]]
    assert sides[0].tolist() == pytest.approx([100, 100, 80, 80])


def test_a_part_shows_its_pixels_at_any_size_of_the_image(landmarks):
    x = torch.arange(256.0).expand(256, 256)
    ramp = torch.stack([x, x.T])[None]
    right = cut_parts(ramp, landmarks, 50)[0, 0]  # 28 to 128 across, 38 to 138 down, 2 px each
    assert right[0, 0].tolist() == pytest.approx([28 + 1 + 2 * step for step in range(50)], abs=1e-3)
    assert right[1, :, 0].tolist() == pytest.approx([38 + 1 + 2 * step for step in range(50)], abs=1e-3)
    halved = torch.nn.functional.avg_pool2d(ramp, 2)
    assert torch.allclose(cut_parts(halved, landmarks, 50)[0, 0], right, atol=1e-2)


def test_parts_of_the_left_side_are_mirrored(landmarks):
    ramp = torch.arange(256.0).expand(1, 1, 256, 256)
    right_eye, left_eye, right_mouth, left_mouth = cut_parts(ramp, landmarks, 10)[0, :, 0, 0]
    assert left_eye.tolist() == pytest.approx((256 - right_eye).tolist(), abs=1e-3)
    assert left_mouth.tolist() == pytest.approx((256 - right_mouth).tolist(), abs=1e-3)


def test_a_symmetric_face_has_no_differences(landmarks):
    face = torch.randn(1, 3, 256, 256)
    # the eyes are symmetric about the center of column 128, so that column 0 has no partner
    face[..., 1:] = (face[..., 1:] + face[..., 1:].flip(3)) / 2
    encoder = PartEncoder(16, (8, 8, 8, 8)).eval()
    features = encoder(face, landmarks)
    assert features.shape == (1, 48)
    pairs = features.view(2, 3, 8)
    assert torch.allclose(pairs[:, 0], pairs[:, 1], atol=1e-4)
    assert pairs[:, 2].max() < 1e-4
    changed = face.clone()
    changed[..., 60:90, 60:90] += 3  # the right eye only
    eyes, mouth = encoder(changed, landmarks).view(2, 3, 8)
    assert torch.allclose(eyes[2], (eyes[1] - eyes[0]).abs())
    assert eyes[2].max() > 1e-3
    assert torch.allclose(mouth, pairs[1])
