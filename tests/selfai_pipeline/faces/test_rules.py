"""Which faces of a picture count."""

import numpy as np
import pytest

from selfai_pipeline.faces.detector import Detection
from selfai_pipeline.faces.rules import chosen_faces
from selfai_pipeline.faces.settings import FaceRule


def face(left: float, top: float, side: float) -> Detection:
    return Detection(np.array([left, top, left + side, top + side]), np.zeros((5, 2)), score=0.9)


AT_THE_EDGE, IN_THE_MIDDLE, IN_A_CORNER = face(0, 100, 120), face(260, 110, 80), face(0, 0, 30)
FACES = [AT_THE_EDGE, IN_THE_MIDDLE, IN_A_CORNER]
"""Largest first, in a picture of 600 by 300."""


@pytest.mark.parametrize(
    ("rule", "numbers"),
    [(FaceRule.LARGEST, [0]), (FaceRule.MOST_CENTRAL, [1]), (FaceRule.ALL, [0, 1, 2])],
)
def test_a_face_keeps_its_number_under_every_rule(rule: FaceRule, numbers: list[int]) -> None:
    chosen = chosen_faces(FACES, rule, picture_size=(300, 600))
    assert chosen == [(number, FACES[number]) for number in numbers]


@pytest.mark.parametrize("rule", FaceRule)
def test_without_a_face_none_counts(rule: FaceRule) -> None:
    assert chosen_faces([], rule, picture_size=(300, 600)) == []
