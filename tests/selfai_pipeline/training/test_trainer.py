"""The loop: one batch is one step, rates follow the schedule, divergence stops, and a killed run goes on."""

import functools
import math
import re

import numpy as np
import pytest
import torch

from selfai_pipeline.errors import InputError, OutOfMemory, TrainingDiverged
from selfai_pipeline.networks import network as network_module
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import (
    Convolution,
    GlobalAveragePool,
    Head,
    MaxPool,
    tiny_darknet,
    with_head,
)
from selfai_pipeline.training.augmentation import normalise
from selfai_pipeline.training.compute import Compute
from selfai_pipeline.training.finetune_stage import FinetuneStage
from selfai_pipeline.training.inference import embed_rows
from selfai_pipeline.training.labels import LabelledPixels
from selfai_pipeline.training.metrics import pearson
from selfai_pipeline.training.pixels import Framing
from selfai_pipeline.training.recovery import RecoveryPoint
from selfai_pipeline.training.samplers import steps_in_epoch
from selfai_pipeline.training.settings import FinetuneSettings, HeadStart, Precision, WhenMoved
from selfai_pipeline.training.trainer import Trainer, rate_at


def start():
    return Network(with_head(tiny_darknet(0.12)), seed=0)


@pytest.fixture
def trainer_of(store, labels, compute):
    def make(
        report=lambda epoch, figures: None,
        stage_class=FinetuneStage,
        averaging=0.0,
        machine_settings=None,
        **changes,
    ):
        usual = {"batch_size": 12, "least_steps": 1, "epochs": 2, "averaging": averaging}
        settings = FinetuneSettings(**{**usual, **changes})
        on = compute.model_copy(update=machine_settings or {})
        machine = Compute.from_settings(on)
        data = LabelledPixels.load(labels, store=store, framing=Framing(32))
        run = {
            "asset": "finetuned_scorer",
            "settings": settings.model_dump(mode="json"),
            "environment": machine.environment,
        }
        recovery = RecoveryPoint.of(run, store=store, when_moved=on.when_moved)
        stage = stage_class(data, settings, machine)
        return Trainer(stage, data, settings, settings, machine, recovery, report, averaging=averaging)

    return make


