import pytest
import torch
from torch.nn import functional

from selfai_pipeline.networks.siamese import (
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


def test_one_embedding_has_no_pairs():
    with pytest.raises(ValueError, match="two embeddings"):
        pair_figures(torch.ones(1, 2), torch.ones(2), torch.ones(1), margin=1.0, negative_from=1)


@pytest.mark.parametrize("classes", [[], [3], [3, 3], [3, 4], [1, 4, 4], [0, 9], [5, 6, 7]])
def test_which_kinds_of_pairs_there_are(classes):
    values = torch.tensor(classes, dtype=torch.int64)
    positive, negative = pair_kinds(values, negative_from=3)
    assert has_both_kinds(values, negative_from=3) == (bool(positive.any()), bool(negative.any()))
