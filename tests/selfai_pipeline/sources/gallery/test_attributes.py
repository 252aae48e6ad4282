from dataclasses import fields, replace

import numpy as np
import pytest

from selfai_pipeline.sources.gallery.attributes import (
    Look,
    Portrait,
    Setting,
    appeal_of,
    draw_portrait_attributes,
)

MIDDLE = Look(**{field.name: 0.5 for field in fields(Look)})


def crowd(count: int) -> list[Portrait]:
    generator = np.random.default_rng(0)
    return [draw_portrait_attributes(generator) for _ in range(count)]


@pytest.mark.parametrize("name", [field.name for field in fields(Look) if field.name != "face_width"])
def test_more_of_an_attribute_is_liked_better(name: str) -> None:
    appeals = [appeal_of(replace(MIDDLE, **{name: value})) for value in np.linspace(0, 1, 11)]
    assert np.all(np.diff(appeals) > 0)


def test_a_face_of_middle_width_is_liked_best() -> None:
    appeals = [appeal_of(replace(MIDDLE, face_width=value)) for value in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert appeals[2] == max(appeals)
    assert appeals[0] == pytest.approx(appeals[4])


def test_every_class_from_1_to_8_occurs_and_the_middle_most_often() -> None:
    classes = np.bincount(np.rint([one.appeal for one in crowd(400)]).astype(int), minlength=10)
    assert np.all(classes[1:9] > 0)
    assert classes[4] + classes[5] > 4 * (classes[1] + classes[8])


def test_the_setting_tells_nothing_about_the_appeal() -> None:
    portraits = crowd(4000)
    appeals = [one.appeal for one in portraits]
    for field in fields(Setting):
        values = [getattr(one.setting, field.name) for one in portraits]
        numbers = [value if isinstance(value, float) else float(value == values[0]) for value in values]
        assert abs(np.corrcoef(numbers, appeals)[0, 1]) < 0.06, field.name
