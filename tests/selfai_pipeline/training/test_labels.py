import numpy as np
import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.training.labels import LabelledPixels
from selfai_pipeline.training.pixels import Framing


@pytest.fixture
def data(store, labels):
    return LabelledPixels.load(labels, store=store, framing=Framing(16))


def shares(data):
    """How often each class of the train split is drawn."""
    return np.bincount(data.classes[data.train], weights=data.weights[data.train])


@pytest.mark.parametrize("column", ["score", "weight"])
def test_a_score_or_weight_that_is_no_number_is_named(store, labels, column):
    rows = store.tables.read(labels).to_pylist()
    next(row for row in rows if row["split"] == "train")[column] = float("nan")
    broken = store.tables.write(rows, asset="balanced_label_table", facts={})
    with pytest.raises(InputError, match="a score or weight of the train split is no finite number"):
        LabelledPixels.load(broken, store=store, framing=Framing(16))


def test_the_whole_power_draws_as_the_label_table_says(data):
    same = data.drawn_less_evenly(1.0)
    np.testing.assert_allclose(same.weights, data.weights / data.weights.sum())


def test_without_power_every_training_face_is_drawn_alike(data):
    alike = data.drawn_less_evenly(0.0)
    np.testing.assert_allclose(alike.weights[data.train], 1 / len(data.train))
    assert alike.weights[data.validation].sum() == 0


def test_half_the_power_draws_classes_by_the_root_of_their_number(data):
    """The table's weights are one by the number of faces in the class."""
    counts = np.bincount(data.classes[data.train])
    expected = np.sqrt(counts)
    np.testing.assert_allclose(shares(data.drawn_less_evenly(0.5)), expected / expected.sum())


def test_a_face_that_the_table_never_draws_stays_out(data):
    never = data.train[0]
    data.weights[never] = 0.0
    for power in (0.0, 0.5, 1.0):
        assert data.drawn_less_evenly(power).weights[never] == 0


def test_the_mean_score_is_that_of_a_draw(data):
    even = data.drawn_less_evenly(0.0)
    assert even.train_mean == pytest.approx(data.scores[data.train].mean())
