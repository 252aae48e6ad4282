"""Groups of near-duplicates against a plain double loop."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from selfai_pipeline.pictures.duplicates import near_duplicate_clusters

Hashes = npt.NDArray[np.uint8]


def by_double_loop(hashes: Hashes, radius: int) -> list[int]:
    labels = list(range(len(hashes)))
    for i in range(len(hashes)):
        for j in range(i):
            if np.unpackbits(hashes[i] ^ hashes[j]).sum() <= radius:
                old, new = labels[i], labels[j]
                labels = [new if label == old else label for label in labels]
    return [labels.index(label) for label in labels]


def family(seed: int, *, n: int, flips: int, width: int = 8) -> Hashes:
    """Hashes in a few families: copies of three ancestors with up to `flips` bits turned over."""
    rng = np.random.default_rng(seed)
    ancestors = rng.integers(0, 256, (3, width), dtype=np.uint8)
    bits = np.unpackbits(ancestors[rng.integers(0, 3, n)], axis=1)
    for row in bits:
        row[rng.integers(0, 8 * width, flips)] ^= 1
    return np.packbits(bits, axis=1)


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 25),
    flips=st.integers(0, 6),
    radius=st.integers(0, 12),
    width=st.sampled_from([8, 32]),
)
def test_groups_are_connected_components(seed: int, n: int, flips: int, radius: int, width: int) -> None:
    hashes = family(seed, n=n, flips=flips, width=width)
    assert near_duplicate_clusters(hashes, radius=radius).tolist() == by_double_loop(hashes, radius)


def test_the_order_of_the_pictures_does_not_matter() -> None:
    hashes = family(1, n=40, flips=3)
    labels = near_duplicate_clusters(hashes, radius=4)
    shuffle = np.random.default_rng(2).permutation(40)
    shuffled = near_duplicate_clusters(hashes[shuffle], radius=4)
    together = labels[:, None] == labels[None, :]
    assert np.array_equal(together[np.ix_(shuffle, shuffle)], shuffled[:, None] == shuffled[None, :])


def test_many_equal_hashes_cost_no_more_than_one() -> None:
    hashes = np.zeros((200_000, 8), dtype=np.uint8)
    assert not near_duplicate_clusters(hashes, radius=10).any()


def test_no_pictures_no_groups() -> None:
    assert near_duplicate_clusters(np.zeros((0, 8), dtype=np.uint8), radius=4).shape == (0,)


def test_hashes_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        near_duplicate_clusters(np.zeros((3, 8)), radius=4)  # type: ignore[arg-type]
