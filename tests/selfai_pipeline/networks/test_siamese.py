import pytest
import torch
from torch.nn import functional

from selfai_pipeline.networks.siamese import (
    HingePairs,
    has_both_kinds,
    hinge_embedding_loss,
    pair_distances,
    pair_figures,
    pair_kinds,
)


def test_distances_are_weighted_sums_of_absolute_differences():
    embeddings = torch.tensor([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]])
    weights = torch.tensor([0.25, 3.0])
    expected = ((embeddings[:, None] - embeddings[None]).abs() * weights).sum(-1)
    torch.testing.assert_close(pair_distances(embeddings, weights), expected)


def test_pairs_of_near_classes_are_neither_positive_nor_negative():
    positive, negative = pair_kinds(torch.tensor([2, 2, 3, 5]), negative_from=3)
    assert positive.nonzero().tolist() == [[0, 1]]
    assert negative.nonzero().tolist() == [[0, 3], [1, 3]]


def test_the_loss_is_torchs_hinge_embedding_loss_averaged_by_kind():
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(12, 5, generator=generator)
    classes = torch.randint(0, 4, (12,), generator=generator)
    distances = pair_distances(embeddings, torch.full((5,), 0.2))
    rows, columns = torch.triu_indices(12, 12, offset=1)
    same = classes[rows] == classes[columns]
    each = functional.hinge_embedding_loss(
        distances[rows, columns], torch.where(same, 1.0, -1.0), margin=1.0, reduction="none"
    )
    expected = 0.5 * each[same].mean() + 0.5 * each[~same].mean()
    found = hinge_embedding_loss(distances, classes, margin=1.0, negative_from=1)
    torch.testing.assert_close(found, expected)


def test_a_collapsed_embedding_costs_half_the_margin():
    loss = hinge_embedding_loss(torch.zeros(4, 4), torch.tensor([0, 0, 9, 9]), margin=1.0, negative_from=3)
    assert float(loss) == pytest.approx(0.5)


def test_a_batch_without_one_kind_of_pair_has_a_finite_loss():
    distances = torch.ones(3, 3)
    assert float(hinge_embedding_loss(distances, torch.tensor([4, 5, 6]), margin=1.0, negative_from=3)) == 0.0
    assert float(hinge_embedding_loss(distances, torch.tensor([4, 4, 4]), margin=1.0, negative_from=3)) == 0.5


@pytest.mark.parametrize("n", [2, 3, 255, 256, 600])
def test_figures_in_blocks_are_those_of_the_whole_matrix(n):
    generator = torch.Generator().manual_seed(n)
    embeddings = torch.randn(n, 7, generator=generator)
    weights = torch.rand(7, generator=generator)
    classes = torch.randint(0, 10, (n,), generator=generator)
    distances = pair_distances(embeddings, weights)
    found = pair_figures(embeddings, weights, classes, margin=1.5, negative_from=3)
    expected = hinge_embedding_loss(distances, classes, margin=1.5, negative_from=3)
    assert found.loss == pytest.approx(float(expected), rel=1e-5)
    upper = distances[tuple(torch.triu_indices(n, n, offset=1))]
    assert found.mean_distance == pytest.approx(float(upper.mean()), rel=1e-5)


def pair_by_pair(distances, classes, *, margin, negative_from, margin_at=None):
    """The definition, one pair after the other."""
    pull, push = [], []
    for i in range(len(classes)):
        for j in range(i + 1, len(classes)):
            apart = abs(int(classes[i] - classes[j]))
            own_margin = margin if margin_at is None else margin * apart / margin_at
            if apart == 0:
                pull.append(distances[i, j])
            elif apart >= negative_from:
                push.append((own_margin - distances[i, j]).clamp(min=0.0))
    return 0.5 * torch.stack(pull).mean() + 0.5 * torch.stack(push).mean()


MODES = {
    "far classes": HingePairs(margin=1.2, negative_from=3),
    "same class or not": HingePairs(margin=1.2, negative_from=1),
    "a growing margin": HingePairs(margin=1.2, negative_from=1, margin_at=3),
}


def random_batch(n, seed=1):
    generator = torch.Generator().manual_seed(seed)
    embeddings = 3.0 * torch.randn(n, 5, generator=generator, dtype=torch.float64)
    classes = torch.randint(0, 10, (n,), generator=generator)
    return embeddings, torch.full((5,), 0.2, dtype=torch.float64), classes


@pytest.mark.parametrize("mode", MODES)
def test_loss_and_gradient_of_each_mode_are_those_of_the_definition(mode):
    pairs = MODES[mode]
    embeddings, weights, classes = random_batch(25)
    mine, theirs = (embeddings.clone().requires_grad_() for _ in range(2))
    loss = pairs.loss(mine, weights, classes=classes, scores=classes.double())
    expected = pair_by_pair(pair_distances(theirs, weights), classes, **vars(pairs))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


@pytest.mark.parametrize("mode", MODES)
def test_order_and_blocks_change_nothing(mode):
    pairs = MODES[mode]
    embeddings, weights, classes = random_batch(300)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(2))
    loss = float(pairs.loss(embeddings, weights, classes=classes, scores=classes.double()))
    moved = pairs.figures(embeddings[order], weights, classes=classes[order], scores=classes.double()[order])
    assert moved.loss == pytest.approx(loss)


def test_a_growing_margin_is_whole_at_the_classes_named_and_smaller_between_neighbours():
    losses = [
        float(
            hinge_embedding_loss(
                torch.zeros(2, 2), torch.tensor([4, 4 + apart]), margin=1.0, negative_from=1, margin_at=4
            )
        )
        for apart in (1, 2, 4, 8)
    ]
    assert losses == pytest.approx([0.125, 0.25, 0.5, 1.0])


def test_one_embedding_has_no_pairs():
    with pytest.raises(ValueError, match="two embeddings"):
        pair_figures(torch.ones(1, 2), torch.ones(2), torch.ones(1), margin=1.0, negative_from=1)


@pytest.mark.parametrize("classes", [[], [3], [3, 3], [3, 4], [1, 4, 4], [0, 9], [5, 6, 7]])
def test_which_kinds_of_pairs_there_are(classes):
    values = torch.tensor(classes, dtype=torch.int64)
    positive, negative = pair_kinds(values, negative_from=3)
    assert has_both_kinds(values, negative_from=3) == (bool(positive.any()), bool(negative.any()))
