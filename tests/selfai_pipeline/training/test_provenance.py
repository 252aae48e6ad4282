"""The chain behind a scorer, and proof that it has not seen the faces that are held out."""

import cv2
import numpy as np
import pytest

from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import tiny_darknet
from selfai_pipeline.pictures.measures import thumbnail_of
from selfai_pipeline.training.checkpoints import save_checkpoint
from selfai_pipeline.training.provenance import chain_of, check_unseen

SPLITS = ["train", "train", "validation", "test"] * 2


@pytest.fixture
def chain(store):
    """A Siamese checkpoint and two that stand on it, all made from one label table."""

    def make(labels):
        parent = None
        for asset in ("siamese_checkpoint", "widened_checkpoint", "finetuned_scorer"):
            history = [{"epoch": epoch, "loss": 1 / epoch} for epoch in (1, 2)]
            record = {
                "input_size": 32,
                "settings": {},
                "metrics": {},
                "history": [] if asset == "widened_checkpoint" else history,
                "growth": [{"epoch": 2, "operator": "deeper conv13"}] if parent is None else [],
                "inputs": {"labels": labels.sha256} | ({"parent": parent.sha256} if parent else {}),
            }
            network = Network(tiny_darknet(0.12))
            parent = save_checkpoint(network, asset=asset, record=record, rows=4, store=store)
        return parent

    return make


def test_the_chain_runs_from_the_siamese_stage_to_the_scorer(table_of, chain, store):
    scorer = chain(table_of(SPLITS))
    stages = chain_of(scorer, store=store)
    assert [stage.ref.asset for stage in stages] == [
        "siamese_checkpoint",
        "widened_checkpoint",
        "finetuned_scorer",
    ]
    assert stages[-1].ref == scorer
    assert [len(stage.history) for stage in stages] == [2, 0, 2]
    assert [len(stage.growth) for stage in stages] == [1, 0, 0]


def test_a_parent_that_is_gone_is_named(table_of, chain, store):
    scorer = chain(table_of(SPLITS))
    parent = chain_of(scorer, store=store)[1].ref
    store.files.delete(f"checkpoints/{parent.asset}/{parent.sha256}/record.json")
    with pytest.raises(MissingVersion, match=f"finetuned_scorer .* from checkpoint {parent.sha256[:12]}"):
        chain_of(scorer, store=store)


def test_an_altered_record_is_refused(table_of, chain, store):
    scorer = chain(table_of(SPLITS))
    first = chain_of(scorer, store=store)[0].ref
    path = store.files.local_path(f"checkpoints/{first.asset}/{first.sha256}/record.json")
    path.write_bytes(path.read_bytes().replace(b'"epoch": 2', b'"epoch": 3'))
    with pytest.raises(AlteredVersion):
        chain_of(scorer, store=store)


def test_the_label_table_it_was_trained_on_is_safe_by_its_splits(table_of, chain, store):
    labels = table_of(SPLITS)
    check_unseen(chain_of(chain(labels), store=store), labels=labels, store=store)


def test_further_pictures_that_keep_the_sides_of_the_old_ones_are_fine(table_of, chain, store):
    stages = chain_of(chain(table_of(SPLITS[:4])), store=store)
    check_unseen(stages, labels=table_of(SPLITS), store=store)


@pytest.mark.parametrize(
    ("before", "now", "seen"),
    [("train", "test", 2), ("validation", "test", 2), ("train", "validation", 2), ("validation", "train", 0)],
)
def test_a_face_may_not_move_away_from_training(table_of, chain, store, before, now, seen):
    stages = chain_of(chain(table_of([before, before, "train", "test", "validation", "train"])), store=store)
    labels = table_of([now, now, "train", "test", "validation", "train"])
    if not seen:
        check_unseen(stages, labels=labels, store=store)
        return
    with pytest.raises(InputError, match=f"siamese_checkpoint .* has seen {seen} of . faces") as caught:
        check_unseen(stages, labels=labels, store=store)
    assert "from siamese_checkpoint on" in str(caught.value)


def test_only_the_named_splits_are_looked_at(table_of, chain, store):
    stages = chain_of(chain(table_of(SPLITS)), store=store)
    moved = table_of(["validation", "train", "validation", "test"] * 2)
    check_unseen(stages, labels=moved, store=store, splits=["test"])
    with pytest.raises(InputError, match="has seen 2 of 4"):
        check_unseen(stages, labels=moved, store=store, splits=["validation"])


def test_the_same_crop_under_another_picture_is_the_same_face(table_of, chain, store):
    stages = chain_of(chain(table_of(["train"] * 6 + ["validation", "test"])), store=store)
    labels = table_of(["test"] * 8, numbered_from=100, flipped_bits=range(8))
    with pytest.raises(InputError, match="has seen 7 of 8"):
        check_unseen(stages, labels=labels, store=store)


def test_a_near_duplicate_of_a_face_that_was_trained_on_has_been_seen(table_of, chain, store):
    stages = chain_of(chain(table_of(["train"] * 6 + ["validation", "test"])), store=store)
    near = table_of(["test"] * 8, numbered_from=100, drawn_from=50, flipped_bits=range(3))
    with pytest.raises(InputError, match="has seen 7 of 8"):
        check_unseen(stages, labels=near, store=store)
    other = table_of(["test"] * 8, numbered_from=100, drawn_from=50, flipped_bits=range(40))
    check_unseen(stages, labels=other, store=store)


def test_a_cropped_copy_of_a_face_that_was_trained_on_has_been_seen(table_of, chain, store):
    coarse = np.random.default_rng(0).integers(0, 256, (12, 12), dtype=np.uint8)
    picture = np.asarray(cv2.resize(coarse, (240, 240), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)

    def showing(ref, luma, facts):
        rows = store.tables.read(ref).to_pylist()
        rows[0]["thumbnail"] = thumbnail_of(np.ascontiguousarray(luma)).tobytes()
        return store.tables.write(rows, asset=ref.asset, facts=facts)

    before = showing(table_of(["train"] * 6 + ["validation", "test"]), picture, {})
    stages = chain_of(chain(before), store=store)
    others = table_of(["test"] * 8, numbered_from=100, drawn_from=50, flipped_bits=range(40))
    hashes_alone = showing(others, picture[12:, :228], {"duplicate_radius": 12})
    check_unseen(stages, labels=hashes_alone, store=store)
    labels = showing(others, picture[12:, :228], {"duplicate_radius": 12, "duplicate_correlation": 0.97})
    with pytest.raises(InputError, match="has seen 1 of 8"):
        check_unseen(stages, labels=labels, store=store)
