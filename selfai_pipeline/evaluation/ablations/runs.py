"""Runs an arm with a seed. Every stage is one of the pipeline's own, with its recovery point: a run that was
killed goes on from its last epoch. Pre-training, which arms share, and what came of an arm are kept under
`cache/ablations`.
"""

import json
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from selfai_pipeline.errors import InputError, OutOfMemory, SelfaiError, TooLittleToLearn, TrainingDiverged
from selfai_pipeline.evaluation.ablations.arms import ARMS, WHOLE_METHOD, Arm, Length, Trunk
from selfai_pipeline.evaluation.ablations.costs import (
    FORWARD_AND_BACKWARD,
    NO_EPOCHS,
    Clock,
    Epochs,
    forward_operations,
    shapes_by_epoch,
)
from selfai_pipeline.evaluation.ablations.outcome import Outcome, State
from selfai_pipeline.evaluation.ablations.settings import ABLATION_CODE, AblationSettings
from selfai_pipeline.evaluation.ablations.subsets import of_group, of_share
from selfai_pipeline.evaluation.bootstrap import estimate
from selfai_pipeline.evaluation.correlation import weighted_mean_absolute_error, weighted_pearson
from selfai_pipeline.evaluation.report import rows_of_test
from selfai_pipeline.evaluation.scoring import score_crops
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import Backbone, Convolution, Stage, with_head
from selfai_pipeline.networks.stages import tiny_darknet as trunk_of_width
from selfai_pipeline.storage import replace_file
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, TableRef
from selfai_pipeline.training.beginning import new_network
from selfai_pipeline.training.checkpoints import load_checkpoint, load_record, save_checkpoint
from selfai_pipeline.training.compute import Compute
from selfai_pipeline.training.finetune_stage import finetune_scorer
from selfai_pipeline.training.imagenet import imagenet_trunk, imagenet_weights
from selfai_pipeline.training.labels import LabelledPixels
from selfai_pipeline.training.pixels import Framing
from selfai_pipeline.training.recovery import fingerprint
from selfai_pipeline.training.samplers import steps_in_epoch
from selfai_pipeline.training.scorer import Scorer
from selfai_pipeline.training.settings import (
    FINETUNE_CODE,
    SIAMESE_CODE,
    WIDEN_CODE,
    ComputeSettings,
    FinetuneSettings,
    SiameseSettings,
)
from selfai_pipeline.training.siamese_stage import pretrain_siamese
from selfai_pipeline.training.soundness import condition_of
from selfai_pipeline.training.trainer import EpochReport
from selfai_pipeline.training.widen_stage import widen_checkpoint

logger = logging.getLogger("selfai.evaluation")

ASSET = "ablation_run"
COLUMNS = ["image_id", "face", "crop_sha256", "score", "cluster", "split", "group"]


class CannotRun(SelfaiError):
    """An arm for which something is missing here; the message says what."""


@dataclass(frozen=True)
class Trained:
    """A scorer, and all epochs that led to it."""

    scorer: CheckpointRef
    pretraining: Epochs
    fine_tuning: Epochs

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Trained":
        pretraining, fine_tuning = (Epochs(**values[name]) for name in ("pretraining", "fine_tuning"))
        return cls(CheckpointRef(**values["scorer"]), pretraining, fine_tuning)


