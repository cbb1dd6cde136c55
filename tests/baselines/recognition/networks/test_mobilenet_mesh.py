from dataclasses import replace

import numpy as np
import torch
from scipy.spatial import ConvexHull

from vitau.baselines.fitting import FrameItems, Settings
from vitau.baselines.recognition.networks import mobilenet_mesh as module
from vitau.baselines.recognition.networks.mobilenet_mesh import draw_mesh, mesh_edges, mesh_of, mesh_template, mobilenet_mesh


def test_the_edges_are_a_triangulation_of_all_points():
    edges = mesh_edges()
    assert set(edges.ravel().tolist()) == set(range(68))
    assert (edges[:, 0] < edges[:, 1]).all()
    assert len(np.unique(edges, axis=0)) == len(edges)
    # Euler: a triangulation of n points, h of them on the hull, has 3n − 3 − h edges
    assert len(edges) == 3 * 68 - 3 - len(ConvexHull(mesh_template()).vertices)


def test_a_line_runs_from_point_to_point_at_the_scale_of_the_image(monkeypatch):
    monkeypatch.setattr(module, "mesh_edges", lambda: np.array([[0, 1]]))
    points = np.zeros((68, 2), np.float32)
    points[0], points[1] = (31.5, 63.5), (191.5, 63.5)  # at a quarter of the size: x 7.5 to 47.5, y 15.5
    image = draw_mesh(points, 64)
    row, column = np.nonzero(image > 60)
    assert set(row.tolist()) == {15, 16}
    assert 7 <= column.min() <= 8
    assert 47 <= column.max() <= 48


def test_skin_and_background_do_not_count(eight_people):
    batch = FrameItems(eight_people, 32, "cpu").batch(np.arange(3))
    black = replace(batch, crop_BCHW=torch.zeros_like(batch.crop_BCHW))
    assert torch.equal(mesh_of(batch), mesh_of(black))
    assert mesh_of(batch).shape == (3, 3, 32, 32)
    assert mesh_of(batch).min() == -1
    assert mesh_of(batch).max() > 0.5


def test_it_learns_eight_people(check_learning, few_frames):
    check_learning(replace(mobilenet_mesh(), settings=Settings(lr=3e-3)), epochs=15, image_px=32, at_least=0.7, **few_frames)
