"""Which way a face looks, estimated from its five landmarks."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from selfai_pipeline.faces.alignment import Points, template

NOSE_DEPTH = 0.6
"""How far the tip of the nose stands out of the plane of eyes and mouth, over the distance of eyes and mouth
(Gee and Cipolla, "Determining the gaze of faces in images", Image and Vision Computing, 1994)."""


@dataclass(frozen=True)
class Pose:
    """Degrees; 0 and 0 is a face that looks into the camera.

    Attributes:
        yaw: to the right of the picture, -90..90.
        pitch: upwards, -180..180.
    """

    yaw: float
    pitch: float


def estimated_pose(landmarks: Points) -> Pose:
    """The pose of a face whose landmarks [5, 2] lie in a picture's pixels, of any size and roll.

    A rigid model of the mean frontal face is laid onto the landmarks by least squares in scaled orthographic
    projection (the first step of DeMenthon and Davis, "Model-based object pose in 25 lines of code", IJCV
    1995). Faces differ and landmarks err by some pixels: within ten degrees for a face near the camera's
    axis, and too small beyond sixty, where the far eye is guessed.
    """
    inverse = _inverse_model()
    axes = inverse @ (landmarks - landmarks.mean(axis=0))
    # The nearest two perpendicular axes of equal length.
    left, _, right = np.linalg.svd(axes, full_matrices=False)
    across, down = (left @ right).T
    # The third row of roll * yaw * pitch is free of the roll.
    x, y, z = np.cross(across, down)
    yaw, pitch = math.asin(min(1.0, max(-1.0, -x))), math.atan2(y, z)
    return Pose(yaw=round(math.degrees(yaw), 6), pitch=round(math.degrees(pitch), 6))


@lru_cache
def _inverse_model() -> Points:
    """The pseudo-inverse, float64 [3, 5], of the model: right, down and out of the face, from its centre."""
    flat = template(crop_size=1, eye_distance=1.0, eye_height=0.5)
    eyes, mouth = flat[:2, 1].mean(), flat[3:, 1].mean()
    depth = np.array([0, 0, NOSE_DEPTH * (mouth - eyes), 0, 0])
    model = np.column_stack([flat, depth])
    return np.asarray(np.linalg.pinv(model - model.mean(axis=0)))
