"""MobileNetV2 on a drawing of the mesh of facial landmarks.

Z. M. Baig and D. van der Haar, *Facial paralysis recognition using face mesh-based learning*, International Conference on
Pattern Recognition Applications and Methods, 2023.

The authors': the mesh of a face's landmarks is drawn as lines, and a MobileNetV2 classifies the drawing, so that neither skin
nor background counts. Their mesh has 468 points, and they add people of other data sets. Ours: fixed Delaunay triangles of
dlib's 68 points, white on black, 224 px, timm's ``mobilenetv2_100`` with fresh weights, AdamW at 1e-4. Weights, and meshes of
468 points, may be brought.

Axes: B images, L landmarks, E edges.
"""

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import timm
import torch
from numpy.typing import NDArray
from scipy.spatial import Delaunay
from torch import Tensor
from torch.nn import functional

from vitau.baselines.fitting import FrameMethod, Settings
from vitau.media.synthetic.drawing import draw_landmarks
from vitau.media.synthetic.people import draw_person
from vitau.schema import CROP_SIZE
from vitau.training.tasks import Batch

_TEMPLATE_PEOPLE: Final = 32
_FRACTION_BITS: Final = 4


def mobilenet_mesh() -> FrameMethod:
    """Return the method."""
    return FrameMethod(
        name="mobilenet-mesh",
        title="MobileNetV2 on mesh, 68 points",
        task="palsy",
        image_px=224,
        build=lambda _budget, _image_px: timm.create_model("mobilenetv2_100", pretrained=False, num_classes=2),
        objective=lambda network, batch: functional.cross_entropy(network(mesh_of(batch)), batch.palsied_B.long()),
        read=lambda network, batch: network(mesh_of(batch)).softmax(1)[:, 1],
        settings=Settings(lr=1e-4),
    )


def mesh_template() -> NDArray[np.float64]:
    """Return the mean resting face (68, 2) of drawn controls."""
    people = [draw_person(0, index, palsied=False) for index in range(_TEMPLATE_PEOPLE)]
    template_L2: NDArray[np.float64] = np.mean([draw_landmarks(person, "rest", 0.0) for person in people], axis=0)
    return template_L2


@lru_cache(maxsize=1)
def mesh_edges() -> NDArray[np.int64]:
    """Return the edges (E, 2) of the Delaunay triangles of :func:`mesh_template`, sorted."""
    triangles = Delaunay(mesh_template()).simplices
    edges = np.sort(np.concatenate([triangles[:, pair] for pair in ([0, 1], [1, 2], [0, 2])]), axis=1)
    unique_E2: NDArray[np.int64] = np.unique(edges, axis=0).astype(np.int64)
    return unique_E2


def mesh_of(batch: Batch) -> Tensor:
    """Draw the mesh of each face at the size of the batch's images: (B, 3, H, W), −1 without a line and 1 on one."""
    side = batch.crop_BCHW.shape[-1]
    points_BL2 = batch.landmarks_BL2.cpu().numpy()
    drawn_BHW = np.stack([draw_mesh(points_L2, side) for points_L2 in points_BL2])
    mesh_BHW = torch.from_numpy(drawn_BHW).to(batch.crop_BCHW.device).float() / 127.5 - 1
    return mesh_BHW[:, None].expand(-1, 3, -1, -1)


def draw_mesh(points_L2: NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    """Draw a mesh as lines of 1 px, 255 on 0, (side, side), from landmarks in px of a crop of 256."""
    image = np.zeros((side, side), np.uint8)
    scaled = np.rint((points_L2 + 0.5) * (side / CROP_SIZE) * 2**_FRACTION_BITS - 2 ** (_FRACTION_BITS - 1)).astype(np.int32)
    lines = [scaled[edge].reshape(-1, 1, 2) for edge in mesh_edges()]
    cv2.polylines(image, lines, isClosed=False, color=255, thickness=1, lineType=cv2.LINE_AA, shift=_FRACTION_BITS)
    return image
