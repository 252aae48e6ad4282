"""A pose that a model face was turned to is found again, whatever its size, place and roll."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from selfai_pipeline.faces.alignment import Points, template
from selfai_pipeline.faces.pose import NOSE_DEPTH, estimated_pose


def turned(*, yaw: float, pitch: float, roll: float = 0, size: float = 40) -> Points:
    """Landmarks of the mean face, seen from afar: x to the right of the picture, y down, z to the camera."""
    flat = template(crop_size=1, eye_distance=1.0, eye_height=0.5)
    depth = np.array([0, 0, NOSE_DEPTH * (flat[3:, 1].mean() - flat[:2, 1].mean()), 0, 0])
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    placed = np.column_stack([flat, depth]) @ (about_z @ about_y @ about_x).T
    return np.asarray(size * placed[:, :2] + [300, 120])


@hypothesis_settings(max_examples=60, deadline=None)
@given(yaw=st.floats(-80, 80), pitch=st.floats(-60, 60), roll=st.floats(-170, 170), size=st.floats(5, 500))
def test_the_pose_is_found_again(yaw: float, pitch: float, roll: float, size: float) -> None:
    pose = estimated_pose(turned(yaw=yaw, pitch=pitch, roll=roll, size=size))
    assert (pose.yaw, pose.pitch) == pytest.approx((yaw, pitch), abs=1e-3)


def test_a_nose_that_lies_to_the_right_is_a_face_that_looks_there() -> None:
    landmarks = turned(yaw=0, pitch=0)
    landmarks[2] += [4, 0]
    assert estimated_pose(landmarks).yaw > 5
    landmarks[2] += [-8, 0]
    assert estimated_pose(landmarks).yaw < -5
    landmarks[2] += [4, -4]
    assert estimated_pose(landmarks).pitch > 5
