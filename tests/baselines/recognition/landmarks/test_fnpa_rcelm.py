import numpy as np

from vitau.baselines.recognition.landmarks.fnpa_rcelm import FnpaRcelm, gradient_features, part_box


def test_a_part_is_its_landmarks_with_a_margin_within_the_image():
    points = np.array([[64.0, 32.0], [128.0, 72.0]])  # in a crop of 256: at 128 px half of it, margin 15 %
    assert part_box(points, 128) == (27, 13, 69, 39)
    assert part_box(points - (80, 0), 128) == (0, 13, 29, 39)
    assert part_box(np.full((3, 2), 500.0), 128) == (126, 126, 128, 128)


def test_features_are_the_gradients_of_face_eyes_and_mouth(eight_people):
    features = gradient_features(eight_people, np.array([0, 3]))
    assert features.shape == (2, 1764 + 756 + 756)
    painted = eight_people.with_pixels([eight_people.pixels(np.arange(len(eight_people))).copy()])
    left, top, right, bottom = part_box(painted.landmarks_NL2[0, 48:], 96)
    painted.pixels_MSS3[0, top:bottom, left:right] = 90
    changed = ~np.isclose(gradient_features(painted, np.array([0]))[0], features[0])
    assert changed[:1764].any()
    assert not changed[1764:2520].any()
    assert changed[2520:].any()


def test_it_learns_eight_people(check_learning):
    assert check_learning(FnpaRcelm(), epochs=8, width=0.2, at_least=0.7).num_parameters == 200
