"""Pre-training: the Siamese stage, grown by Net2Net whenever its validation loss stalls."""

import logging
from collections.abc import Mapping

import torch
from torch import Tensor

from selfai_pipeline.errors import InputError, UndefinedMetric
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.operators import parse_plan
from selfai_pipeline.networks.siamese import HingePairs, PairFigures, Pairs
from selfai_pipeline.networks.stages import UnfitStages, tiny_darknet
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, TableRef
from selfai_pipeline.training.augmentation import normalise
from selfai_pipeline.training.beginning import new_network
from selfai_pipeline.training.checkpoints import save_checkpoint
from selfai_pipeline.training.compute import Compute
from selfai_pipeline.training.growth import StallRule, copy_options, grow, plan_outcome
from selfai_pipeline.training.inference import as_vectors, embed_rows
from selfai_pipeline.training.labels import LabelledPixels, PixelFeed
from selfai_pipeline.training.metrics import fit_probe, pearson
from selfai_pipeline.training.pairing import fitted_pairs
from selfai_pipeline.training.pixels import Framing
from selfai_pipeline.training.recovery import RecoveryPoint
from selfai_pipeline.training.samplers import derived_seed
from selfai_pipeline.training.settings import SIAMESE_CODE, ComputeSettings, SiameseSettings
from selfai_pipeline.training.trainer import EpochReport, Trainer, TrainingState

logger = logging.getLogger("selfai.training")

ASSET = "siamese_checkpoint"
PROBE_ROWS = 1024
PICTURES_COMPARED = 8


