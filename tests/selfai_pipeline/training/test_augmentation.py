import numpy as np
import pytest
import torch
from torch.nn import functional

from selfai_pipeline.training import augmentation
from selfai_pipeline.training.augmentation import _grid, augment, normalise
from selfai_pipeline.training.settings import AugmentationSettings

NOTHING = {
    "rotation": 0.0,
    "scale": 0.0,
    "shift": 0.0,
    "flip": False,
    "brightness": 0.0,
    "contrast": 0.0,
    "colour": 0.0,
}


def pixels(n=6, side=16):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8))


def run(batch, seed=0, **changes):
    settings = AugmentationSettings(**{**NOTHING, **changes})
    return augment(batch, settings=settings, generator=torch.Generator().manual_seed(seed))


def test_the_evaluation_preset_maps_0_to_minus_2_and_255_to_2():
    ends = normalise(torch.tensor([[[[0, 255, 0]]]], dtype=torch.uint8))
    assert ends.shape == (1, 3, 1, 1)
    assert ends.flatten().tolist() == [-2.0, 2.0, -2.0]


def test_without_changes_training_sees_what_evaluation_sees():
    batch = pixels()
    torch.testing.assert_close(run(batch), normalise(batch), atol=1e-4, rtol=0)


def test_a_flip_mirrors_whole_pictures_and_only_some():
    batch = pixels(n=32)
    plain, mirrored = normalise(batch), normalise(batch).flip(3)
    result = run(batch, flip=True)
    is_plain = [torch.allclose(result[i], plain[i], atol=1e-3) for i in range(32)]
    is_mirrored = [torch.allclose(result[i], mirrored[i], atol=1e-3) for i in range(32)]
    assert all(a != b for a, b in zip(is_plain, is_mirrored, strict=True))
    assert 4 < sum(is_mirrored) < 28


def test_a_shift_moves_the_picture_by_at_most_the_fraction():
    side = 40
    batch = torch.zeros(64, side, side, 3, dtype=torch.uint8)
    batch[:, 20, 20] = 255
    places = run(batch, shift=0.1)[:, 0].flatten(1).argmax(dim=1)
    rows, columns = places // side, places % side
    assert int((rows - 20).abs().max()) in (3, 4)
    assert int((columns - 20).abs().max()) in (3, 4)


def test_a_quarter_turn_carries_a_mark_to_the_neighbouring_side():
    batch = torch.zeros(64, 17, 17, 3, dtype=torch.uint8)
    batch[:, 2, 8] = 255
    places = run(batch, rotation=90.0)[:, 0].flatten(1).argmax(dim=1)
    radius = ((places // 17 - 8).float() ** 2 + (places % 17 - 8).float() ** 2).sqrt()
    assert float((radius - 6).abs().max()) < 1.2
    assert len(places.unique()) > 10
    assert int((places // 17).max()) <= 9


@pytest.mark.parametrize("change", [{"brightness": 0.3}, {"contrast": 0.3}, {"colour": 0.3}])
def test_colour_changes_keep_the_range_and_differ_from_picture_to_picture(change):
    same = pixels(n=1).expand(8, -1, -1, -1)
    result = run(same, **change)
    assert float(result.min()) >= -2
    assert float(result.max()) <= 2
    assert len({round(float(picture.std() + picture.mean()), 4) for picture in result}) == 8


def test_the_generator_alone_decides():
    batch, everything = pixels(), {"rotation": 20.0, "scale": 0.2, "flip": True, "colour": 0.2}
    torch.manual_seed(1)
    first = run(batch, seed=3, **everything)
    torch.manual_seed(2)
    assert torch.equal(run(batch, seed=3, **everything), first)
    assert not torch.equal(run(batch, seed=4, **everything), first)


@pytest.mark.parametrize("at_once", [1, 4, 6, 100])
def test_how_many_pictures_are_changed_at_once_makes_no_difference(monkeypatch, at_once):
    changes = {"rotation": 20.0, "scale": 0.2, "flip": True, "colour": 0.2, "brightness": 0.1}
    together = run(pixels(), **changes)
    monkeypatch.setattr(augmentation, "PICTURES_IN_CACHE", at_once)
    assert torch.equal(run(pixels(), **changes), together)


def test_the_pixels_of_the_cache_are_not_changed():
    batch = pixels()
    before = batch.clone()
    run(batch, rotation=30.0, brightness=0.5)
    assert torch.equal(batch, before)


def test_batches_are_channels_last_in_memory():
    assert normalise(pixels()).is_contiguous(memory_format=torch.channels_last)
    assert run(pixels(), rotation=10.0).is_contiguous(memory_format=torch.channels_last)


def test_a_map_is_followed_as_torch_follows_it():
    """The grid is written out for speed; torch's own is what it has to equal, on pictures of any shape."""
    maps = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(0))
    expected = functional.affine_grid(maps, [3, 1, 5, 8], align_corners=False)
    torch.testing.assert_close(_grid(maps, height=5, width=8), expected)


def test_colours_stay_those_that_a_picture_can_have():
    changed = run(pixels(), brightness=1.0, contrast=0.9, colour=0.9)
    assert (changed.min(), changed.max()) == (-2.0, 2.0)
