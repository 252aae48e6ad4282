"""The three stages one after the other, on discs whose score is how large and how red they are."""

import functools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfai_pipeline.errors import SelfaiError
from selfai_pipeline.networks.stages import Convolution, convolutions
from selfai_pipeline.training import trainer, widen_stage
from selfai_pipeline.training.checkpoints import load_checkpoint, load_record
from selfai_pipeline.training.finetune_stage import finetune_scorer
from selfai_pipeline.training.labels import LabelledPixels
from selfai_pipeline.training.metrics import pearson
from selfai_pipeline.training.pixels import Framing, load_pixels
from selfai_pipeline.training.scorer import Scorer
from selfai_pipeline.training.settings import (
    ComputeSettings,
    FinetuneSettings,
    Pairing,
    Precision,
    WhenMoved,
    WidenSettings,
)
from selfai_pipeline.training.siamese_stage import pretrain_siamese
from selfai_pipeline.training.soundness import embedding_condition
from selfai_pipeline.training.widen_stage import InexactWidening, widen_checkpoint


def quiet(epoch, figures):
    """An epoch report that nobody reads."""


def forget(store):
    """Without its recovery points a store trains from the beginning."""
    for path in (store.home.cache / "recovery").iterdir():
        path.unlink()


def test_pretraining_grows_by_its_plan_and_records_what_growth_did(store, labels, siamese):
    record = load_record(siamese, store=store)
    assert [event["operator"] for event in record["growth"]] == ["wider conv15 1.5", "deeper conv13"]
    assert [event["epoch"] for event in record["growth"]] == [2, 3]
    for event in record["growth"]:
        assert event["deviation_float64"] < 1e-10
        assert event["deviation_float32"] < 1e-3
        assert event["deviation_float64"] < event["deviation_bfloat16"] < 1
        assert event["loss_after"] == pytest.approx(event["loss_before"], rel=1e-3)
        assert event["parameters_after"] > event["parameters_before"]
    assert record["growth_plan"] == [
        {"operator": "wider conv15 1.5", "happened": True, "epoch": 2},
        {"operator": "deeper conv13", "happened": True, "epoch": 3},
    ]
    network = load_checkpoint(siamese, store=store).network
    assert "conv13_deeper" in [stage.name for stage in convolutions(network.stages)]
    assert network.embedding_size == 23
    assert record["inputs"] == {"labels": labels.sha256}
    assert siamese.rows == 48
    assert {"probe_pearson", "validation_loss", "parameters"} <= set(record["metrics"])


def test_what_a_checkpoint_says_of_itself_is_float32_whatever_it_was_trained_in(
    store, labels, siamese_settings, compute, finetune_settings
):
    reduced = compute.model_copy(update={"precision": Precision.BFLOAT16})
    common = {"store": store, "compute": reduced, "report": quiet}
    siamese = pretrain_siamese(labels, settings=siamese_settings, **common)
    record = load_record(siamese, store=store)
    for event in record["growth"]:
        assert event["loss_after"] == pytest.approx(event["loss_before"], rel=1e-5)
    condition = embedding_condition(siamese, store=store, compute=compute)
    distance = record["metrics"]["mean_distance"]
    assert distance == pytest.approx(condition.spread * siamese_settings.temperature, rel=1e-6)
    assert distance != record["history"][-1]["mean_distance"]

    scorer = finetune_scorer(siamese, labels, settings=finetune_settings, **common)
    record = load_record(scorer, store=store)
    rows = [row for row in store.tables.read(labels).to_pylist() if row["split"] == "validation"]
    data = LabelledPixels.load(labels, store=store, framing=Framing(32, siamese_settings.framing))
    scores = Scorer.load(scorer, store=store, compute=compute).score_framed(data.pixels[data.validation])
    annotated = np.array([row["score"] for row in rows])
    assert record["metrics"]["validation_pearson"] == pytest.approx(pearson(scores, annotated), abs=1e-6)


def test_an_operator_that_never_happened_stands_in_the_record(store, labels, siamese_settings, compute):
    never = siamese_settings.model_copy(update={"stall_patience": 9})
    ref = pretrain_siamese(labels, store=store, settings=never, compute=compute, report=quiet)
    record = load_record(ref, store=store)
    assert record["growth"] == []
    assert [entry["happened"] for entry in record["growth_plan"]] == [False, False]


def test_growth_says_what_it_did_to_the_speed(store, labels, siamese_settings, compute, caplog):
    with caplog.at_level("INFO", logger="selfai.training"):
        pretrain_siamese(labels, store=store, settings=siamese_settings, compute=compute, report=quiet)
    assert len(re.findall(r"Net2Net `wider conv15 1.5`: \d+ -> \d+ pictures/s", caplog.text)) == 1
    assert len(re.findall(r"Net2Net `deeper conv13`: \d+ -> \d+ pictures/s", caplog.text)) == 1


