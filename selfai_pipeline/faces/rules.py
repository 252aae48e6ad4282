"""Which faces of a picture count, and why one gets no crop."""

from collections.abc import Sequence

import numpy as np

from selfai_pipeline.faces.alignment import Alignment
from selfai_pipeline.faces.detector import Detection
from selfai_pipeline.faces.pose import Pose
from selfai_pipeline.faces.settings import FaceRule, FaceSettings


def chosen_faces(
    faces: Sequence[Detection], rule: FaceRule, *, picture_size: tuple[int, int]
) -> list[tuple[int, Detection]]:
    """The faces that get a row, each with its number: its place in `faces`, which are sorted by size.

    So a face has the same number under every rule.

    Args:
        picture_size: height and width.
    """
    numbered = list(enumerate(faces))
    if rule is FaceRule.ALL or not faces:
        return numbered
    if rule is FaceRule.LARGEST:
        return numbered[:1]
    middle = np.array([picture_size[1], picture_size[0]]) / 2

    def off_centre(one: tuple[int, Detection]) -> float:
        return float(np.linalg.norm(one[1].box.reshape(2, 2).mean(axis=0) - middle))

    return [min(numbered, key=off_centre)]


def first_reason(
    face: Detection,
    alignment: Alignment,
    pose: Pose,
    settings: FaceSettings,
    *,
    sharpness: float | None = None,
    faces_found: int = 1,
) -> str | None:
    """Why a face gets no crop, or None.

    Args:
        sharpness: over the face in the crop; None where none of it lies in the picture.
        faces_found: how many faces there are in its picture.
    """
    turned = abs(pose.yaw) > settings.max_yaw or abs(pose.pitch) > settings.max_pitch
    rules = (
        ("several_faces", 0 < settings.most_faces < faces_found),
        ("too_small_face", face.eye_distance < settings.min_eye_distance),
        ("extreme_pose", turned or abs(alignment.roll) > settings.max_roll),
        ("bad_alignment", alignment.residual > settings.max_residual * settings.crop_size),
        ("too_much_border", alignment.border > settings.max_border),
        ("blurred_face", (sharpness or 0.0) < settings.min_sharpness),
    )
    return next((reason for reason, broken in rules if broken), None)
