import pytest
import torch
from torch.nn import functional

from selfai_pipeline.networks.siamese import hinge_embedding_loss, pair_distances, pair_kinds


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