def test_one_batch_is_one_step_of_the_optimizer(trainer_of, labels):
    steps = []

    class Counted(FinetuneStage):
        def optimizer(self, network):
            optimizer = super().optimizer(network)
            optimizer.register_step_post_hook(lambda *_: steps.append(1))
            return optimizer

        def loss(self, network, pictures, rows):
            steps.append(0)
            return super().loss(network, pictures, rows)

    state = trainer_of(stage_class=Counted).fit(start)
    expected = 2 * steps_in_epoch(labels.rows * 2 // 3, 12)
    assert steps == [0, 1] * expected
    assert {int(value["step"]) for value in state.optimizer.state.values()} == {expected}


def test_the_head_learns_at_the_full_rate_and_the_trunk_at_its_part(trainer_of):
    figures = []
    state = trainer_of(lambda epoch, values: figures.append(values), trunk_rate=0.25).fit(start)
    trunk, head = state.optimizer.param_groups
    assert head["lr"] == pytest.approx(figures[-1]["learning_rate"])
    assert trunk["lr"] == pytest.approx(0.25 * head["lr"])


def test_the_head_begins_at_the_mean_score_or_where_a_ridge_on_the_embeddings_puts_it(trainer_of):
    predicted = {}
    for beginning in HeadStart:
        stage = trainer_of(head_start=beginning).stage
        network = start()
        stage.start_head(network)
        annotated, predicted[beginning] = stage._validation_scores(network)
    assert predicted[HeadStart.MEAN] == pytest.approx(np.full(len(annotated), stage.data.train_mean))
    assert pearson(predicted[HeadStart.RIDGE], annotated) > 0.5


def test_the_rate_rises_then_falls():
    rates = [rate_at(step, steps=100, warmup=0.2) for step in range(100)]
    assert rates.index(max(rates)) == 20
    assert rates[0] < 0.1
    assert rates[-1] < 0.03
    assert all(0 < rate <= 1 for rate in rates)
    assert rate_at(0, steps=1, warmup=0.0) == 1.0


def test_every_epoch_is_reported_once_with_finite_figures(trainer_of):
    seen = []
    state = trainer_of(lambda epoch, figures: seen.append((epoch, dict(figures))), epochs=3).fit(start)
    assert [epoch for epoch, _ in seen] == [1, 2, 3]
    for _, figures in seen:
        assert {"loss", "validation_pearson", "learning_rate", "pictures_per_second"} <= set(figures)
        assert all(type(value) is float and math.isfinite(value) for value in figures.values())
    assert "pictures_per_second" not in state.history[0], "a run time would change the checkpoint's hash"


def test_the_best_epoch_of_validation_is_kept(trainer_of):
    trainer = trainer_of(epochs=5, learning_rate=3e-3)
    state = trainer.fit(start)
    by_epoch = {entry["epoch"]: entry["validation_pearson"] for entry in state.history}
    assert by_epoch[state.best_epoch] == max(by_epoch.values())
    with torch.no_grad():
        again = trainer.stage.validate(state.judged)["validation_pearson"]
    assert again == by_epoch[state.best_epoch]


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
def test_epochs_are_validated_in_the_format_of_training_and_figures_stay_whole(trainer_of, precision):
    formats = []

    class Watched(FinetuneStage):
        def validate(self, network):
            pictures = self.feed(torch.from_numpy(self.data.validation[:2]))
            formats.append(network.embed(normalise(pictures)).dtype)
            assert embed_rows(network, self.data.validation, feed=self.feed).dtype == torch.float32
            return super().validate(network)

    trainer = trainer_of(stage_class=Watched, machine_settings={"precision": precision})
    state = trainer.fit(start)
    assert formats == [trainer.compute.autocast] * 2
    with torch.no_grad():
        kept = trainer.stage.validate(state.judged)["validation_pearson"]
    assert formats[-1] == torch.float32
    assert kept == pytest.approx(state.best_value, abs=0.01)


def test_averaged_weights_are_the_ones_judged(trainer_of):
    state = trainer_of(averaging=0.9).fit(start)
    assert state.judged is state.average
    assert not torch.equal(state.average.layer("conv1").weight, state.network.layer("conv1").weight)


@pytest.mark.parametrize("fails_at", [1, 6])
def test_a_loss_that_is_not_finite_stops_with_step_loss_and_what_is_kept(trainer_of, fails_at):
    class Diverging(FinetuneStage):
        calls = 0

        def loss(self, network, pictures, rows):
            self.calls += 1
            return super().loss(network, pictures, rows) * (math.nan if self.calls == fails_at else 1.0)

    trainer = trainer_of(stage_class=Diverging)
    kept = f"The last good checkpoint is that of epoch 1, {trainer.recovery.path}. Lower learning_rate"
    if fails_at == 1:
        kept = "No epoch was finished before. Lower learning_rate"
    epoch = 1 if fails_at == 1 else 2
    message = f"the loss is nan at step {fails_at - 1}, in epoch {epoch}. {kept}"
    with pytest.raises(TrainingDiverged, match=re.escape(message)):
        trainer.fit(start)
    assert trainer.recovery.path.exists() == (fails_at > 1)


def test_weights_that_are_not_finite_stop_the_run_before_they_are_judged(trainer_of):
    class Bursting(FinetuneStage):
        def loss(self, network, pictures, rows):
            loss = super().loss(network, pictures, rows)
            loss.register_hook(lambda gradient: gradient * math.inf)
            return loss

    message = r"a weight is no longer finite \(the epoch's loss was .*\) at step 0"
    with pytest.raises(TrainingDiverged, match=message):
        trainer_of(stage_class=Bursting, batch_size=48).fit(start)


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        (lambda: {"validation_pearson": math.nan}, "validation_pearson is nan at step 3, in epoch 1"),
        (lambda: pearson(np.ones(3), np.arange(3.0)), "all 3 predicted scores are equal: no correlation at"),
    ],
)
def test_a_figure_of_validation_without_a_value_stops_the_run(trainer_of, figure, message):
    class Unjudged(FinetuneStage):
        def validate(self, network):
            return figure()

    with pytest.raises(TrainingDiverged, match=message):
        trainer_of(stage_class=Unjudged).fit(start)


