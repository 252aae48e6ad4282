"""Shares of the training faces: nested, of every class alike, and nothing held out is touched."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfai_pipeline.evaluation.ablations.subsets import in_share, of_group, of_share
from selfai_pipeline.tables import TableRef


@settings(deadline=None, max_examples=100)
@given(
    classes=st.lists(st.integers(0, 9), min_size=1, max_size=120),
    shares=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    seed=st.integers(0, 99),
)
def test_a_smaller_share_lies_inside_a_larger_one_and_holds_every_class(
    classes: list[int], shares: tuple[float, float], seed: int
) -> None:
    names = [str(number) for number in range(len(classes))]
    small, large = (in_share(classes, names, share=share, seed=seed) for share in sorted(shares))
    assert not (small & ~large).any()
    for number in set(classes):
        of_class = np.array(classes) == number
        wanted = sorted(shares)[0] * of_class.sum()
        assert wanted - 1e-6 <= small[of_class].sum() < wanted + 1


def test_all_is_all_and_another_seed_is_another_share() -> None:
    classes, names = [3] * 40, [str(number) for number in range(40)]
    assert in_share(classes, names, share=1.0, seed=0).all()
    first, other = (in_share(classes, names, share=0.5, seed=seed) for seed in (0, 1))
    assert first.sum() == other.sum() == 20
    assert (first != other).any()


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="a share lies above 0"):
        in_share([1], ["a"], share=share, seed=0)


def test_only_training_faces_are_left_out_and_the_weights_sum_to_one(store: Any, faces: TableRef) -> None:
    before = store.tables.read(faces).to_pylist()
    quarter = of_share(faces, 0.25, seed=0, store=store)
    after = store.tables.read(quarter).to_pylist()
    held_out = [row for row in before if row["split"] != "train"]
    assert [row for row in after if row["split"] != "train"] == held_out
    train = [row for row in after if row["split"] == "train"]
    assert 12 <= len(train) <= 12 + 10, "a quarter of 48, rounded up in each class"
    assert sum(row["weight"] for row in train) == pytest.approx(1)
    assert {row["class"] for row in train} == {row["class"] for row in before if row["split"] == "train"}
    assert of_share(faces, 0.25, seed=0, store=store) == quarter, "the same again"
    assert store.tables.facts(quarter) == store.tables.facts(faces)


def test_a_group_keeps_its_faces_in_all_splits(store: Any, faces: TableRef) -> None:
    south = store.tables.read(of_group(faces, "south", store=store)).to_pylist()
    assert {row["group"] for row in south} == {"south"}
    assert len(south) == 32
    assert sum(row["weight"] for row in south) == pytest.approx(1)