class SiameseStage:
    """A loss over all pairs of a batch: see `Pairing`."""

    name = "siamese"
    # the last epoch: the rate has come to rest there, and the loss of few validation pairs is a poor judge
    criterion: str | None = None

    def __init__(
        self, data: LabelledPixels, settings: SiameseSettings, compute: Compute, *, pairs: Pairs
    ) -> None:
        self.pairs = pairs
        self.data = data
        self.settings = settings
        self.compute = compute
        self.classes = torch.from_numpy(data.classes)
        self.scores = torch.from_numpy(data.scores).float()
        self.feed = PixelFeed(data.pixels, device=compute.device)
        self.rule = StallRule(settings.stall_patience, settings.stall_tolerance)
        self.probed = data.train[:: -(-len(data.train) // PROBE_ROWS)]

    def optimizer(self, network: Network) -> torch.optim.Optimizer:
        group = {"params": list(network.parameters()), "rate": 1.0}
        settings = self.settings
        return torch.optim.AdamW(
            [group], lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )

    def loss(self, network: Network, pictures: Tensor, rows: Tensor) -> Tensor:
        embeddings = network.embed(pictures).float()
        classes, scores = (values[rows].to(embeddings.device) for values in (self.classes, self.scores))
        return self.pairs.loss(embeddings, network.distance_weights, classes=classes, scores=scores)

    def validate(self, network: Network) -> dict[str, float]:
        """The loss over all validation pairs, their mean distance, and what a linear probe reads."""
        validation, pairs = self._validation_pairs(network)
        figures = {"validation_loss": pairs.loss, "mean_distance": pairs.mean_distance}
        train = as_vectors(embed_rows(network, self.probed, feed=self.feed))
        probe = fit_probe(train, self.data.scores[self.probed])
        try:
            figures["probe_pearson"] = pearson(
                probe(as_vectors(validation)), self.data.scores[self.data.validation]
            )
        except UndefinedMetric as undefined:
            logger.warning("the embedding has collapsed, no linear probe this epoch: %s", undefined)
        return figures

    def _validation_pairs(self, network: Network) -> tuple[Tensor, PairFigures]:
        """The embeddings [n, d] of the validation split, and the figures of all their pairs."""
        embeddings = embed_rows(network, self.data.validation, feed=self.feed)
        rows = torch.from_numpy(self.data.validation)
        classes, scores = (values[rows].to(embeddings.device) for values in (self.classes, self.scores))
        weights = network.distance_weights
        return embeddings, self.pairs.figures(embeddings, weights, classes=classes, scores=scores)

    def after_epoch(self, state: TrainingState, figures: Mapping[str, float]) -> None:
        """Grow at a stall, while the plan has operators and an epoch is left to use the new capacity."""
        loss = figures["validation_loss"]
        stalled = self.rule.update(state.memory, self.pairs.remaining(loss))
        done = len(state.growth)
        if not stalled or done == len(self.settings.growth_plan) or state.epoch == self.settings.epochs:
            return
        settings = self.settings
        _, before = self._validation_pairs(state.judged)
        grown = grow(
            state.network,
            state.optimizer,
            operator=settings.growth_plan[done],
            seed=derived_seed(settings.seed, "growth", done),
            probe=normalise(self.feed(torch.from_numpy(self.data.validation[:PICTURES_COMPARED]))),
            new_optimizer=self.optimizer,
            place=self.compute.place,
            **copy_options(
                settings.growth_copies, imbalance=settings.growth_imbalance, zeroed=settings.growth_zeroed
            ),
        )
        state.network, state.optimizer = grown.network, grown.optimizer
        _, after = self._validation_pairs(state.judged)
        event = {**grown.event, "epoch": state.epoch, "loss_before": before.loss, "loss_after": after.loss}
        logger.info(
            "Net2Net `%(operator)s`: %(parameters_before)d -> %(parameters_after)d parameters, function "
            "moved by %(deviation_float64).1e (float64), loss %(loss_before).4f -> %(loss_after).4f",
            event,
        )
        state.growth.append(event)
        # The epoch's loss is in the format of training, those around the growth are not.
        state.memory.update(lowest=self.pairs.remaining(loss + after.loss - before.loss), waited=0)


def pretrain_siamese(
    labels: TableRef,
    *,
    store: Store,
    settings: SiameseSettings,
    compute: ComputeSettings,
    report: EpochReport,
) -> CheckpointRef:
    """Pre-train Tiny Darknet on the label table's train split; a killed run goes on from its last epoch.

    The kept weights are those of the last epoch.

    Raises:
        InputError: the growth plan does not fit, or the labels do not (see `LabelledPixels.load` and
            `fitted_pairs`).
        TrainingDiverged: the loss stopped being finite.
    """
    machine = Compute.from_settings(compute)
    stages = tiny_darknet(settings.width)
    try:
        parse_plan(settings.growth_plan, stages)
    except UnfitStages as error:
        raise InputError(str(error), where="growth_plan", mend="Mend the plan, or leave it empty.") from error
    framing = Framing(settings.input_size, settings.framing)
    data = LabelledPixels.load(labels, store=store, framing=framing)
    data = data.drawn_less_evenly(settings.balance_power)
    splits = {"train": data.classes[data.train], "validation": data.classes[data.validation]}
    pairs = fitted_pairs(settings, splits, where=labels.asset)
    run = {
        "asset": ASSET,
        "inputs": {"labels": labels.sha256},
        "settings": settings.model_dump(mode="json"),
    }
    made_by = {"code": SIAMESE_CODE, "environment": machine.environment}
    recovery = RecoveryPoint.of({**run, **made_by}, store=store, when_moved=machine.when_moved)
    stage = SiameseStage(data, settings, machine, pairs=pairs)
    with machine.session():
        trainer = Trainer(stage, data, settings, settings, machine, recovery, report)
        state = trainer.fit(lambda: new_network(stages, data=data, seed=settings.seed))
        with trainer.memory():
            figures = stage.validate(state.network)
    return save_checkpoint(
        state.network,
        asset=ASSET,
        record={
            **run,
            "input_size": framing.size,
            "framing": framing.part,
            "metrics": {
                **figures,
                "epochs": state.epoch,
                "operators_applied": len(state.growth),
                **({"negative_from": pairs.negative_from} if isinstance(pairs, HingePairs) else {}),
                "parameters": state.network.parameter_count,
            },
            "history": state.history,
            "growth": state.growth,
            "growth_plan": plan_outcome(settings.growth_plan, state.growth),
            **({"moves": state.moves} if state.moves else {}),
        },
        rows=len(data.train),
        store=store,
    )