def allocate_too_much(*_):
    return torch.empty(1 << 48)


def say_cuda_is_full(*_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


@pytest.mark.parametrize("fail", [allocate_too_much, say_cuda_is_full])
def test_out_of_memory_is_one_sentence_and_finished_epochs_stay(trainer_of, fail):
    class Growing(FinetuneStage):
        calls = 0

        def loss(self, network, pictures, rows):
            self.calls += 1
            return fail() if self.calls > 4 else super().loss(network, pictures, rows)

    full = trainer_of(stage_class=Growing)
    message = (
        "not enough memory for finetune on cpu: batch_size 12, pictures of 32 px. Lower batch_size, input"
    )
    with pytest.raises(OutOfMemory, match=message):
        full.fit(start)
    trained = {}
    trainer_of(lambda epoch, figures: trained.update({epoch: "pictures_per_second" in figures})).fit(start)
    assert trained == {1: False, 2: True}, "the run goes on behind the epoch that was finished"


def test_another_error_is_not_taken_for_a_lack_of_memory(trainer_of):
    class Broken(FinetuneStage):
        def loss(self, network, pictures, rows):
            raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        trainer_of(stage_class=Broken).fit(start)


def test_a_batch_larger_than_the_data_is_cut_and_said(trainer_of, caplog):
    with caplog.at_level("WARNING", logger="selfai.training"):
        state = trainer_of(batch_size=4096).fit(start)
    assert state.epoch == 2
    assert "batch_size 4096 is more than the 48 pictures of training: 48 are used" in caplog.text


class Killed(Exception):
    """Stands for the end of the process."""


def killer(epoch_of_death):
    def report(epoch, figures):
        if epoch == epoch_of_death:
            raise Killed

    return report


@pytest.mark.parametrize(
    ("averaging", "precision"),
    [(0.0, Precision.FLOAT32), (0.9, Precision.FLOAT32), (0.9, Precision.BFLOAT16)],
)
@pytest.mark.parametrize("epoch_of_death", [1, 2, 3])
def test_a_run_that_was_stopped_ends_with_the_same_bits(trainer_of, averaging, precision, epoch_of_death):
    settings = {"epochs": 3, "averaging": averaging, "machine_settings": {"precision": precision}}
    undisturbed = trainer_of(**settings)
    expected = undisturbed.fit(start)
    undisturbed.recovery.path.unlink()
    with pytest.raises(Killed):
        trainer_of(killer(epoch_of_death), **settings).fit(start)
    torch.rand(7)
    resumed = trainer_of(**settings).fit(start)
    for name, tensor in expected.judged.state_dict().items():
        assert torch.equal(tensor, resumed.judged.state_dict()[name]), name
    assert resumed.history == expected.history
    assert resumed.best_epoch == expected.best_epoch


def test_a_resumed_run_repeats_no_finished_epoch(trainer_of):
    with pytest.raises(Killed):
        trainer_of(killer(3), epochs=4).fit(start)
    seen = {}
    trainer_of(lambda epoch, figures: seen.update({epoch: figures}), epochs=4).fit(start)
    assert [epoch for epoch in seen if "pictures_per_second" in seen[epoch]] == [4]
    assert list(seen) == [1, 2, 3, 4], "the curve of a resumed run is whole"
    assert all("validation_pearson" in figures for figures in seen.values())


def small():
    return Network((Convolution("a", 6, 3), MaxPool(), GlobalAveragePool(), Head()), seed=0)


@pytest.mark.slow
def test_compiled_steps_learn_what_plain_ones_learn(compiler, trainer_of, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    plain = trainer_of(epochs=1, dropout=0.0).fit(small)
    compiled = trainer_of(epochs=1, dropout=0.0, machine_settings={"compile": True}).fit(small)
    assert compiled.history[0]["loss"] == pytest.approx(plain.history[0]["loss"], rel=1e-2)
    assert type(compiled.judged) is Network


def test_a_compiled_run_keeps_its_average_and_goes_on_like_a_plain_one(compiler, trainer_of, monkeypatch):
    """Traced for real, and then run as plain code, which takes no compiler and gives the same bits: those of
    torch's own ELU, which what compiles has to see."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    settings = {"averaging": 0.9, "machine_settings": {"compile": True}, "epochs": 3}
    with monkeypatch.context() as plain:
        plain.setattr(network_module, "elu", torch.nn.functional.elu)
        expected = trainer_of(averaging=0.9, epochs=3).fit(small)
    with pytest.raises(Killed):
        trainer_of(killer(1), **settings).fit(small)
    resumed = trainer_of(**settings).fit(small)
    for name, tensor in expected.judged.state_dict().items():
        assert torch.equal(tensor, resumed.judged.state_dict()[name]), name


def begun_elsewhere(trainer_of):
    """A run of four epochs that was killed behind the second, in bfloat16."""
    with pytest.raises(Killed):
        trainer_of(killer(2), epochs=4, machine_settings={"precision": Precision.BFLOAT16}).fit(start)


def test_a_run_that_was_begun_elsewhere_is_refused_with_what_differs(trainer_of):
    begun_elsewhere(trainer_of)
    message = r"got to epoch 2 under other conditions \(precision bfloat16, now float32\)"
    with pytest.raises(InputError, match=message) as refused:
        trainer_of(epochs=4).fit(start)
    assert "compute.when_moved to resume" in str(refused.value)
    assert "or to restart" in str(refused.value)


def test_a_run_that_was_begun_elsewhere_goes_on_by_name_and_notes_it(trainer_of):
    begun_elsewhere(trainer_of)
    trained = {}
    moved = trainer_of(
        lambda epoch, figures: trained.update({epoch: "pictures_per_second" in figures}),
        epochs=4,
        machine_settings={"when_moved": WhenMoved.RESUME},
    ).fit(start)
    assert trained == {1: False, 2: False, 3: True, 4: True}
    expected = {"after_epoch": 2, "before": {"precision": "bfloat16"}, "now": {"precision": "float32"}}
    assert moved.moves == [expected]
    assert trainer_of(epochs=4).fit(start).moves == [expected], "from here on it is a run like any other"


def test_a_run_that_was_begun_elsewhere_starts_over_by_name(trainer_of):
    undisturbed = trainer_of(epochs=4)
    expected = undisturbed.fit(start)
    undisturbed.recovery.path.unlink()
    begun_elsewhere(trainer_of)
    again = trainer_of(epochs=4, machine_settings={"when_moved": WhenMoved.RESTART}).fit(start)
    assert again.moves == []
    assert again.history == expected.history


@pytest.mark.parametrize("when_moved", list(WhenMoved))
def test_a_run_that_was_finished_elsewhere_is_in_nobodys_way(trainer_of, when_moved):
    elsewhere = {"precision": Precision.BFLOAT16}
    finished = trainer_of(epochs=2, machine_settings=elsewhere)
    finished.fit(start)
    trained = []
    here = trainer_of(
        lambda epoch, figures: trained.append("pictures_per_second" in figures),
        epochs=2,
        machine_settings={"when_moved": when_moved},
    ).fit(start)
    assert trained == [True, True]
    assert here.epoch == 2
    assert here.moves == []
    assert finished.recovery.path.exists(), "there it still costs no epoch"
