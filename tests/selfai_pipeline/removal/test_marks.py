"""Which models a removal marks: those that learnt from it, and those that learn from what it leaves."""

from typing import Any

import pytest

from selfai_pipeline.lineage.audit import audit
from selfai_pipeline.lineage.registry import Registry
from selfai_pipeline.removal.marks import removed_inputs
from selfai_pipeline.sources.tombstones import Mark

TRAINED = ("siamese_checkpoint", "widened_checkpoint", "finetuned_scorer")


def marks(lived_in: Any, asset: str = "finetuned_scorer") -> list[Mark]:
    """The marks on a current checkpoint, of which an audit says the same."""
    ref = lived_in.world.current(asset)
    found = removed_inputs(lived_in.store, ref)
    assert audit(ref.sha256, archive=lived_in.world.archive, registry=Registry()).marks == tuple(found)
    return found


@pytest.mark.parametrize(("number", "is_marked"), [(1, True), (2, True), (3, False)])
def test_models_that_learnt_from_it_are_marked_with_those_made_from_them(
    lived_in: Any, number: int, is_marked: bool
) -> None:
    """Picture 1 is in the training split, 2 in validation, 3 in test."""
    lived_in.remove("picture", lived_in.world.image_id(number))
    for asset in TRAINED:
        found = marks(lived_in, asset)
        assert bool(found) == is_marked
        assert all(mark.reason == "letter 7" for mark in found)


def test_a_model_that_is_trained_again_from_the_beginning_bears_no_mark(lived_in: Any) -> None:
    world = lived_in.world
    lived_in.remove("picture", world.image_id(1))
    world.train("finetuned_scorer", "widened_checkpoint")
    assert marks(lived_in), "its parent has learnt from it"
    world.train_all()
    assert marks(lived_in) == []


def test_models_that_learnt_from_the_ratings_of_an_annotator_are_marked(lived_in: Any) -> None:
    lived_in.remove("annotator", "site/ann")
    for asset in TRAINED:
        (mark, *_) = marks(lived_in, asset)
        assert mark.pictures == {"train": 3, "validation": 1, "test": 2}


def test_an_annotator_who_rated_nothing_that_a_model_learnt_from_marks_none(lived_in: Any) -> None:
    """`site/cay` has rated picture 3, which is in the test split."""
    world = lived_in.world
    ratings = world.rows(world.current("annotations"))
    rated = next(row for row in ratings if row["image_id"] == world.image_id(3))
    world.write([*ratings, {**rated, "annotator": "site/cay"}], "annotations", "all", ())
    world.label({2: "validation", 3: "test", 6: "test"})
    world.train_all()
    lived_in.remove("annotator", "site/cay")
    world.train_all(seed=1)
    assert marks(lived_in) == []
    assert any((lived_in.home.cache / "recovery").iterdir()), "none of it learnt from them"


def test_what_is_trained_on_labels_from_before_the_removal_is_marked_until_these_are_made_again(
    lived_in: Any,
) -> None:
    """The label table has scores that an annotator's ratings went into, and stays until it is made again."""
    world = lived_in.world
    labels = world.current("balanced_label_table")
    lived_in.remove("annotator", "site/ann")
    assert not any((lived_in.home.cache / "recovery").iterdir()), "no training goes on with these scores"
    world.train_all(seed=1)
    for asset in TRAINED:
        (mark,) = marks(lived_in, asset)
        assert mark.sha256 == labels.sha256
        assert "made with ratings that removal" in str(mark)
        assert "(of pictures: 2 of test, 3 of train, 1 of validation)" in str(mark)
    world.label({2: "validation", 3: "test", 6: "test"})
    world.train("finetuned_scorer", "widened_checkpoint", seed=1)
    assert marks(lived_in), "its parent has learnt from them"
    world.train_all(seed=1)
    assert marks(lived_in) == []


def test_what_a_later_removal_leaves_of_such_labels_is_no_better(lived_in: Any) -> None:
    world = lived_in.world
    lived_in.remove("annotator", "site/ann")
    for number in (1, 4):
        lived_in.remove("picture", world.image_id(number))
        world.train_all(seed=number)
        (mark,) = marks(lived_in)
        assert mark.asset == "balanced_label_table"
