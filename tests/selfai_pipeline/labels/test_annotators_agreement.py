"""Intraclass correlations, alpha, an annotator against the rest: published values and planted ones."""

import numpy as np
import pytest

from selfai_pipeline.errors import UndefinedMetric
from selfai_pipeline.labels.agreement import two_raters_correlation
from selfai_pipeline.labels.annotators_agreement import (
    krippendorff_alpha,
    rater_against_rest,
    two_way_components,
)
from selfai_pipeline.labels.bias_equations import Codes, Numbers

Ratings = tuple[Codes, Codes, Numbers]

# Shrout and Fleiss, "Intraclass correlations", 1979, table 2: six targets by four judges.
TABLE = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
)

# Krippendorff, "Computing Krippendorff's alpha-reliability", 2011: four observers, twelve units, gaps.
_ = np.nan
UNITS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
).T


def listed(table: Numbers) -> Ratings:
    """Pictures, annotators and ratings of a table with a row a picture, gaps left out."""
    picture, annotator = np.nonzero(~np.isnan(table))
    return picture.astype(np.int64), annotator.astype(np.int64), table[picture, annotator]


def planted(
    pictures: int, annotators: int, a_picture: int, *, bias: float, noise: float, seed: int = 0
) -> Ratings:
    """Ratings of pictures whose true scores have variance 1, each by random annotators."""
    generator = np.random.default_rng(seed)
    truth, biases = generator.normal(size=pictures), generator.normal(0, bias, annotators)
    picture = np.repeat(np.arange(pictures), a_picture)
    annotator = np.concatenate(
        [generator.choice(annotators, a_picture, replace=False) for _ in range(pictures)]
    )
    noises = noise * generator.normal(size=len(picture))
    return picture, annotator, truth[picture] + biases[annotator] + noises


def test_the_published_intraclass_correlations() -> None:
    picture, annotator, rating = listed(TABLE)
    parts = two_way_components(picture, annotator, rating)
    assert parts.single == pytest.approx(0.2898, abs=5e-5)
    assert parts.average == pytest.approx(0.6201, abs=5e-5)
    assert two_raters_correlation(picture, rating) == pytest.approx(0.1657, abs=5e-5)


def test_the_published_alpha() -> None:
    picture, _, rating = listed(UNITS)
    assert krippendorff_alpha(picture, rating) == pytest.approx(0.849, abs=5e-4)


@pytest.mark.parametrize("a_picture", [2, 3, 6])
def test_with_most_cells_missing_the_planted_variances_are_found(a_picture: int) -> None:
    parts = two_way_components(*planted(3000, 300, a_picture, bias=0.7, noise=1.2))
    assert parts.picture == pytest.approx(1, abs=0.1)
    assert parts.annotator == pytest.approx(0.49, abs=0.12)
    assert parts.residual == pytest.approx(1.44, abs=0.06)
    assert parts.single == pytest.approx(1 / (1 + 0.49 + 1.44), abs=0.03)
    assert parts.average == pytest.approx(1 / (1 + (0.49 + 1.44) / a_picture), abs=0.04)


def test_unequal_numbers_of_ratings_count_by_their_harmonic_mean() -> None:
    picture, annotator, rating = planted(400, 30, 6, bias=0.5, noise=1.0)
    # The first half of the pictures has two ratings each.
    kept = (picture >= 200) | (np.arange(len(picture)) % 6 < 2)
    parts = two_way_components(picture[kept], annotator[kept], rating[kept])
    assert parts.ratings_a_picture == pytest.approx(1 / ((1 / 2 + 1 / 6) / 2))
    assert parts.single == pytest.approx(1 / (1 + 0.25 + 1), abs=0.06)


def test_generosity_lowers_the_agreement_of_single_ratings_and_not_the_correlation_with_the_rest() -> None:
    fair = planted(500, 20, 5, bias=0.0, noise=0.7)
    generous = planted(500, 20, 5, bias=2.0, noise=0.7)
    assert two_way_components(*generous).single < 0.4 < two_way_components(*fair).single
    found = rater_against_rest(*fair, least_ratings=10)
    assert len(found) == 20
    # A rating against the mean of four others: both attenuated.
    assert found.mean() == pytest.approx(1 / np.sqrt((1 + 0.49) * (1 + 0.49 / 4)), abs=0.03)


def test_an_annotator_against_the_rest_is_the_plain_correlation() -> None:
    picture, annotator, rating = listed(TABLE)
    found = rater_against_rest(picture, annotator, rating, least_ratings=5)
    rest = (TABLE.sum(axis=1, keepdims=True) - TABLE) / 3
    expected = [np.corrcoef(TABLE[:, k], rest[:, k])[0, 1] for k in range(4)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_whoever_says_always_the_same_or_little_is_not_compared() -> None:
    table = np.hstack([TABLE, np.full((6, 1), 5.0), np.full((6, 1), np.nan)])
    table[0, 5] = 3
    assert len(rater_against_rest(*listed(table), least_ratings=5)) == 4


def test_figures_without_a_value_say_why() -> None:
    once = np.arange(5), np.arange(5), np.arange(5, dtype=float)
    with pytest.raises(UndefinedMetric, match="too few ratings to tell pictures from annotators"):
        two_way_components(*once)
    with pytest.raises(UndefinedMetric, match="no picture has two ratings"):
        krippendorff_alpha(once[0], once[2])
    with pytest.raises(UndefinedMetric, match="nobody has rated 10 pictures"):
        rater_against_rest(*once, least_ratings=10)
    same = listed(np.full((6, 3), 4.0))
    with pytest.raises(UndefinedMetric, match="all ratings are equal"):
        two_way_components(*same)
    with pytest.raises(UndefinedMetric, match="all ratings are equal"):
        krippendorff_alpha(same[0], same[2])
