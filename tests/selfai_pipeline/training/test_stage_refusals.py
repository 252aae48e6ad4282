"""What the stages refuse, and what they make of labels that are hard to learn from."""

import pytest
import torch

from selfai_pipeline.errors import AlteredVersion, InputError, OutOfMemory
from selfai_pipeline.training.checkpoints import folder_of, load_record
from selfai_pipeline.training.finetune_stage import FinetuneStage, finetune_scorer
from selfai_pipeline.training.scorer import Scorer
from selfai_pipeline.training.settings import Pairing, SiameseSettings
from selfai_pipeline.training.siamese_stage import pretrain_siamese


def quiet(epoch, figures):
    """An epoch report that nobody reads."""


def test_a_trunk_is_no_scorer(store, siamese, compute):
    with pytest.raises(InputError, match="without an output"):
        Scorer.load(siamese, store=store, compute=compute)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (["wider conv99 2"], "conv99"),
        (["taller conv1"], "no operator"),
        (
            ["wider conv15 1000000"],
            r"operator 1 of the plan: conv15 has 1.5e\+07 channels; from 1 to \d+ can be",
        ),
        (["deeper conv1 33"], "has 33 as the side of the kernel; from 1 to"),
    ],
)
def test_a_growth_plan_that_does_not_fit_stops_before_training(store, labels, compute, plan, message):
    settings = SiameseSettings(input_size=32, width=0.12, growth_plan=plan)
    with pytest.raises(InputError, match=f"growth_plan: .*{message}"):
        pretrain_siamese(labels, store=store, settings=settings, compute=compute, report=quiet)
    assert not (store.home.cache / "pixels").exists()


def change_labels(store, labels, change):
    rows = store.tables.read(labels).to_pylist()
    return store.tables.write([change(dict(row)) for row in rows], asset="balanced_label_table")


@pytest.fixture
def far_classes(siamese_settings) -> SiameseSettings:
    return siamese_settings.model_copy(update={"pairing": Pairing.FAR_CLASSES})


@pytest.mark.parametrize("classes", [2, 3])
def test_a_narrow_range_of_scores_takes_nearer_classes_as_different(
    store, labels, far_classes, compute, classes
):
    narrow = change_labels(store, labels, lambda row: {**row, "class": 4 + row["class"] % classes})
    ref = pretrain_siamese(narrow, store=store, settings=far_classes, compute=compute, report=quiet)
    assert far_classes.negative_from == 3
    assert load_record(ref, store=store)["metrics"]["negative_from"] == classes - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: {**row, "score": 4.0}, "scores of the train split are equal"),
        (lambda row: {**row, "split": "train"}, "validation split has 0 rows"),
        (lambda row: {**row, "split": "validation"}, "train split has 0 rows"),
        (lambda row: {**row, "weight": 0.0}, "no row of the train split has a weight"),
        (lambda row: {**row, "class": 4}, "no two pictures of two classes"),
    ],
)
def test_a_table_that_nothing_can_be_learnt_from_is_refused(
    store, labels, far_classes, compute, change, message
):
    changed = change_labels(store, labels, change)
    with pytest.raises(InputError, match=message):
        pretrain_siamese(changed, store=store, settings=far_classes, compute=compute, report=quiet)


def test_a_damaged_parent_stops_fine_tuning(store, labels, siamese, compute, finetune_settings):
    file = store.files.local_path(f"{folder_of(siamese)}/weights.safetensors")
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(AlteredVersion):
        finetune_scorer(
            siamese, labels, store=store, settings=finetune_settings, compute=compute, report=quiet
        )


def test_a_trunk_that_was_trained_on_what_is_held_out_now_is_refused(
    store, labels, siamese, compute, finetune_settings
):
    swap = {"train": "validation", "validation": "train"}
    moved = change_labels(
        store, labels, lambda row: {**row, "split": swap[row["split"]], "weight": float(row["weight"] == 0)}
    )
    with pytest.raises(InputError, match=r"siamese_checkpoint .* has seen 48 of 48 faces"):
        finetune_scorer(
            siamese, moved, store=store, settings=finetune_settings, compute=compute, report=quiet
        )
    assert not store.files.exists("checkpoints/finetuned_scorer")


def test_too_little_memory_for_what_is_measured_behind_the_last_epoch_is_a_sentence(
    store, labels, siamese, compute, finetune_settings, monkeypatch
):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(FinetuneStage, "calibrate", full)
    with pytest.raises(OutOfMemory, match="not enough memory for finetune on cpu"):
        finetune_scorer(
            siamese, labels, store=store, settings=finetune_settings, compute=compute, report=quiet
        )
