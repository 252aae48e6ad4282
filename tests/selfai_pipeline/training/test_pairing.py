"""Every way to pair pictures trains, stalls, grows, goes on after a kill, and is checked for collapse."""

import numpy as np
import pytest
import torch

from selfai_pipeline.errors import InputError, SelfaiError
from selfai_pipeline.networks.ranking import RankedPairs
from selfai_pipeline.networks.siamese import HingePairs
from selfai_pipeline.networks.stages import convolutions
from selfai_pipeline.training.checkpoints import load_checkpoint, load_record, save_checkpoint
from selfai_pipeline.training.growth import StallRule
from selfai_pipeline.training.pairing import fitted_pairs, pairs_of
from selfai_pipeline.training.samplers import draw_epoch
from selfai_pipeline.training.settings import Pairing, SiameseSettings
from selfai_pipeline.training.siamese_stage import pretrain_siamese
from selfai_pipeline.training.soundness import embedding_condition

EVERY_MODE = pytest.mark.parametrize("pairing", list(Pairing))


def quiet(epoch, figures):
    """An epoch report that nobody reads."""


def test_the_settings_name_the_loss():
    def pairs(pairing, **changes):
        return pairs_of(SiameseSettings(pairing=pairing, margin=2.0, negative_from=4, **changes))

    assert pairs("far_classes") == HingePairs(2.0, negative_from=4)
    assert pairs("same_class") == HingePairs(2.0, negative_from=1)
    assert pairs("growing_margin") == HingePairs(2.0, negative_from=1, margin_at=4)
    assert pairs("rank_n_contrast", temperature=0.3) == RankedPairs(0.3, norm=2)
    assert pairs("rank_n_contrast", temperature=0.3, rank_distance="l1") == RankedPairs(0.3, norm=1)


class Killed(SelfaiError):
    """Stands for the end of the process."""


@EVERY_MODE
def test_each_mode_grows_at_a_stall_and_goes_on_after_a_kill(
    store, labels, siamese_settings, compute, pairing
):
    settings = siamese_settings.model_copy(update={"pairing": pairing})

    def run(report=quiet):
        return pretrain_siamese(labels, store=store, settings=settings, compute=compute, report=report)

    def die(epoch, figures):
        if epoch == 3:
            raise Killed

    undisturbed = run()
    record = load_record(undisturbed, store=store)
    assert [event["epoch"] for event in record["growth"]] == [2, 3]
    for event in record["growth"]:
        assert event["deviation_float64"] < 1e-10
        assert event["loss_after"] == pytest.approx(event["loss_before"], rel=1e-3)
    assert record["settings"]["pairing"] == pairing
    for path in (store.home.cache / "recovery").iterdir():
        path.unlink()
    with pytest.raises(Killed):
        run(die)
    assert run() == undisturbed


def test_a_hundredth_of_a_nat_is_progress_for_ranks_and_none_for_a_hinge():
    """Losses as they are on real faces, where ranks start at the logarithm of 500 and fall slowly."""
    rule = StallRule(patience=1, tolerance=0.01)

    def stalls(pairs, losses):
        memory = {}
        return [rule.update(memory, pairs.remaining(loss)) for loss in losses]

    assert stalls(RankedPairs(0.2, 2), [5.28, 5.26, 5.24, 5.235]) == [False, False, False, True]
    assert stalls(HingePairs(1.0, 3), [5.28, 5.26]) == [False, True]


def shrunk(store, ref):
    """The checkpoint once more, with all faces on nearly one point."""
    checkpoint = load_checkpoint(ref, store=store)
    last = checkpoint.network.layer(convolutions(checkpoint.network.stages)[-1].name)
    with torch.no_grad():
        last.weight.mul_(1e-6)
        last.bias.zero_()
    return save_checkpoint(
        checkpoint.network, asset=ref.asset, record=checkpoint.record, rows=ref.rows, store=store
    )


@EVERY_MODE
def test_each_mode_learns_from_discs_and_its_collapse_is_found(store, labels, compute, pairing):
    """Discs are easy: here not even the plain form collapses."""
    settings = SiameseSettings(
        pairing=pairing, input_size=32, width=0.25, batch_size=16, least_steps=8, epochs=6, growth_plan=[]
    )
    ref = pretrain_siamese(labels, store=store, settings=settings, compute=compute, report=quiet)
    history = load_record(ref, store=store)["history"]
    assert history[-1]["validation_loss"] < history[0]["validation_loss"]
    sound = embedding_condition(ref, store=store, compute=compute)
    assert sound.problems == []
    assert sound.probe_pearson > 0.6
    (problem, *_) = embedding_condition(shrunk(store, ref), store=store, compute=compute).problems
    assert "of the loss's margin or temperature" in problem


def test_zeroing_noise_in_growth_is_not_exact_and_says_by_how_much(store, labels, siamese_settings, compute):
    noise = {"growth_copies": "zeroing_noise", "growth_zeroed": 0.5}
    settings = SiameseSettings(**{**siamese_settings.model_dump(), **noise})
    ref = pretrain_siamese(labels, store=store, settings=settings, compute=compute, report=quiet)
    wider, deeper = load_record(ref, store=store)["growth"]
    assert wider["deviation_float64"] > 1e-4
    assert deeper["deviation_float64"] < 1e-10


def classes(*values):
    return np.array(values, dtype=np.int64)


FAR = classes(1, 1, 6, 6)


@pytest.mark.parametrize(
    ("pairing", "changes", "validation", "message"),
    [
        ("far_classes", {}, classes(1, 2, 5), "validation split has no two pictures of one class"),
        ("same_class", {}, classes(4, 4, 4), "validation split has no two pictures of two classes"),
        ("growing_margin", {}, classes(4, 5, 6), "validation split has no two pictures of one class"),
        ("rank_n_contrast", {}, classes(1, 9), "validation split has 2 pictures, rank_n_contrast needs 3"),
        ("rank_n_contrast", {"batch_size": 2}, FAR, "batch_size: a batch of 2 has no order to learn"),
    ],
)
def test_what_a_mode_cannot_learn_from_is_refused(pairing, changes, validation, message):
    settings = SiameseSettings(pairing=pairing, **changes)
    with pytest.raises(InputError, match=message):
        fitted_pairs(settings, {"train": FAR, "validation": validation}, where="balanced_label_table")


def test_ranks_need_no_two_pictures_of_one_class():
    settings = SiameseSettings(pairing="rank_n_contrast")
    splits = {"train": classes(1, 2, 3), "validation": classes(4, 5, 6)}
    assert isinstance(fitted_pairs(settings, splits, where="balanced_label_table"), RankedPairs)


def test_every_batch_has_many_pairs_of_both_kinds_although_most_scores_are_middling():
    settings = SiameseSettings()
    of_rows = torch.randn(2000, generator=torch.Generator().manual_seed(0)) * 1.5 + 4.5
    of_rows = of_rows.round().clamp(0, 9).long()
    weights = (1.0 / torch.bincount(of_rows, minlength=10)[of_rows]) ** settings.balance_power
    batches = draw_epoch(torch.arange(2000), weights, batch_size=settings.batch_size, seed=0, epoch=1)
    apart = (of_rows[batches][:, :, None] - of_rows[batches][:, None, :]).abs()
    first, second = torch.triu_indices(settings.batch_size, settings.batch_size, offset=1)
    apart = apart[:, first, second]
    for pairs in (apart == 0, apart >= settings.negative_from):
        assert pairs.sum(1).min() >= 20, "of 496"
