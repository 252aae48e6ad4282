import pytest
import torch

from selfai_pipeline.training.samplers import derived_seed, draw_epoch, steps_in_epoch


def test_rows_are_drawn_in_proportion_to_their_weights():
    rows = torch.tensor([10, 20, 30])
    drawn = draw_epoch(rows, torch.tensor([0.5, 0.25, 0.25]), batch_size=2, seed=0, epoch=1)
    many = torch.cat(
        [
            draw_epoch(rows, torch.tensor([0.5, 0.25, 0.25]), batch_size=2, seed=0, epoch=epoch)
            for epoch in range(800)
        ]
    ).flatten()
    assert drawn.shape == (2, 2)
    assert float((many == 10).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert set(many.tolist()) == {10, 20, 30}


def test_a_row_without_weight_is_never_drawn():
    drawn = draw_epoch(torch.arange(4), torch.tensor([1.0, 0, 1, 0]), batch_size=4, seed=0, epoch=0)
    assert set(drawn.flatten().tolist()) <= {0, 2}


def test_an_epoch_can_be_drawn_again_alone():
    def draw(epoch, seed=5):
        return draw_epoch(torch.arange(50), torch.ones(50), batch_size=8, seed=seed, epoch=epoch)

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))
    assert not torch.equal(draw(3), draw(3, seed=6))


def test_a_batch_is_never_larger_than_the_data():
    drawn = draw_epoch(torch.arange(5), torch.ones(5), batch_size=64, seed=0, epoch=1)
    assert drawn.shape == (1, 5)


@pytest.mark.parametrize(("rows", "batch", "steps"), [(260, 32, 8), (5, 64, 1), (100, 10, 10), (1, 1, 1)])
def test_steps_in_an_epoch(rows, batch, steps):
    assert steps_in_epoch(rows, batch) == steps


def test_derived_seeds_differ_by_purpose_and_number_and_fit_torch():
    seeds = {derived_seed(0, name, number) for name in ("draws", "dropout") for number in range(100)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_few_pictures_are_drawn_more_than_once_an_epoch() -> None:
    drawn = draw_epoch(torch.arange(10), torch.ones(10), batch_size=5, seed=0, epoch=1, least_steps=12)
    assert drawn.shape == (12, 5)
    assert draw_epoch(torch.arange(100), torch.ones(100), batch_size=5, seed=0, epoch=1).shape == (20, 5)
