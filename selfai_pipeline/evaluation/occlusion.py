"""Occlusion maps: how much a score changes when a patch hides a part of the face.

Zeiler and Fergus 2014, Visualizing and Understanding Convolutional Networks, section 4.2. What hides the face
is its own mean colour, so that the patch is neither darker nor brighter than the picture.
"""

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import Occlusion
from torch import Tensor, nn


def occlusion_maps(
    network: nn.Module, inputs: Tensor, *, patch: int, stride: int, batch_size: int
) -> npt.NDArray[np.float64]:
    """Mean absolute change of the score while a pixel is hidden.

    Args:
        network: [n, 3, height, width] -> scores [n], in evaluation mode.
        inputs: prepared faces, [n, 3, height, width], on the network's device.
        patch: side of the square patch, pixels of the input.
        stride: step between two places of the patch, pixels; not above `patch`, or pixels would be left out.
        batch_size: pictures in one pass.

    Returns:
        [n, height, width] in points of the score, 0 or above: for each pixel the mean, over the places of the
        patch that hide it, of |score - score with the patch|.
    """
    if not 0 < stride <= patch <= min(inputs.shape[2:]):
        raise ValueError(f"patch {patch} and stride {stride} do not cover a picture of {inputs.shape[2:]}")

    def closeness(pictures: Tensor, whole: Tensor) -> Tensor:
        # Captum subtracts outputs with the patch from those without. Minus the distance to the whole face's
        # score is 0 without a patch, so that the difference is the absolute change, which is then averaged.
        change: Tensor = (network(pictures).cpu().double() - whole).abs()
        return -change

    occlusion = Occlusion(closeness)
    maps = np.empty((len(inputs), *inputs.shape[2:]), np.float64)
    with torch.no_grad():
        for start in range(0, len(inputs), batch_size):
            faces = inputs[start : start + batch_size]
            found = occlusion.attribute(
                faces,
                sliding_window_shapes=(inputs.shape[1], patch, patch),
                strides=(inputs.shape[1], stride, stride),
                baselines=faces.mean(dim=(2, 3), keepdim=True).expand_as(faces),
                additional_forward_args=(network(faces).cpu().double(),),
                perturbations_per_eval=max(1, batch_size // len(faces)),
            )
            maps[start : start + batch_size] = found[:, 0].cpu().double().numpy()
    return np.maximum(maps, 0.0)


def patch_and_stride(side: int, *, patch: float, stride: float) -> tuple[int, int]:
    """Patch and stride in pixels of an input of `side` pixels, from shares of the side; at least one."""
    pixels = min(side, max(1, round(side * patch)))
    return pixels, min(pixels, max(1, round(side * stride)))
