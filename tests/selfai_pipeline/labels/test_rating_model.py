"""The rating model recovers what was planted, and equals a direct maximisation of its likelihood."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from selfai_pipeline.labels import bias_equations
from selfai_pipeline.labels.agreement import noise_ceiling, reliability_of_scores
from selfai_pipeline.labels.bias_equations import Codes, Numbers
from selfai_pipeline.labels.rating_model import (
    SMALLEST_INCONSISTENCY,
    RatingModel,
    fit_rating_model,
)

Ratings = tuple[Codes, Codes, Numbers]


def planted(
    pictures: int, annotators: int, a_picture: int, seed: int
) -> tuple[Ratings, Numbers, Numbers, Numbers]:
    """Ratings of known scores, biases and inconsistencies; each picture by random annotators."""
    generator = np.random.default_rng(seed)
    score = generator.normal(4.5, 1.5, pictures)
    bias = generator.normal(0, 0.8, annotators)
    bias -= bias.mean()
    inconsistency = generator.uniform(0.5, 1.5, annotators)
    picture = np.repeat(np.arange(pictures), a_picture)
    annotator = np.concatenate(
        [generator.choice(annotators, a_picture, replace=False) for _ in range(pictures)]
    )
    noise = inconsistency[annotator] * generator.normal(size=len(picture))
    return (picture, annotator, score[picture] + bias[annotator] + noise), score, bias, inconsistency


def test_planted_scores_biases_and_inconsistencies_are_recovered() -> None:
    ratings, score, bias, inconsistency = planted(pictures=2000, annotators=40, a_picture=5, seed=1)
    model = fit_rating_model(*ratings)
    assert model.converged
    assert model.components == 1
    assert np.abs(model.bias - bias).max() < 0.3
    assert np.corrcoef(model.bias, bias)[0, 1] > 0.99
    assert np.abs(model.inconsistency / inconsistency - 1).max() < 0.2
    plain = np.bincount(ratings[0], ratings[2]) / 5
    assert np.mean((model.score - score) ** 2) < 0.6 * np.mean((plain - score) ** 2)


@pytest.mark.parametrize("a_picture", [2, 5])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_planted_biases_come_back_within_the_error_that_their_ratings_leave(
    a_picture: int, seed: int
) -> None:
    """About v / sqrt(n (1 - 1 / k)) with n ratings of k a picture: one in k parts goes into the score."""
    ratings, _, bias, inconsistency = planted(pictures=3000, annotators=60, a_picture=a_picture, seed=seed)
    own = np.bincount(ratings[1])
    expected = np.sqrt(np.mean(inconsistency**2 / (own * (1 - 1 / a_picture))))
    error = fit_rating_model(*ratings).bias - bias
    # Sixty errors give their root mean square to 9 %.
    assert np.std(error) == pytest.approx(expected, rel=0.25)


def figures(
    annotators: int, pictures: int, a_picture: int, *, bias: float, inconsistency: tuple[float, float]
) -> dict[str, float]:
    """Means over simulated crowds: errors of scores and means, and what is said about them."""
    found: list[dict[str, float]] = []
    for seed in range(8):
        generator = np.random.default_rng(seed)
        truth = generator.normal(4.5, 1.2, pictures)
        biases = generator.normal(0, bias, annotators)
        spread = generator.uniform(*inconsistency, annotators)
        picture = np.repeat(np.arange(pictures), a_picture)
        who = [generator.choice(annotators, a_picture, replace=False) for _ in range(pictures)]
        _, annotator = np.unique(np.concatenate(who), return_inverse=True)
        raters = np.concatenate(who)
        rating = truth[picture] + biases[raters] + spread[raters] * generator.normal(size=len(picture))
        model = fit_rating_model(picture, annotator, rating)
        mean = np.bincount(picture, rating) / a_picture
        error = model.score - truth
        # A level that all scores share is not theirs to know.
        error -= error.mean()
        found.append(
            {
                "error": float(np.sqrt(np.mean(error**2))),
                "error_of_means": float(np.std(mean - truth)),
                "errors_in_standard_errors": float(np.std(error / model.standard_error)),
                "within_two": float(np.mean(np.abs(error) < 1.96 * model.standard_error)),
                "ceiling": noise_ceiling(reliability_of_scores(model.score, model.standard_error)),
                "reached": float(np.corrcoef(model.score, truth)[0, 1]),
                "bias": model.bias_deviation,
            }
        )
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


# Annotators with 5, 10, 20 and 200 ratings each.
CROWDS = [(120, 300, 2), (60, 300, 2), (180, 300, 3), (30, 300, 2), (3, 300, 2)]


@pytest.mark.parametrize("bias", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("crowd", CROWDS)
def test_standard_errors_and_ceiling_are_what_the_truth_says(
    crowd: tuple[int, int, int], bias: float
) -> None:
    seen = figures(*crowd, bias=bias, inconsistency=(0.6, 1.6))
    assert seen["errors_in_standard_errors"] == pytest.approx(1, abs=0.07)
    assert seen["within_two"] == pytest.approx(0.95, abs=0.02)
    assert seen["ceiling"] == pytest.approx(seen["reached"], abs=0.02)
    assert seen["error"] <= seen["error_of_means"]


@pytest.mark.parametrize("crowd", CROWDS)
def test_where_there_is_nothing_to_take_out_the_scores_are_as_good_as_means(
    crowd: tuple[int, int, int],
) -> None:
    seen = figures(*crowd, bias=0.0, inconsistency=(1.0, 1.0))
    assert seen["error"] <= 1.02 * seen["error_of_means"]
    assert seen["errors_in_standard_errors"] == pytest.approx(1, abs=0.08)


def test_the_spread_of_biases_is_found_where_it_can_be() -> None:
    assert figures(60, 300, 2, bias=0.8, inconsistency=(0.6, 1.6))["bias"] == pytest.approx(0.8, abs=0.1)
    assert figures(60, 300, 2, bias=0.0, inconsistency=(0.6, 1.6))["bias"] < 0.25


def test_inconsistency_is_right_on_average_with_few_ratings_an_annotator() -> None:
    found = []
    for seed in range(6):
        generator = np.random.default_rng(seed)
        picture = np.repeat(np.arange(2500), 2)
        annotator = np.concatenate([generator.permutation(1000) for _ in range(5)])
        rating = generator.normal(size=2500)[picture] + generator.normal(size=5000)
        found.append(np.mean(fit_rating_model(picture, annotator, rating).inconsistency ** 2))
    assert np.mean(found) == pytest.approx(1, abs=0.025)


def test_for_given_variances_it_is_the_mixed_model() -> None:
    ratings = planted(pictures=40, annotators=8, a_picture=3, seed=4)[0]
    picture, annotator, rating = ratings
    model = fit_rating_model(*ratings, prior=1e6)
    design = np.hstack([np.eye(40)[picture], np.eye(8)[annotator]])
    weight = model.inconsistency[annotator] ** -2
    normal = design.T @ (weight[:, None] * design)
    normal[40:, 40:] += np.eye(8) / model.bias_deviation**2
    inverse = np.linalg.inv(normal)
    found = inverse @ design.T @ (weight * rating)
    np.testing.assert_allclose(model.score, found[:40], atol=1e-6)
    np.testing.assert_allclose(model.bias, found[40:], atol=1e-6)
    # Errors of the scores as these eight annotators would give them on average.
    as_they_would = np.hstack([np.eye(40), np.full((40, 8), 1 / 8)])
    error = np.sqrt(np.diag(as_they_would @ inverse @ as_they_would.T))
    np.testing.assert_allclose(model.standard_error, error, rtol=1e-3)


@pytest.mark.parametrize("shrink", [True, False])
def test_a_sampled_covariance_is_the_computed_one(monkeypatch: pytest.MonkeyPatch, shrink: bool) -> None:
    ratings = planted(pictures=200, annotators=40, a_picture=2, seed=9)[0]
    computed = fit_rating_model(*ratings, shrink=shrink).standard_error
    monkeypatch.setattr(bias_equations, "DENSE_ANNOTATORS", 0)
    sampled = fit_rating_model(*ratings, shrink=shrink).standard_error
    np.testing.assert_allclose(sampled, computed, rtol=0.15)
    assert np.mean(sampled**2) == pytest.approx(np.mean(computed**2), rel=0.02)


def test_plain_likelihood_underestimates_the_error_of_few_ratings() -> None:
    ratings, score, _, _ = planted(pictures=3000, annotators=30, a_picture=3, seed=2)
    model = fit_rating_model(*ratings, restricted=False)
    assert np.std((model.score - score) / model.standard_error) > 1.2


def direct(ratings: Ratings, *, prior: float, restricted: bool) -> tuple[Numbers, Numbers, Numbers]:
    """Scores, biases and inconsistencies by a general optimiser over dense matrices.

    For given inconsistencies, scores and biases (sum 0) solve the normal equations; log v is searched for
    the maximum of the (restricted) likelihood with the prior's term.
    """
    picture, annotator, rating = ratings
    pictures, annotators = int(picture.max()) + 1, int(annotator.max()) + 1
    contrast = np.vstack([np.eye(annotators - 1), -np.ones(annotators - 1)])
    design = np.hstack([np.eye(pictures)[picture], contrast[annotator]])

    def solved(weight: Numbers) -> tuple[Numbers, Numbers]:
        normal = design.T @ (weight[:, None] * design)
        return np.linalg.solve(normal, design.T @ (weight * rating)), normal

    flat, _ = solved(np.ones(len(rating)))
    freedom = len(rating) - design.shape[1] if restricted else len(rating)
    pooled = float(np.sum((rating - design @ flat) ** 2)) / freedom

    def loss(log_v: Numbers) -> float:
        weight = np.exp(-2 * log_v)[annotator]
        coefficients, normal = solved(weight)
        squares = float(np.sum(weight * (rating - design @ coefficients) ** 2))
        penalty = float(prior * np.sum(log_v + 0.5 * pooled * np.exp(-2 * log_v)))
        determinant = 0.5 * float(np.linalg.slogdet(normal)[1]) if restricted else 0.0
        return float(log_v[annotator].sum()) + 0.5 * squares + penalty + determinant

    found = minimize(loss, np.full(annotators, 0.5 * np.log(pooled)), method="BFGS", options={"gtol": 1e-7})
    coefficients, _ = solved(np.exp(-2 * found.x)[annotator])
    return coefficients[:pictures], contrast @ coefficients[pictures:], np.exp(found.x)


def complete(pictures: int, annotators: int, seed: int) -> Ratings:
    return planted(pictures, annotators, annotators, seed)[0]


@pytest.mark.parametrize(("restricted", "prior"), [(False, 0.0), (False, 4.0), (True, 0.0), (True, 4.0)])
def test_it_equals_a_direct_maximum_likelihood_solution(restricted: bool, prior: float) -> None:
    ratings = complete(pictures=60, annotators=10, seed=3)
    model = fit_rating_model(
        *ratings, restricted=restricted, shrink=False, prior=prior, tolerance=1e-9, most_rounds=5000
    )
    score, bias, inconsistency = direct(ratings, prior=prior, restricted=restricted)
    assert model.converged
    np.testing.assert_allclose(model.score, score, atol=2e-4)
    np.testing.assert_allclose(model.bias, bias, atol=2e-4)
    np.testing.assert_allclose(model.inconsistency, inconsistency, rtol=2e-4)


def test_the_prior_keeps_the_scores_from_following_a_single_annotator() -> None:
    ratings = complete(pictures=15, annotators=6, seed=3)
    unbounded = fit_rating_model(*ratings, restricted=False, prior=0.0)
    assert unbounded.inconsistency.min() == pytest.approx(SMALLEST_INCONSISTENCY)
    assert fit_rating_model(*ratings, restricted=False).inconsistency.min() > 0.5


def test_with_gaps_plain_likelihood_is_exact_and_restricted_is_close() -> None:
    ratings = planted(pictures=40, annotators=6, a_picture=3, seed=4)[0]
    fixed = {"shrink": False, "prior": 4.0, "tolerance": 1e-9, "most_rounds": 5000}
    plain = fit_rating_model(*ratings, restricted=False, **fixed)
    np.testing.assert_allclose(plain.score, direct(ratings, prior=4.0, restricted=False)[0], atol=2e-4)
    restricted = fit_rating_model(*ratings, **fixed)
    score, _, inconsistency = direct(ratings, prior=4.0, restricted=True)
    np.testing.assert_allclose(restricted.score, score, atol=0.03)
    np.testing.assert_allclose(restricted.inconsistency, inconsistency, rtol=0.05)


def test_a_long_thin_graph_converges_to_the_least_squares_solution() -> None:
    # Annotator i shares a single picture with annotator i + 1: the worst case for alternating updates.
    annotators = 40
    picture = np.concatenate([[i, i, i + 1, i + 1] for i in range(annotators)]).astype(np.int64)
    annotator = np.repeat(np.arange(annotators), 4)
    truth = np.random.default_rng(5)
    rating = truth.normal(size=annotators + 1)[picture] + truth.normal(size=annotators)[annotator]
    model = fit_rating_model(picture, annotator, rating, shrink=False)
    residual = rating - model.score[picture] - model.bias[annotator]
    assert np.abs(residual).max() < 1e-6
    assert model.bias.sum() == pytest.approx(0, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), shift=st.floats(-3, 3), scale=st.floats(0.5, 2))
def test_shift_scale_and_order_of_the_ratings(seed: int, shift: float, scale: float) -> None:
    picture, annotator, rating = planted(pictures=30, annotators=6, a_picture=3, seed=seed)[0]
    model = fit_rating_model(picture, annotator, rating)
    order = np.random.default_rng(seed).permutation(len(rating))
    changed = fit_rating_model(picture[order], annotator[order], shift + scale * rating[order])
    np.testing.assert_allclose(changed.score, shift + scale * model.score, atol=1e-4)
    np.testing.assert_allclose(changed.bias, scale * model.bias, atol=1e-4)
    np.testing.assert_allclose(changed.standard_error, scale * model.standard_error, rtol=1e-3)


def test_separate_parts_of_the_graph_are_counted_and_centred_each() -> None:
    first, _, _, _ = planted(pictures=20, annotators=4, a_picture=3, seed=6)
    second, _, _, _ = planted(pictures=20, annotators=5, a_picture=3, seed=7)
    model = fit_rating_model(
        np.concatenate([first[0], second[0] + 20]),
        np.concatenate([first[1], second[1] + 4]),
        np.concatenate([first[2], second[2]]),
    )
    assert model.components == 2
    assert model.component.tolist() == [0] * 4 + [1] * 5
    assert model.bias[:4].sum() == pytest.approx(0, abs=1e-9)
    assert model.bias[4:].sum() == pytest.approx(0, abs=1e-9)
    # How generous the one four are beside the other five is not in the data.
    alone = fit_rating_model(*first).standard_error
    assert np.mean(model.standard_error[:20] ** 2) > np.mean(alone**2) + model.bias_deviation**2 / 20


def only_once_rated() -> RatingModel:
    return fit_rating_model(np.arange(5), np.arange(5) % 2, np.arange(5, dtype=float))


def test_without_a_second_rating_errors_are_unknown_and_not_zero() -> None:
    model = only_once_rated()
    assert np.isnan(model.standard_error).all()
    assert np.isnan(model.inconsistency).all()
    np.testing.assert_allclose(model.score, np.arange(5))


def test_ratings_that_agree_to_the_last_digit_give_finite_figures() -> None:
    picture, annotator = np.repeat(np.arange(10), 3), np.tile(np.arange(3), 10)
    model = fit_rating_model(picture, annotator, picture.astype(float))
    np.testing.assert_allclose(model.score, np.arange(10), atol=1e-6)
    assert np.all((model.standard_error > 0) & (model.standard_error < 0.05))


def test_a_careless_annotator_weighs_less() -> None:
    generator = np.random.default_rng(8)
    picture, annotator = np.repeat(np.arange(300), 4), np.tile(np.arange(4), 300)
    truth = generator.normal(4.5, 1.5, 300)
    rating = truth[picture] + 0.4 * generator.normal(size=1200)
    rating[annotator == 3] = generator.uniform(0, 9, 300)
    model = fit_rating_model(picture, annotator, rating)
    assert model.inconsistency[3] > 4 * model.inconsistency[:3].max()
    plain = np.bincount(picture, rating) / 4
    assert np.mean((model.score - truth) ** 2) < 0.3 * np.mean((plain - truth) ** 2)
