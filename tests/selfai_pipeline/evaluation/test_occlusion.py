"""Occlusion maps against moving the patch by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from selfai_pipeline.evaluation.occlusion import occlusion_maps, patch_and_stride


class MeanOfCorner(nn.Module):
    """Scores a picture by the mean of its upper left quarter, times a sign."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.sign = sign

    def forward(self, pictures: Tensor) -> Tensor:
        return self.sign * pictures[:, :, :8, :8].mean(dim=(1, 2, 3))


def by_hand(network: nn.Module, faces: Tensor, patch: int, stride: int) -> np.ndarray:
    """Mean |change| over the places of the patch that hide a pixel."""
    side = faces.shape[2]
    total, times = np.zeros((len(faces), side, side)), np.zeros((side, side))
    whole = network(faces)
    for top in range(0, side - patch + 1, stride):
        for left in range(0, side - patch + 1, stride):
            hidden = faces.clone()
            hidden[:, :, top : top + patch, left : left + patch] = faces.mean(dim=(2, 3), keepdim=True)
            change = (network(hidden) - whole).abs().numpy()
            total[:, top : top + patch, left : left + patch] += change[:, None, None]
            times[top : top + patch, left : left + patch] += 1
    return total / times


@pytest.fixture
def faces() -> Tensor:
    return torch.rand((5, 3, 16, 16), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_maps_equal_moving_the_patch_by_hand_in_batches_of_any_size(faces: Tensor, batch_size: int) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8), nn.ELU(), nn.Linear(8, 1), nn.Flatten(0))
    with torch.no_grad():
        expected = by_hand(network, faces, 4, 2)

    found = occlusion_maps(network, faces, patch=4, stride=2, batch_size=batch_size)

    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_only_what_the_score_depends_on_shows_whichever_way_it_moves(faces: Tensor, sign: float) -> None:
    maps = occlusion_maps(MeanOfCorner(sign), faces, patch=4, stride=4, batch_size=8)

    assert maps[:, :8, :8].min() > 0
    assert np.abs(maps[:, 8:, :]).max() < 1e-6
    assert np.abs(maps[:, :, 8:]).max() < 1e-6


def test_every_pixel_is_covered_where_the_patch_does_not_fit_evenly(faces: Tensor) -> None:
    maps = occlusion_maps(MeanOfCorner(1.0), faces, patch=5, stride=3, batch_size=8)

    assert np.isfinite(maps).all()
    assert maps.min() >= 0


def test_a_stride_that_leaves_gaps_is_refused(faces: Tensor) -> None:
    with pytest.raises(ValueError, match="do not cover"):
        occlusion_maps(MeanOfCorner(1.0), faces, patch=2, stride=3, batch_size=8)


def test_patch_and_stride_are_shares_of_the_side_and_at_least_a_pixel() -> None:
    assert patch_and_stride(64, patch=0.25, stride=0.125) == (16, 8)
    assert patch_and_stride(16, patch=0.01, stride=0.01) == (1, 1)
    assert patch_and_stride(10, patch=0.26, stride=0.25) == (3, 2)
