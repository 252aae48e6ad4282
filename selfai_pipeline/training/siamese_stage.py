"""Pre-training: the Siamese stage, grown by Net2Net whenever its validation loss stalls."""

import logging
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfai_pipeline.errors import InputError, UndefinedMetric
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.operators import parse_plan
from selfai_pipeline.networks.siamese import (
    has_both_kinds,
    hinge_embedding_loss,
    pair_distances,
    pair_figures,
)
from selfai_pipeline.networks.stages import UnfitStages, tiny_darknet
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, TableRef
from selfai_pipeline.training.augmentation import normalise
from selfai_pipeline.training.checkpoints import save_checkpoint
from selfai_pipeline.training.compute import Compute
from selfai_pipeline.training.growth import StallRule, apply, grow
from selfai_pipeline.training.inference import as_vectors, embed_rows
from selfai_pipeline.training.labels import LabelledPixels, PixelFeed
from selfai_pipeline.training.metrics import fit_probe, pearson
from selfai_pipeline.training.recovery import RecoveryPoint
from selfai_pipeline.training.samplers import derived_seed
from selfai_pipeline.training.settings import SIAMESE_CODE, ComputeSettings, SiameseSettings
from selfai_pipeline.training.trainer import EpochReport, Trainer, TrainingState

logger = logging.getLogger("selfai.training")

ASSET = "siamese_checkpoint"
PROBE_ROWS = 1024
PICTURES_COMPARED = 8


class SiameseStage:
    """Hinge embedding loss over all pairs of a batch; see `siamese.hinge_embedding_loss`."""

    name = "siamese"
    # the last epoch: the rate has come to rest there, and the loss of few validation pairs is a poor judge
    criterion: str | None = None

    def __init__(
        self, data: LabelledPixels, settings: SiameseSettings, compute: Compute, *, negative_from: int
    ) -> None:
        self.negative_from = negative_from
        self.data = data
        self.settings = settings
        self.compute = compute
        self.classes = torch.from_numpy(data.classes)
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
        return hinge_embedding_loss(
            pair_distances(embeddings, network.distance_weights),
            self.classes[rows].to(embeddings.device),
            margin=self.settings.margin,
            negative_from=self.negative_from,
        )

    def validate(self, network: Network) -> dict[str, float]:
        """The loss over all validation pairs, their mean distance, and what a linear probe reads."""
        validation = embed_rows(network, self.data.validation, feed=self.feed)
        pairs = pair_figures(
            validation,
            network.distance_weights,
            self.classes[torch.from_numpy(self.data.validation)].to(validation.device),
            margin=self.settings.margin,
            negative_from=self.negative_from,
        )
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

    def after_epoch(self, state: TrainingState, figures: Mapping[str, float]) -> None:
        """Grow at a stall, while the plan has operators and an epoch is left to use the new capacity."""
        loss = figures["validation_loss"]
        stalled = self.rule.update(state.memory, loss)
        done = len(state.growth)
        if not stalled or done == len(self.settings.growth_plan) or state.epoch == self.settings.epochs:
            return
        operator, imbalance = self.settings.growth_plan[done], self.settings.growth_imbalance
        seed = derived_seed(self.settings.seed, "growth", done)
        grown = grow(
            state.network,
            state.optimizer,
            operator=operator,
            imbalance=imbalance,
            seed=seed,
            probe=normalise(self.feed(torch.from_numpy(self.data.validation[:PICTURES_COMPARED]))),
            new_optimizer=self.optimizer,
            place=self.compute.place,
        )
        state.network, state.optimizer = grown.network, grown.optimizer
        if state.average is not None:
            larger = apply(operator, state.average, imbalance=imbalance, seed=seed).network
            state.average = self.compute.place(larger)
        after = self.validate(state.judged)["validation_loss"]
        state.growth.append({**grown.event, "epoch": state.epoch, "loss_before": loss, "loss_after": after})
        state.memory.update(lowest=after, waited=0)


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
        InputError: the growth plan does not fit, or the table has too few rows, or no pairs of a kind.
        TrainingDiverged: the loss stopped being finite.
    """
    machine = Compute.from_settings(compute)
    stages = tiny_darknet(settings.width)
    try:
        parse_plan(settings.growth_plan, stages)
    except UnfitStages as error:
        raise InputError(str(error), where="growth_plan", mend="Mend the plan, or leave it empty.") from error
    data = LabelledPixels.load(labels, store=store, size=settings.input_size)
    negative_from = widest_negatives(
        {"train": data.classes[data.train], "validation": data.classes[data.validation]},
        wanted=settings.negative_from,
        where=labels.asset,
    )
    run = {
        "asset": ASSET,
        "inputs": {"labels": labels.sha256},
        "settings": settings.model_dump(mode="json"),
    }
    made_by = {"code": SIAMESE_CODE, "environment": machine.environment}
    recovery = RecoveryPoint.of({**run, **made_by}, store=store)
    stage = SiameseStage(data, settings, machine, negative_from=negative_from)
    with machine.session():
        state = Trainer(stage, data, settings, settings, machine, recovery, report).fit(
            lambda: Network(stages, seed=derived_seed(settings.seed, "weights"))
        )
        figures = stage.validate(state.network)
    return save_checkpoint(
        state.network,
        asset=ASSET,
        record={
            **run,
            "input_size": settings.input_size,
            "metrics": {
                **figures,
                "epochs": state.epoch,
                "operators_applied": len(state.growth),
                "negative_from": negative_from,
                "parameters": state.network.parameter_count,
            },
            "history": state.history,
            "growth": state.growth,
        },
        rows=len(data.train),
        store=store,
    )


def widest_negatives(classes: Mapping[str, NDArray[np.int64]], *, wanted: int, where: str) -> int:
    """The largest distance of classes, up to `wanted`, at which every split has pairs of both kinds.

    Scores of a narrow range (few classes) have no pairs far apart: nearer ones then count as different.

    Raises:
        InputError: a split has no two pictures of one class, or none of two classes.
    """
    for apart in range(wanted, 0, -1):
        kinds = {
            name: has_both_kinds(torch.from_numpy(split), negative_from=apart)
            for name, split in classes.items()
        }
        if all(all(both) for both in kinds.values()):
            if apart < wanted:
                logger.warning(
                    "no pairs %d classes apart: pairs count as different from %d on", wanted, apart
                )
            return apart
    lacking, (positive, _) = next((name, both) for name, both in kinds.items() if not all(both))
    kind = "two classes" if positive else "one class"
    raise InputError(
        f"the {lacking} split has no two pictures of {kind}: the Siamese loss has no pairs",
        where=where,
        mend="Rate more pictures, over more of the scale.",
    )
