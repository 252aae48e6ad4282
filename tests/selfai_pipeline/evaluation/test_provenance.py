"""The chain behind a scorer, and proof that it has not seen the test faces."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion
from selfai_pipeline.evaluation.provenance import chain_of, check_unseen

MakeWorld = Callable[..., Any]
SCORES = [1.0, 3.0, 5.0, 7.0, 2.0, 4.0, 6.0, 8.0]


def checkpoint_folder(world: Any, ref: Any) -> Path:
    return Path(world.store.files.local_path(f"checkpoints/{ref.asset}/{ref.sha256}"))


def test_the_chain_runs_from_the_siamese_stage_to_the_scorer(world: Any) -> None:
    stages = chain_of(world.scorer, store=world.store)

    assert [stage.ref for stage in stages] == [world.siamese, world.widened, world.scorer]
    assert [len(stage.history) for stage in stages] == [3, 0, 2]
    assert [len(stage.growth) for stage in stages] == [1, 0, 0]


def test_a_parent_that_is_gone_is_named(world: Any) -> None:
    shutil.rmtree(checkpoint_folder(world, world.widened))

    with pytest.raises(
        MissingVersion, match=f"finetuned_scorer .* from checkpoint {world.widened.sha256[:12]}"
    ):
        chain_of(world.scorer, store=world.store)


def test_an_altered_record_is_refused(world: Any) -> None:
    record = checkpoint_folder(world, world.siamese) / "record.json"
    record.write_bytes(record.read_bytes().replace(b'"epoch": 2', b'"epoch": 3'))

    with pytest.raises(AlteredVersion):
        chain_of(world.scorer, store=world.store)


def test_the_label_table_it_was_trained_on_is_safe_by_its_splits(world: Any) -> None:
    stages = chain_of(world.scorer, store=world.store)
    rows = world.store.tables.read(world.labels, ["image_id", "split"]).to_pylist()
    tested = [row["image_id"] for row in rows if row["split"] == "test"]

    check_unseen(tested, stages, labels=world.labels, store=world.store)


def test_a_scorer_trained_on_other_splits_has_seen_test_faces(make_world: MakeWorld) -> None:
    earlier = make_world(SCORES, splits=["train", "train", "validation", "test"] * 2)
    now = make_world(SCORES, splits=["test", "train", "test", "train"] * 2)
    rows = now.store.tables.read(now.labels, ["image_id", "split"]).to_pylist()
    tested = [row["image_id"] for row in rows if row["split"] == "test"]
    stages = chain_of(earlier.scorer, store=now.store)

    with pytest.raises(InputError, match="has seen 4 of 4 test pictures"):
        check_unseen(tested, stages, labels=now.labels, store=now.store)


def test_an_earlier_table_that_kept_the_test_faces_apart_is_fine(make_world: MakeWorld) -> None:
    earlier = make_world(SCORES[:4], splits=["test", "train", "train", "validation"])
    now = make_world(SCORES, splits=["test", "train", "train", "validation"] * 2)
    rows = now.store.tables.read(now.labels, ["image_id", "split"]).to_pylist()
    stages = chain_of(earlier.scorer, store=now.store)

    check_unseen(
        [row["image_id"] for row in rows if row["split"] == "test"],
        stages,
        labels=now.labels,
        store=now.store,
    )