@dataclass
class ArmRuns:
    """The arms on one label table.

    Args:
        report: what takes the reports of a stage, by its name (such as `seed0.finetune`).
    """

    labels: TableRef
    store: Store
    settings: AblationSettings
    compute: ComputeSettings
    report: Callable[[str], EpochReport]

    def outcome(self, arm: Arm, seed: int) -> Outcome:
        """What came of `arm` with `seed`; a run that ended before is read, not repeated, where its
        checkpoints still can be read too.

        One that something is missing for, that diverged, or for which memory does not suffice, has its reason
        in place of figures.

        Raises:
            InputError: a stage refuses the label table or the settings.
        """
        try:
            path = self._path(arm.name, self._made_from(arm, seed, evaluation=True))
            if path.exists():
                known = Outcome.from_mapping(json.loads(path.read_text()))
                scorers = [
                    CheckpointRef("finetuned_scorer", self.labels.partition, sha256, rows=0)
                    for sha256 in known.scorers
                ]
                if all(map(self._stands, scorers)):
                    return known
            logger.info("ablation %s, seed %d", arm.name, seed)
            outcome = self._by_group(arm, seed) if arm.by_group else self._whole(arm, seed)
        except (CannotRun, TrainingDiverged, OutOfMemory) as missing:
            # Not kept: it may be there next time.
            logger.warning("ablation %s cannot run: %s", arm.name, missing)
            return Outcome(arm.name, seed, State.NOT_RUN, str(missing))
        replace_file(path, outcome.to_json())
        return outcome

    def _made_from(self, arm: Arm, seed: int, *, evaluation: bool) -> dict[str, Any]:
        """What the scorers of an arm depend on, or with `evaluation` its figures."""
        apart = {"seeds", "imagenet_weights"} | (set() if evaluation else {"evaluation"})
        settings = self.settings.model_dump(mode="json", exclude=apart)
        made_from = {"arm": repr(arm), "seed": seed, "labels": self.labels.sha256, "settings": settings}
        if arm.trunk is Trunk.IMAGENET:
            # By default the file is looked for: another one may be there the next time.
            name, file = self._imagenet_weights()
            made_from["imagenet"] = [name, str(file)]
        return made_from

    def _imagenet_weights(self) -> tuple[str, Path]:
        try:
            return imagenet_weights(self.settings.imagenet_weights)
        except InputError as error:
            raise CannotRun(str(error)) from error

    def _stands(self, ref: CheckpointRef) -> bool:
        """Whether a checkpoint can still be read; one that was damaged or lost is made again."""
        problem = condition_of(ref, store=self.store).problem
        if problem:
            logger.warning("an ablation trains %s again: %s", ref.asset, problem)
        return not problem

    def _whole_method(self, seed: int) -> Outcome:
        """What came of the whole method, which other arms stand on; its curves begin with its name."""
        runs = replace(self, report=lambda name: self.report(f"{WHOLE_METHOD}.{name}"))
        outcome = runs.outcome(ARMS[WHOLE_METHOD], seed)
        if outcome.state is State.NOT_RUN:
            raise CannotRun(f"{WHOLE_METHOD}, which it stands on, could not run: {outcome.reason}")
        return outcome

    def _path(self, name: str, made_from: dict[str, Any]) -> Path:
        """The file of what is kept: another one where the code or this machine would give other bits."""
        folder = self.store.home.cache / "ablations"
        folder.mkdir(parents=True, exist_ok=True)
        conditions = {"code": _code(), "environment": Compute.from_settings(self.compute).environment}
        return folder / f"{name}-{fingerprint({**made_from, **conditions})}.json"

    def _whole(self, arm: Arm, seed: int) -> Outcome:
        tested = rows_of_test(self._rows(self.labels), labels=self.labels)
        labels = self.labels
        if arm.share < 1:
            labels = of_share(labels, arm.share, seed=seed, store=self.store)
        try:
            trained = self._train(arm, seed, labels)
        except TooLittleToLearn as error:
            if arm.share == 1:
                raise
            raise CannotRun(f"{len(self._rows(labels))} of the faces: {error}") from error
        record = load_record(trained.scorer, store=self.store)
        outcome = self._outcome(arm, seed, [trained], tested, [self._scores(trained.scorer, tested)])
        before = sum(trained.pretraining.seconds), sum(trained.pretraining.operations)
        at = np.cumsum(trained.fine_tuning.seconds) + before[0]
        work = np.cumsum(trained.fine_tuning.operations) + before[1]
        correlations = [figures["validation_pearson"] for figures in trained.fine_tuning.figures]
        course = list(zip(at.tolist(), work.tolist(), correlations, strict=True))
        return replace(outcome, validation_pearson=record["metrics"]["validation_pearson"], course=course)

    def _by_group(self, arm: Arm, seed: int) -> Outcome:
        rows = self._rows(self.labels)
        groups = sorted({row["group"] for row in rows if row["group"] is not None})
        without = sum(row["group"] is None for row in rows)
        if len(groups) < 2 or without:
            raise CannotRun(
                f"{without} of {len(rows)} faces have no group, and the others are of {len(groups)}: two "
                "groups and a group for each face are needed (group_column of the label settings)"
            )
        faces = rows_of_test(rows, labels=self.labels)
        trained, tested, scores = [], [], []
        for number, group in enumerate(groups, 1):
            # Groups are what users wrote; names of figures have fewer characters.
            name = f"{number}-{re.sub(r'[^a-zA-Z0-9]', '_', group)[:40]}."
            try:
                trained.append(
                    self._train(arm, seed, of_group(self.labels, group, store=self.store), name=name)
                )
            except TooLittleToLearn as error:
                raise CannotRun(f"group {group}: {error}") from error
            tested.append([row for row in faces if row["group"] == group])
            scores.append(self._scores(trained[-1].scorer, tested[-1]))
        return self._outcome(arm, seed, trained, [row for part in tested for row in part], scores)

    def _train(self, arm: Arm, seed: int, labels: TableRef, *, name: str = "") -> Trained:
        name = f"{name}seed{seed}"
        made_from = {**self._made_from(arm, seed, evaluation=False), "on": labels.sha256}
        path = self._path(f"{arm.name}-trained", made_from)
        if path.exists():
            known = Trained.from_mapping(json.loads(path.read_text()))
            if self._stands(known.scorer):
                return known
        parent, pretraining = self._trunk(arm, seed, labels, name=name)
        stages = with_head(load_checkpoint(parent, store=self.store).network.stages)
        settings = self.settings.fine_tuning.model_copy(
            update={"seed": seed, "epochs": self._epochs(arm, seed, labels, stages)}
        )
        clock = Clock(self.report(f"{name}.finetune"))
        scorer = finetune_scorer(
            parent, labels, store=self.store, settings=settings, compute=self.compute, report=clock
        )
        steps, batch = self._steps(settings, labels)
        record = load_record(scorer, store=self.store)
        fine_tuning = clock.epochs(record, [stages] * settings.epochs, steps=steps, batch=batch)
        trained = Trained(scorer, pretraining, fine_tuning)
        replace_file(path, json.dumps(asdict(trained)).encode())
        return trained

    def _trunk(self, arm: Arm, seed: int, labels: TableRef, *, name: str) -> tuple[CheckpointRef, Epochs]:
        """What fine-tuning begins with, and the epochs that made it."""
        settings = self.settings
        if arm.trunk is Trunk.IMAGENET:
            try:
                return self._keep(imagenet_trunk(settings.imagenet_weights), inputs={}), NO_EPOCHS
            except InputError as error:
                raise CannotRun(str(error)) from error
        if arm.trunk in (Trunk.RANDOM, Trunk.WIDE):
            stages: tuple[Stage, ...] = trunk_of_width(settings.siamese.width)
            if arm.trunk is Trunk.WIDE:
                stages = self._final_shape(seed)
            data = LabelledPixels.load(
                labels,
                store=self.store,
                framing=Framing(settings.siamese.input_size, settings.siamese.framing),
            )
            # the number of threads decides about its last bits, and its hash about what goes on where
            with Compute.from_settings(self.compute).session():
                network = new_network(stages, data=data, seed=seed)
            return self._keep(network, inputs={"labels": labels.sha256}), NO_EPOCHS
        ref, epochs = self._pretrain(labels, seed, share=arm.share, grows=arm.trunk is Trunk.GROWN, name=name)
        if arm.is_widened:
            widening = settings.widening.model_copy(update={"seed": seed})
            ref = widen_checkpoint(ref, store=self.store, settings=widening, compute=self.compute)
        return ref, epochs

    def _pretrain(
        self, labels: TableRef, seed: int, *, share: float, grows: bool, name: str
    ) -> tuple[CheckpointRef, Epochs]:
        given = self.settings.siamese
        settings = given.model_copy(update={"seed": seed, "growth_plan": given.growth_plan if grows else []})
        if share < 1:
            longer = {
                "epochs": self._longer(settings.epochs, settings, labels),
                "stall_patience": self._longer(settings.stall_patience, settings, labels),
            }
            settings = settings.model_copy(update=longer)
        made_from = {"labels": labels.sha256, "settings": settings.model_dump(mode="json")}
        path = self._path("siamese", made_from)
        if path.exists():
            known = json.loads(path.read_text())
            ref = CheckpointRef(**known["checkpoint"])
            if self._stands(ref):
                return ref, Epochs(**known["epochs"])
        clock = Clock(self.report(f"{name}.siamese"))
        ref = pretrain_siamese(
            labels, store=self.store, settings=settings, compute=self.compute, report=clock
        )
        record = load_record(ref, store=self.store)
        shapes = shapes_by_epoch(trunk_of_width(settings.width), record["growth"], epochs=settings.epochs)
        steps, batch = self._steps(settings, labels)
        epochs = clock.epochs(record, shapes, steps=steps, batch=batch)
        replace_file(path, json.dumps({"checkpoint": asdict(ref), "epochs": asdict(epochs)}).encode())
        return ref, epochs

    def _keep(self, network: Network, *, inputs: dict[str, str]) -> CheckpointRef:
        """An untrained trunk as a checkpoint, as fine-tuning takes it; `inputs` is what it was standardised
        on."""
        nothing: dict[str, Any] = {"settings": {}, "metrics": {}, "history": [], "growth": []}
        given = self.settings.siamese
        record = {**nothing, "inputs": inputs, "input_size": given.input_size, "framing": given.framing}
        return save_checkpoint(network, asset=ASSET, record=record, rows=0, store=self.store)

    def _final_shape(self, seed: int) -> tuple[Stage, ...]:
        """The trunk that the whole method ended with under this seed: it grows where it stalls.

        Without the shifts of inserted layers, which make them begin as the identity: at random there is
        nothing to keep, and zeros around shifted values are a border that nobody would give a new network.
        """
        whole = self._whole_method(seed)
        ref = CheckpointRef("finetuned_scorer", self.labels.partition, whole.scorers[0], rows=0)
        trunk = load_checkpoint(ref, store=self.store).network.stages[:-1]
        return tuple(
            replace(stage, shift=0.0) if isinstance(stage, Convolution) else stage for stage in trunk
        )

    def _epochs(self, arm: Arm, seed: int, labels: TableRef, stages: tuple[Stage, ...]) -> int:
        """Epochs of fine-tuning that are as long as the arm is to be, one at least."""
        settings = self.settings.fine_tuning
        if arm.share < 1:
            return self._longer(settings.epochs, settings, labels)
        if arm.length is Length.FINE_TUNING:
            return settings.epochs
        whole = self._whole_method(seed)
        steps, batch = self._steps(settings, labels)
        if arm.length is Length.STEPS:
            return math.ceil(whole.steps / steps)
        size = self.settings.siamese.input_size
        epoch = FORWARD_AND_BACKWARD * forward_operations(stages, size) * steps * batch
        return max(1, round(whole.operations / epoch))

    def _longer(self, epochs: int, settings: SiameseSettings | FinetuneSettings, labels: TableRef) -> int:
        """Epochs on `labels` that take as many steps as `epochs` on all faces, one at least.

        With as many epochs in their place, half of the faces would be half of the training too.
        """
        whole, _ = self._steps(settings, self.labels)
        steps, _ = self._steps(settings, labels)
        return max(1, round(epochs * whole / steps))

    def _steps(self, settings: SiameseSettings | FinetuneSettings, labels: TableRef) -> tuple[int, int]:
        """Steps of an epoch on a label table, and pictures of a step."""
        splits = self.store.tables.read(labels, ["split"])["split"].to_pylist()
        batch = min(settings.batch_size, splits.count("train"))
        return steps_in_epoch(splits.count("train"), batch, least=settings.least_steps), batch

    def _rows(self, labels: TableRef) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.store.tables.read(labels, COLUMNS).to_pylist()
        return rows

    def _scores(self, scorer: CheckpointRef, tested: list[dict[str, Any]]) -> "np.ndarray[Any, Any]":
        return score_crops(
            Scorer.load(scorer, store=self.store, compute=self.compute),
            [row["crop_sha256"] for row in tested],
            ref=scorer,
            store=self.store,
            batch_size=self.settings.evaluation.batch_size,
        )

    def _outcome(
        self,
        arm: Arm,
        seed: int,
        trained: list[Trained],
        tested: list[dict[str, Any]],
        scores: "list[np.ndarray[Any, Any]]",
    ) -> Outcome:
        """The figures of the test faces, scored by one model or by one a group."""
        predicted = np.concatenate(scores)
        order = sorted(range(len(tested)), key=lambda k: (tested[k]["image_id"], tested[k]["face"]))
        tested, predicted = [tested[k] for k in order], predicted[order]
        annotated = np.array([row["score"] for row in tested])
        options: dict[str, Any] = {
            "clusters": [row["cluster"] for row in tested],
            "settings": self.settings.evaluation,
        }
        pearson = estimate(weighted_pearson, annotated, predicted, correlation=True, **options)
        error = estimate(weighted_mean_absolute_error, annotated, predicted, **options)
        networks = [load_checkpoint(one.scorer, store=self.store).network for one in trained]
        epochs = [part for one in trained for part in (one.pretraining, one.fine_tuning)]
        return Outcome(
            arm.name,
            seed,
            State.FINISHED,
            network=describe(networks[0].stages),
            parameters=sum(network.parameter_count for network in networks),
            faces=len(tested),
            pearson=pearson.value,
            pearson_low=pearson.low,
            pearson_high=pearson.high,
            mean_absolute_error=error.value,
            steps=sum(part.steps for part in epochs),
            seconds=sum(sum(part.seconds) for part in epochs),
            operations=sum(sum(part.operations) for part in epochs),
            predicted=predicted.tolist(),
            scorers=[one.scorer.sha256 for one in trained],
        )


