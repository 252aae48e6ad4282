"""Who answers at random is flagged, and who merely differs is not."""

import numpy as np
import pytest

from selfai_pipeline.labels.bias_equations import Numbers
from selfai_pipeline.labels.rating_model import fit_rating_model
from selfai_pipeline.labels.signal import annotators_without_signal


def flagged(
    last: str, *, pictures: int = 80, annotators: int = 6, noise: float = 0.8, seed: int = 0
) -> list[int]:
    """Flags of a crowd whose last annotator behaves as named; all others are honest."""
    annotators, noise = 6, 0.8
    generator = np.random.default_rng(seed)
    truth = generator.normal(4.5, 1.5, pictures)
    ratings = truth + generator.normal(0, 0.5, annotators)[:, None]
    ratings = ratings + noise * generator.normal(size=(annotators, pictures))
    behaviours: dict[str, Numbers] = {
        "honest": ratings[-1],
        "generous": ratings[-1] + 2,
        "noisy": ratings[-1] + 1.5 * generator.normal(size=pictures),
        "random": generator.uniform(0, 9, pictures),
        "constant": np.full(pictures, 5.0),
        "reversed": 9 - ratings[-1],
    }
    ratings[-1] = behaviours[last]
    picture = np.tile(np.arange(pictures), annotators)
    annotator = np.repeat(np.arange(annotators), pictures)
    rating = ratings.ravel()
    model = fit_rating_model(picture, annotator, rating)
    flags = annotators_without_signal(picture, annotator, rating, model, least_ratings=10, odds=20)
    return [int(who) for who in np.flatnonzero(flags)]


@pytest.mark.parametrize("behaviour", ["random", "constant", "reversed"])
@pytest.mark.parametrize("seed", range(4))
def test_ratings_without_signal_are_flagged(behaviour: str, seed: int) -> None:
    assert flagged(behaviour, seed=seed) == [5]


@pytest.mark.parametrize("behaviour", ["honest", "generous", "noisy"])
@pytest.mark.parametrize("seed", range(4))
def test_honest_annotators_are_not_flagged(behaviour: str, seed: int) -> None:
    assert flagged(behaviour, seed=seed) == []


def test_a_few_ratings_are_not_enough_to_flag_anybody() -> None:
    assert flagged("random", pictures=9) == []


def test_a_crowd_of_noise_flags_nobody_since_nobody_is_typical() -> None:
    generator = np.random.default_rng(3)
    picture, annotator = np.tile(np.arange(40), 6), np.repeat(np.arange(6), 40)
    rating = generator.uniform(0, 9, 240)
    model = fit_rating_model(picture, annotator, rating)
    flags = annotators_without_signal(picture, annotator, rating, model, least_ratings=10, odds=20)
    assert flags.sum() == 0


def test_weak_signal_is_signal() -> None:
    generator = np.random.default_rng(4)
    truth = generator.normal(size=600)
    ratings = truth + 0.8 * generator.normal(size=(6, 600))
    ratings[5] = 0.25 * truth + generator.normal(size=600)
    picture, annotator = np.tile(np.arange(600), 6), np.repeat(np.arange(6), 600)
    model = fit_rating_model(picture, annotator, ratings.ravel())
    flags = annotators_without_signal(picture, annotator, ratings.ravel(), model, least_ratings=10, odds=20)
    assert flags.sum() == 0


@pytest.mark.parametrize("seed", range(4))
def test_nobody_is_compared_with_their_own_ratings(seed: int) -> None:
    # Of three annotators each makes up a good part of the scores: noise would correlate with itself.
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=200)
    ratings = truth + generator.normal(size=(3, 200))
    ratings[2] = 1.5 * generator.normal(size=200)
    picture, annotator = np.tile(np.arange(200), 3), np.repeat(np.arange(3), 200)
    model = fit_rating_model(picture, annotator, ratings.ravel())
    flags = annotators_without_signal(picture, annotator, ratings.ravel(), model, least_ratings=10, odds=20)
    assert flags.tolist() == [False, False, True]