def test_a_network_that_grew_is_traced_anew(
    compiler, store, labels, siamese, siamese_settings, compute, monkeypatch
):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    compiled = compute.model_copy(update={"compile": True})
    again = pretrain_siamese(labels, store=store, settings=siamese_settings, compute=compiled, report=quiet)
    plain, traced = (load_checkpoint(ref, store=store).network for ref in (siamese, again))
    assert traced.stages == plain.stages
    for name, weights in plain.state_dict().items():
        torch.testing.assert_close(traced.state_dict()[name], weights, rtol=1e-3, atol=1e-4)


def test_a_run_that_went_on_elsewhere_says_so_in_the_record(store, labels, siamese_settings, compute):
    def die(epoch, figures):
        if epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        pretrain_siamese(labels, store=store, settings=siamese_settings, compute=compute, report=die)
    there = compute.model_copy(update={"threads": 2, "when_moved": WhenMoved.RESUME})
    ref = pretrain_siamese(labels, store=store, settings=siamese_settings, compute=there, report=quiet)
    assert load_record(ref, store=store)["moves"] == [
        {"after_epoch": 2, "before": {"threads": 1}, "now": {"threads": 2}}
    ]


@pytest.mark.parametrize("pairing", [Pairing.RANK_N_CONTRAST, Pairing.FAR_CLASSES])
def test_a_class_with_one_picture_is_no_obstacle(
    store, labels, siamese_settings, compute, finetune_settings, pairing
):
    """It has no pair of its own, unless a batch draws it twice; its weight is that of any other class."""
    rows = store.tables.read(labels).to_pylist()
    lone = next(row["image_id"] for row in rows if row["split"] == "train" and row["class"] == 5)
    kept = [row for row in rows if row["class"] != 5 or row["split"] != "train" or row["image_id"] == lone]
    table = store.tables.write(
        [{**row, "weight": 0.1} if row["image_id"] == lone else row for row in kept],
        asset="balanced_label_table",
    )
    settings = siamese_settings.model_copy(update={"pairing": pairing})
    ref = pretrain_siamese(table, store=store, settings=settings, compute=compute, report=quiet)
    scorer = finetune_scorer(
        ref, table, store=store, settings=finetune_settings, compute=compute, report=quiet
    )
    assert load_record(scorer, store=store)["metrics"]["best_epoch"] >= 1


def test_pretraining_again_gives_the_same_checkpoint(store, labels, siamese, siamese_settings, compute):
    forget(store)
    again = pretrain_siamese(labels, store=store, settings=siamese_settings, compute=compute, report=quiet)
    assert again == siamese


def test_a_failure_behind_the_last_epoch_costs_no_epoch(store, labels, siamese, siamese_settings, compute):
    """The recovery point outlives training, so that a registry that is down does not train it again."""
    trained = []

    def report(epoch, figures):
        trained.extend([epoch] if "pictures_per_second" in figures else [])

    again = pretrain_siamese(labels, store=store, settings=siamese_settings, compute=compute, report=report)
    assert again == siamese
    assert trained == []


def test_widening_doubles_every_layer_and_measures_that_nothing_moved(store, siamese, compute):
    wide = widen_checkpoint(siamese, store=store, settings=WidenSettings(), compute=compute)
    before, after = (load_checkpoint(ref, store=store) for ref in (siamese, wide))
    doubled = [2 * stage.channels for stage in convolutions(before.network.stages)]
    assert [stage.channels for stage in convolutions(after.network.stages)] == doubled
    metrics = after.record["metrics"]
    assert metrics["deviation_float64"] < 1e-10
    assert metrics["deviation_float32"] < 1e-3
    assert metrics["deviation_float64"] < metrics["deviation_bfloat16"] < 1
    assert after.record["inputs"]["parent"] == siamese.sha256
    assert wide == widen_checkpoint(siamese, store=store, settings=WidenSettings(), compute=compute)


def scale_a_layer(wide):
    wide.layer("conv3").weight.mul_(1.0 + 1e-6)


def drop_the_shift(wide):
    """Embeddings move by a constant, which their distances do not show."""
    last = max(row for row, stage in enumerate(wide.stages) if isinstance(stage, Convolution))
    wide.stages = (*wide.stages[:last], replace(wide.stages[last], shift=0.5), *wide.stages[last + 1 :])


@pytest.mark.parametrize("spoil", [scale_a_layer, drop_the_shift])
def test_a_widening_that_moves_the_function_is_not_stored(store, siamese, monkeypatch, spoil, compute):
    def careless(network, factor, **others):
        wide = widen_all(network, factor, **others)
        spoil(wide)
        return wide

    widen_all = widen_stage.widen_all
    monkeypatch.setattr(widen_stage, "widen_all", careless)
    with pytest.raises(InexactWidening, match="Nothing was stored"):
        widen_checkpoint(siamese, store=store, settings=WidenSettings(), compute=compute)
    assert not store.files.exists("checkpoints/widened_checkpoint")


