import os

import cv2
import numpy as np
import pytest
import torch

from selfai_pipeline.errors import AlteredVersion, InputError, StorageError
from selfai_pipeline.training.augmentation import augment, normalise
from selfai_pipeline.training.labels import PixelFeed
from selfai_pipeline.training.pixels import Framing, cache_path, load_pixels, resize_crop
from selfai_pipeline.training.settings import AugmentationSettings


def crop_of(store, labels, row):
    sha256 = store.tables.read(labels, ["crop_sha256"])["crop_sha256"][row].as_py()
    return sha256, cv2.imdecode(np.frombuffer(store.crops.get(sha256), np.uint8), cv2.IMREAD_COLOR_RGB)


def test_pixels_stand_in_the_order_of_the_table_in_rgb(store, labels):
    pixels = load_pixels(labels, store=store, framing=Framing(40))
    assert pixels.shape == (labels.rows, 40, 40, 3)
    for row in (0, 5, labels.rows - 1):
        np.testing.assert_array_equal(pixels[row], crop_of(store, labels, row)[1])


def test_smaller_pixels_are_area_means(store, labels):
    pixels = load_pixels(labels, store=store, framing=Framing(20))
    crop = crop_of(store, labels, 3)[1].astype(float)
    means = crop.reshape(20, 2, 20, 2, 3).mean(axis=(1, 3))
    assert np.abs(pixels[3] - means).max() <= 1


def test_a_second_call_decodes_nothing(store, labels):
    first = np.array(load_pixels(labels, store=store, framing=Framing(16)))
    store.crops.delete(crop_of(store, labels, 0)[0])
    np.testing.assert_array_equal(load_pixels(labels, store=store, framing=Framing(16)), first)


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_a_damaged_cache_is_made_again(store, labels, content):
    first = np.array(load_pixels(labels, store=store, framing=Framing(16)))
    path = cache_path(labels, store=store, framing=Framing(16))
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    np.testing.assert_array_equal(load_pixels(labels, store=store, framing=Framing(16)), first)


def test_a_batch_has_a_plane_for_each_colour_and_nothing_sees_a_difference(store, labels):
    pixels = load_pixels(labels, store=store, framing=Framing(16))
    rows = torch.tensor([4, 1, 4])
    batch = PixelFeed(pixels, device=torch.device("cpu"))(rows)
    assert batch.shape == (3, 16, 16, 3)
    assert batch.permute(0, 3, 1, 2).is_contiguous(), "augmentation copies nothing before it samples"
    interleaved = batch.contiguous()
    assert torch.equal(normalise(batch), normalise(interleaved))
    assert normalise(batch).stride() == normalise(interleaved).stride(), "convolutions end with the same bits"
    left, right = (
        augment(one, settings=AugmentationSettings(), generator=torch.Generator().manual_seed(0))
        for one in (batch, interleaved)
    )
    assert torch.equal(left, right)


def test_the_cache_cannot_be_written_to_by_mistake(store, labels):
    with pytest.raises(ValueError, match="read-only"):
        load_pixels(labels, store=store, framing=Framing(16))[0] = 0


def test_nothing_half_written_stays_behind(store, labels):
    sha256, _ = crop_of(store, labels, labels.rows - 1)
    store.files.write(store.crops.relative_path(sha256), b"not what its name says")
    with pytest.raises(AlteredVersion):
        load_pixels(labels, store=store, framing=Framing(16))
    assert list((store.home.cache / "pixels").iterdir()) == []


def test_a_crop_that_is_no_picture_names_its_row(store, labels):
    rows = store.tables.read(labels).to_pylist()
    rows[4]["crop_sha256"] = store.crops.put(b"no picture")
    broken = store.tables.write(rows, asset="balanced_label_table")
    with pytest.raises(InputError, match="row 4"):
        load_pixels(broken, store=store, framing=Framing(16))


def test_an_empty_table_is_refused(store):
    with pytest.raises(InputError, match="no rows"):
        load_pixels(store.tables.write([], asset="balanced_label_table"), store=store, framing=Framing(16))


def test_a_cache_folder_that_cannot_be_made_is_a_storage_error(store, labels):
    (store.home.cache / "pixels").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match="cannot be written"):
        load_pixels(labels, store=store, framing=Framing(16))


def test_a_framing_shows_the_centre_of_a_crop():
    crop = np.zeros((40, 40, 3), np.uint8)
    crop[10:30, 10:30] = 200
    assert Framing(20, 0.5)(crop).min() == 200
    assert Framing(20, 1.0)(crop).min() == 0
    assert Framing(16, 0.7)(crop).shape == (16, 16, 3)


def test_crops_of_any_size_show_the_same_part():
    """A face scored from a larger crop is framed alike: what is shown is a fraction, not pixels."""
    small = np.zeros((40, 40, 3), np.uint8)
    small[4:36, 4:36] = 200
    large = np.kron(small, np.ones((5, 5, 1), np.uint8))
    np.testing.assert_array_equal(Framing(28, 0.7)(small), Framing(28, 0.7)(large))


def test_each_framing_has_a_cache_of_its_own(store, labels):
    whole, part = (load_pixels(labels, store=store, framing=Framing(16, part)) for part in (1.0, 0.5))
    assert not np.array_equal(whole, part)


def test_enlarging_is_allowed():
    assert resize_crop(np.zeros((8, 8, 3), np.uint8), 32).shape == (32, 32, 3)


def test_caches_that_nothing_opens_any_more_are_swept(store, labels):
    load_pixels(labels, store=store, framing=Framing(16))
    load_pixels(labels, store=store, framing=Framing(20))
    unused, used = (cache_path(labels, store=store, framing=Framing(size)) for size in (16, 20))
    part = unused.with_suffix(".1-2.part")
    part.write_bytes(b"half")
    # of another process, and gone when it is looked at
    part.with_suffix(".3.part").symlink_to("nothing")
    for path in (unused, used, part):
        os.utime(path, (0, 0))
    load_pixels(labels, store=store, framing=Framing(20))
    load_pixels(labels, store=store, framing=Framing(24))
    assert used.exists()
    assert not unused.exists()
    assert not part.exists()
