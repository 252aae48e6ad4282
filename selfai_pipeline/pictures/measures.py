"""What is measured about a picture, and the perceptual hash's luma."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

MEASURED_SIDE = 256
"""Longest side in pixels at which all measures are taken, so that they mean the same at every resolution."""


@dataclass(frozen=True)
class Measures:
    """Quality of one picture; units and ranges as in the table `pruned_set`."""

    brightness: float
    contrast: float
    blur: float
    entropy: float
    saturation: float


def shrink(pixels: Pixels, *, side: int) -> Pixels:
    """`pixels` with a longest side of at most `side`, averaged over areas; smaller pictures stay as they
    are."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def measure(pixels: Pixels) -> Measures:
    """Measure a picture, uint8 [height, width, 3] RGB, shrunk to `MEASURED_SIDE` by the caller.

    Luma is that of ITU-R BT.601. `blur` is the variance of the Laplacian (Pech-Pacheco et al., "Diatom
    autofocusing in brightfield microscopy", ICPR 2000): low where edges are soft.
    """
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(luma)
    _, edges = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_64F))
    share = np.bincount(luma.ravel(), minlength=256) / luma.size
    share = share[share > 0]
    # A picture a few pixels high may have the shape of a row: OpenCV's HSV needs it 3-dimensional, as it is.
    saturation = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)[:, :, 1]
    return Measures(
        brightness=float(mean[0, 0]),
        contrast=float(deviation[0, 0]),
        blur=float(edges[0, 0] ** 2),
        entropy=float(abs(-(share * np.log2(share)).sum())),
        saturation=float(saturation.mean()),
    )