def test_zeroing_noise_is_kept_although_it_moves_the_function(store, siamese, compute):
    noisy = WidenSettings(copies="zeroing_noise", zeroed=0.3)
    wide = widen_checkpoint(siamese, store=store, settings=noisy, compute=compute)
    assert load_record(wide, store=store)["metrics"]["deviation_float64"] > 1e-4
    equal = widen_checkpoint(
        siamese, store=store, settings=WidenSettings(copies="equal_shares"), compute=compute
    )
    assert load_record(equal, store=store)["metrics"]["deviation_float64"] < 1e-10


def test_a_scorer_widens_with_its_scores_kept(store, labels, siamese, compute):
    scorer = finetune_scorer(
        siamese,
        labels,
        store=store,
        settings=FinetuneSettings(epochs=1, batch_size=12),
        compute=compute,
        report=quiet,
    )
    metrics = load_record(
        widen_checkpoint(scorer, store=store, settings=WidenSettings(), compute=compute), store=store
    )["metrics"]
    assert metrics["deviation_float64"] < 1e-10


def test_fine_tuning_learns_what_a_disc_looks_like(store, labels, siamese, compute):
    wide = widen_checkpoint(siamese, store=store, settings=WidenSettings(), compute=compute)
    settings = FinetuneSettings(epochs=12, batch_size=12, learning_rate=3e-3)
    ref = finetune_scorer(wide, labels, store=store, settings=settings, compute=compute, report=quiet)
    record = load_record(ref, store=store)
    assert record["metrics"]["validation_pearson"] > 0.8
    assert record["inputs"] == {"labels": labels.sha256, "parent": wide.sha256}
    assert len(record["history"]) == 12
    table = store.tables.read(labels, ["score", "split"])
    rows = np.flatnonzero(np.array(table["split"].to_pylist()) == "validation")
    crops = load_pixels(labels, store=store, framing=Framing(40))[rows]
    predicted = Scorer.load(ref, store=store, compute=compute).score(crops)
    annotated = table["score"].to_numpy()[rows]
    assert predicted.dtype == np.float64
    assert np.corrcoef(predicted, annotated)[0, 1] == pytest.approx(
        record["metrics"]["validation_pearson"], abs=1e-4
    )
    errors = np.sort(np.abs(predicted - annotated))
    kept = record["intervals"]
    assert kept["faces"] == len(rows) == 24
    widths = [level["half_width"] for level in kept["levels"]]
    assert widths == pytest.approx([errors[rank - 1] for rank in (13, 20, 23, 24)], abs=1e-3)


def test_every_stage_sees_the_same_part_of_a_crop_and_says_so(store, labels, siamese_settings, compute):
    settings = siamese_settings.model_copy(update={"framing": 0.6, "epochs": 1})
    ref = pretrain_siamese(labels, store=store, settings=settings, compute=compute, report=quiet)
    wide = widen_checkpoint(ref, store=store, settings=WidenSettings(), compute=compute)
    scorer = finetune_scorer(
        wide,
        labels,
        store=store,
        settings=FinetuneSettings(epochs=1, batch_size=12, least_steps=1),
        compute=compute,
        report=quiet,
    )
    for one in (ref, wide, scorer):
        assert load_checkpoint(one, store=store).framing == Framing(32, 0.6)
    cached = {path.name for path in (store.home.cache / "pixels").iterdir()}
    assert cached == {f"{labels.sha256}-32-0.6-planes.npy"}, "nothing was trained on other pixels"


@pytest.mark.parametrize("mirrored", [True, False])
def test_the_stored_scorer_looks_at_mirror_images_where_it_was_told_to(
    store, labels, siamese, compute, finetune_settings, mirrored
):
    settings = finetune_settings.model_copy(update={"epochs": 1, "mirrored": mirrored})
    ref = finetune_scorer(siamese, labels, store=store, settings=settings, compute=compute, report=quiet)
    scorer = Scorer.load(ref, store=store, compute=compute)
    seen = np.array(load_pixels(labels, store=store, framing=scorer.framing)[:6])
    ways = scorer.score_framed(seen), scorer.score_framed(np.ascontiguousarray(seen[:, :, ::-1]))
    assert np.allclose(*ways, atol=1e-4) == mirrored


