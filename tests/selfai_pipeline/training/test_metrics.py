import numpy as np
import pytest

from selfai_pipeline.errors import UndefinedMetric
from selfai_pipeline.training.metrics import fit_probe, fit_under_dropout, pearson


def test_pearson_is_numpys():
    generator = np.random.default_rng(0)
    left, right = generator.normal(size=(2, 50))
    assert pearson(left, right) == pytest.approx(np.corrcoef(left, right)[0, 1])


@pytest.mark.parametrize(
    ("predicted", "annotated", "message"),
    [
        ([1.0], [1.0], "two values"),
        ([1.0, 2.0], [3.0, 3.0], "annotated scores are equal"),
        ([4.5, 4.5], [1.0, 2.0], "predicted scores are equal"),
        ([np.nan, 1.0], [1.0, 2.0], "not finite"),
    ],
)
def test_a_correlation_without_a_value_says_why(predicted, annotated, message):
    with pytest.raises(UndefinedMetric, match=message):
        pearson(np.array(predicted), np.array(annotated))


def test_the_probe_finds_a_linear_score_behind_noise_and_a_dead_unit():
    generator = np.random.default_rng(0)
    embeddings = generator.normal(3.0, 2.0, size=(200, 12))
    embeddings[:, 5] = 0.7
    scores = embeddings @ generator.normal(size=12) + 4.5 + generator.normal(0, 0.1, 200)
    probe = fit_probe(embeddings[:150], scores[:150])
    assert pearson(probe(embeddings[150:]), scores[150:]) > 0.99
    assert np.abs(probe(embeddings[150:]) - scores[150:]).mean() < 0.2


def test_the_probe_reads_nothing_where_there_is_nothing():
    generator = np.random.default_rng(0)
    probe = fit_probe(generator.normal(size=(60, 100)), generator.normal(4.5, 1.0, 60))
    assert probe(generator.normal(size=(40, 100))).std() < 0.5


def test_a_probe_of_embeddings_that_are_not_finite_has_no_value():
    with pytest.raises(UndefinedMetric, match="an embedding is not finite"):
        fit_probe(np.array([[1.0, 2.0], [np.inf, 1.0], [0.0, 1.0]]), np.arange(3.0))


def test_the_layer_under_dropout_has_the_least_expected_error():
    """Against the expectation written out: the mean over masks has a closed form in mean and variance."""
    generator = np.random.default_rng(0)
    embeddings = generator.normal(1.0, 1.0, size=(80, 6))
    scores = embeddings @ generator.normal(size=6) + 4.0
    weights = generator.uniform(0.1, 1.0, 80)
    dropout = 0.4
    layer = fit_under_dropout(embeddings, scores, weights=weights, dropout=dropout)

    def expected_error(coefficients, intercept):
        spread = dropout / (1 - dropout) * ((embeddings * coefficients) ** 2).sum(axis=1)
        squared = (embeddings @ coefficients + intercept - scores) ** 2
        return float(np.average(squared + spread, weights=weights))

    least = expected_error(layer.coefficients, layer.intercept)
    for _ in range(50):
        change = generator.normal(0, 0.02, 7)
        assert expected_error(layer.coefficients + change[:6], layer.intercept + change[6]) > least


def test_the_layer_is_unbiased_on_the_draws_that_training_makes():
    """Rare high scores weigh as much as frequent low ones: the first gradients then leave the trunk alone."""
    generator = np.random.default_rng(1)
    scores = np.r_[generator.normal(2.0, 0.3, 90), generator.normal(8.0, 0.3, 10)]
    embeddings = (scores + generator.normal(0, 2.0, 100))[:, None]
    weights = np.r_[np.full(90, 0.5 / 90), np.full(10, 0.5 / 10)]
    residual = fit_under_dropout(embeddings, scores, weights=weights, dropout=0.5)(embeddings) - scores
    assert np.average(residual, weights=weights) == pytest.approx(0.0, abs=1e-9)
    assert abs(residual.mean()) > 0.1
