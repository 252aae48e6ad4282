"""Rank-N-Contrast is what the paper writes, in any order, with ties, and in blocks."""

import math

import pytest
import torch

from selfai_pipeline.networks.ranking import RankedPairs
from selfai_pipeline.networks.siamese import pair_distances


def batch(n, *, d=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(n, d, generator=generator, dtype=dtype)
    weights = torch.rand(d, generator=generator, dtype=dtype) + 0.1
    # a coarse grid, so that scores and their differences tie
    scores = torch.randint(0, 6, (n,), generator=generator).to(dtype) * 1.5
    return embeddings, weights, scores


def by_the_paper(embeddings, weights, scores, *, temperature, norm):
    """The definition, pair by pair and competitor by competitor."""
    n = len(embeddings)

    def similarity(i, j):
        powers = (embeddings[i] - embeddings[j]).abs() ** norm
        return -((weights * powers).sum() ** (1 / norm)) / temperature

    total = 0.0
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            far = (scores[i] - scores[j]).abs()
            rivals = [k for k in range(n) if k != i and (scores[i] - scores[k]).abs() >= far]
            denominator = sum(torch.exp(similarity(i, k)) for k in rivals)
            total = total - torch.log(torch.exp(similarity(i, j)) / denominator)
    return total / (n * (n - 1))


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("n", [2, 3, 12])
def test_loss_and_gradient_are_those_of_the_definition(n, norm):
    embeddings, weights, scores = batch(n)
    pairs = RankedPairs(temperature=0.7, norm=norm)
    mine, theirs = (embeddings.clone().requires_grad_() for _ in range(2))
    loss = pairs.loss(mine, weights, classes=scores.long(), scores=scores)
    expected = by_the_paper(theirs, weights, scores, temperature=0.7, norm=norm)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


def loss_of(embeddings, weights, scores, *, temperature=0.5, norm=2):
    pairs = RankedPairs(temperature, norm)
    return pairs.loss(embeddings, weights, classes=scores.long(), scores=scores)


def test_the_order_of_the_batch_does_not_matter():
    embeddings, weights, scores = batch(40)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        loss_of(embeddings, weights, scores), loss_of(embeddings[order], weights, scores[order])
    )


def test_equal_scores_compete_with_each_other():
    """With all scores equal every other picture competes: the loss of a point is log(n - 1)."""
    same = torch.zeros(6, 3)
    assert float(loss_of(same, torch.ones(3), torch.full((6,), 4.0))) == pytest.approx(math.log(5))


def test_distances_in_the_order_of_the_scores_cost_less_than_in_any_other():
    scores = torch.arange(8.0)
    weights = torch.ones(1)
    ordered = float(loss_of(scores[:, None], weights, scores))
    shuffled = scores[torch.tensor([3, 0, 5, 1, 7, 2, 6, 4])][:, None]
    assert ordered < float(loss_of(shuffled, weights, scores))
    assert ordered < float(loss_of(torch.zeros(8, 1), weights, scores))


@pytest.mark.parametrize("spread", [1e-6, 1e4])
def test_loss_and_gradient_are_finite_however_near_or_far_the_embeddings_lie(spread):
    """The farthest terms are exp(-1e5): summed as they are they would be zero, their logarithm infinite."""
    embeddings, weights, scores = batch(64, dtype=torch.float32)
    embeddings = (embeddings * spread).requires_grad_()
    loss = loss_of(embeddings, weights, scores, temperature=0.1)
    loss.backward()
    assert bool(loss.isfinite())
    assert bool(embeddings.grad.isfinite().all())


def test_the_same_picture_twice_has_a_gradient():
    """A root has no slope at zero, and a batch may hold a row twice."""
    embeddings, weights, scores = batch(6)
    doubled = torch.cat([embeddings, embeddings[:2]]).requires_grad_()
    loss_of(doubled, weights, torch.cat([scores, scores[:2]])).backward()
    assert bool(doubled.grad.isfinite().all())


def test_under_autocast_it_is_computed_in_float32():
    embeddings, weights, scores = batch(64, d=40, dtype=torch.float32)
    outside = loss_of(embeddings, weights, scores)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss_of(embeddings, weights, scores)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("n", [2, 255, 256, 600])
def test_figures_in_blocks_are_those_of_the_whole_batch(n, norm):
    embeddings, weights, scores = batch(n, dtype=torch.float32)
    pairs = RankedPairs(temperature=0.5, norm=norm)
    found = pairs.figures(embeddings, weights, classes=scores.long(), scores=scores)
    whole = pairs.loss(embeddings, weights, classes=scores.long(), scores=scores)
    assert found.loss == pytest.approx(float(whole), rel=1e-5)
    upper = pair_distances(embeddings, weights)[tuple(torch.triu_indices(n, n, offset=1))]
    assert found.mean_distance == pytest.approx(float(upper.mean()), rel=1e-5)


@pytest.mark.parametrize("norm", [1, 2])
def test_splitting_a_unit_among_copies_keeps_the_loss(norm):
    """What Net2Net does to the distance weights when it widens the embedding."""
    embeddings, weights, scores = batch(20)
    copied = torch.cat([embeddings, embeddings[:, :1]], dim=1)
    split = torch.cat([weights[:1] * 0.3, weights[1:], weights[:1] * 0.7])
    torch.testing.assert_close(
        loss_of(embeddings, weights, scores, norm=norm), loss_of(copied, split, scores, norm=norm)
    )


def test_one_embedding_has_no_pairs():
    with pytest.raises(ValueError, match="two embeddings"):
        RankedPairs(1.0, 2).figures(
            torch.ones(1, 2), torch.ones(2), classes=torch.ones(1), scores=torch.ones(1)
        )


def test_what_remains_is_the_number_of_rivals_among_which_a_point_chooses_by_lot():
    pairs = RankedPairs(1.0, 2)
    equal = torch.full((9,), 4.0)
    loss = pairs.loss(torch.zeros(9, 2), torch.ones(2), classes=equal.long(), scores=equal)
    assert pairs.remaining(float(loss)) == pytest.approx(8.0)


def test_a_loss_beyond_the_exponential_leaves_much_to_learn_and_stops_nothing():
    """A temperature of a thousandth begins there."""
    pairs = RankedPairs(temperature=0.001, norm=2)
    assert pairs.remaining(5.0) < pairs.remaining(1e4) < math.inf