def test_the_power_of_balance_decides_what_both_stages_draw(
    store, labels, siamese_settings, compute, finetune_settings, monkeypatch
):
    rows = store.tables.read(labels).to_pylist()
    train = [row for row in rows if row["split"] == "train"]
    for row in train:
        row["weight"] = (9.0 if row["class"] == 5 else 1.0) / len(train)
    uneven = store.tables.write(rows, asset="balanced_label_table")
    drawn = []
    true = trainer.draw_epoch

    def noted(numbers, weights, **others):
        drawn.append(float(weights.max() / weights.min()))
        return true(numbers, weights, **others)

    monkeypatch.setattr(trainer, "draw_epoch", noted)
    for power, ratio in ((0.0, 1.0), (0.5, 3.0), (1.0, 9.0)):
        changes = {"epochs": 1, "balance_power": power}
        ref = pretrain_siamese(
            uneven,
            store=store,
            settings=siamese_settings.model_copy(update=changes),
            compute=compute,
            report=quiet,
        )
        finetune_scorer(
            ref,
            uneven,
            store=store,
            settings=finetune_settings.model_copy(update=changes),
            compute=compute,
            report=quiet,
        )
        assert drawn == pytest.approx([ratio, ratio])
        drawn.clear()


class Killed(SelfaiError):
    """Stands for the end of the process."""


@pytest.mark.parametrize("epoch_of_death", [2, 3, 4])
def test_a_run_stopped_around_a_growth_gives_the_same_checkpoint(
    store, labels, siamese, siamese_settings, compute, epoch_of_death, caplog
):
    """Growth happens after epochs 2 and 3: the recovery point holds the grown network and its optimizer."""

    def report(epoch, figures):
        if epoch == epoch_of_death:
            raise Killed

    forget(store)
    with pytest.raises(Killed):
        pretrain_siamese(labels, store=store, settings=siamese_settings, compute=compute, report=report)
    caplog.clear()
    caplog.set_level("INFO", logger="selfai.training")
    resumed = pretrain_siamese(labels, store=store, settings=siamese_settings, compute=compute, report=quiet)
    assert resumed == siamese
    speeds = r"siamese epoch (\d) of 4.*\nINFO.*Net2Net `.*`: \d+ -> \d+ pictures/s"
    told = {int(epoch) for epoch in re.findall(speeds, caplog.text)}
    assert told == {epoch for epoch in (3, 4) if epoch > epoch_of_death}, "growth is told an epoch later"


CHILD = """
import json, sys
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, TableRef
from selfai_pipeline.training.finetune_stage import finetune_scorer
from selfai_pipeline.training.settings import ComputeSettings, FinetuneSettings, SiameseSettings
from selfai_pipeline.training.siamese_stage import pretrain_siamese

def report(epoch, figures):
    if "pictures_per_second" in figures:
        print(epoch, flush=True)

home, labels, parent, settings = sys.argv[1:]
labels, parent, settings = TableRef(**json.loads(labels)), json.loads(parent), json.loads(settings)
others = {"store": Store.open(home), "compute": ComputeSettings(device="cpu", threads=1), "report": report}
if parent:
    parent = CheckpointRef(**parent)
    ref = finetune_scorer(parent, labels, settings=FinetuneSettings(**settings), **others)
else:
    ref = pretrain_siamese(labels, settings=SiameseSettings(**settings), **others)
print(ref.sha256, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["siamese", "finetune"])
def test_kill_minus_9_at_any_moment_and_the_next_process_ends_with_the_same_checkpoint(
    store, labels, siamese_settings, finetune_settings, stage
):
    """In processes of their own, in the precision that the machine chooses, at random moments of an epoch.

    The settings make the Siamese stage grow behind epochs 2 and 3, and fine-tuning average its weights.
    """
    there = {"store": store, "compute": ComputeSettings(device="cpu", threads=1), "report": quiet}
    parent, settings = None, siamese_settings
    if stage == "finetune":
        parent, settings = pretrain_siamese(labels, settings=siamese_settings, **there), finetune_settings
    # long enough that none ends before it is killed
    settings = settings.model_copy(update={"epochs": 8, "least_steps": 12})
    arguments = [
        *(sys.executable, "-c", CHILD, str(store.home.root), json.dumps(vars(labels))),
        *(json.dumps(vars(parent) if parent else None), settings.model_dump_json()),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}

    def launch():
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)

    moments = random.Random(stage)
    seen = []
    for _ in range(2):
        process = launch()
        seen.append(int(process.stdout.readline()))
        time.sleep(moments.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].split()
        assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
        seen.extend(int(line) for line in rest)
    *epochs, resumed = launch().communicate()[0].split()
    seen.extend(int(epoch) for epoch in epochs)
    assert seen == sorted(set(seen)), "a finished epoch was trained again"
    assert seen[-1] == settings.epochs
    (store.home.cache / "recovery").rename(store.home.cache / "set_aside")
    if stage == "finetune":
        undisturbed = finetune_scorer(parent, labels, settings=settings, **there)
    else:
        undisturbed = pretrain_siamese(labels, settings=settings, **there)
    assert resumed == undisturbed.sha256