def describe(stages: tuple[Stage, ...]) -> str:
    """A network in words."""
    if isinstance(stages[0], Backbone):
        return {"efficientnet_lite0": "EfficientNet-Lite0", "vgg16": "VGG-16"}[stages[0].name]
    channels = [str(stage.channels) for stage in stages if stage.kind == "convolution"]  # type: ignore[union-attr]
    return f"{len(channels)} convolutions, {'-'.join(channels)}"


def facts_of(labels: TableRef, settings: AblationSettings, compute: ComputeSettings) -> dict[str, Any]:
    """What arms that are compared have in common: `labels`, the hash of their table, and `made_with`, that of
    the settings and the code of every stage; and `machine`, without which their times say nothing."""
    stages = settings.model_dump(mode="json")
    given = {name: {**stages[name], "seed": None} for name in ("siamese", "widening", "fine_tuning")}
    return {
        "labels": labels.sha256,
        "made_with": fingerprint({"settings": given, "code": _code()}),
        "machine": Compute.from_settings(compute).description,
    }


def _code() -> list[str]:
    return [ABLATION_CODE, SIAMESE_CODE, WIDEN_CODE, FINETUNE_CODE]


def run_arm(
    arm: Arm,
    labels: TableRef,
    *,
    store: Store,
    settings: AblationSettings,
    compute: ComputeSettings,
    report: Callable[[str], EpochReport],
    ended: Callable[[Sequence[Outcome]], None],
) -> list[Outcome]:
    """The outcomes of an arm, one a seed, in the order of the seeds.

    Args:
        ended: called when a seed has ended and others are to come, with the outcomes so far.

    Raises:
        InputError: see `ArmRuns.outcome`; the seeds before are kept.
    """
    runs = ArmRuns(labels, store, settings, compute, report)
    outcomes: list[Outcome] = []
    for seed in settings.seeds:
        if outcomes:
            ended(outcomes)
        outcomes.append(runs.outcome(arm, seed))
    return outcomes
