"""Fine-tuning: from pictures to the crowd's score, with a Huber loss on draws that favour rare scores."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import with_head
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, TableRef
from selfai_pipeline.training.checkpoints import load_checkpoint, save_checkpoint
from selfai_pipeline.training.compute import Compute
from selfai_pipeline.training.conformal import RECORD_KEY, Intervals
from selfai_pipeline.training.inference import as_vectors, embed_rows, score_rows
from selfai_pipeline.training.labels import LabelledPixels, PixelFeed
from selfai_pipeline.training.metrics import Vector, fit_under_dropout, pearson
from selfai_pipeline.training.provenance import chain_of, check_unseen
from selfai_pipeline.training.recovery import RecoveryPoint
from selfai_pipeline.training.settings import FINETUNE_CODE, ComputeSettings, FinetuneSettings, HeadStart
from selfai_pipeline.training.trainer import EpochReport, Trainer, TrainingState

ASSET = "finetuned_scorer"


class FinetuneStage:
    """Huber loss on the score; the head learns faster than the trunk."""

    name = "finetune"
    criterion: str | None = "validation_pearson"

    def __init__(self, data: LabelledPixels, settings: FinetuneSettings, compute: Compute) -> None:
        self.data = data
        self.settings = settings
        self.scores = torch.from_numpy(data.scores).float()
        self.feed = PixelFeed(data.pixels, device=compute.device)

    def optimizer(self, network: Network) -> torch.optim.Optimizer:
        settings = self.settings
        trunk = [p for name, p in network.named_parameters() if not name.startswith("head.")]
        head = [p for name, p in network.named_parameters() if name.startswith("head.")]
        groups = [{"params": trunk, "rate": settings.trunk_rate}, {"params": head, "rate": 1.0}]
        return torch.optim.AdamW(
            groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )

    def loss(self, network: Network, pictures: Tensor, rows: Tensor) -> Tensor:
        scores = network(pictures)
        return functional.huber_loss(
            scores, self.scores[rows].to(scores.device), delta=self.settings.huber_delta
        )

    def validate(self, network: Network) -> dict[str, float]:
        """Pearson, mean absolute error and loss on the validation split.

        Raises:
            UndefinedMetric: the network gives every picture the same score.
        """
        annotated, predicted = self._validation_scores(network)
        error = torch.from_numpy(predicted), torch.from_numpy(annotated)
        return {
            "validation_loss": float(functional.huber_loss(*error, delta=self.settings.huber_delta)),
            "validation_pearson": pearson(predicted, annotated),
            "validation_mae": float(np.abs(predicted - annotated).mean()),
        }

    def calibrate(self, network: Network, *, clusters: list[str]) -> Intervals:
        """Split-conformal intervals from the validation faces; `clusters` are those of all rows.

        These faces chose the epoch, so that the intervals may be a little narrow: the evaluation measures on
        the test faces how many they cover.
        """
        annotated, predicted = self._validation_scores(network)
        held_out = [clusters[row] for row in self.data.validation]
        return Intervals.calibrated(annotated, predicted, clusters=held_out)

    def _validation_scores(self, network: Network) -> tuple[Vector, Vector]:
        """The crowd's scores and the network's on the validation split, [n] each."""
        predicted = as_vectors(score_rows(network, self.data.validation, feed=self.feed))
        return self.data.scores[self.data.validation], predicted

    def after_epoch(self, state: TrainingState, figures: Mapping[str, float]) -> None:
        """Nothing: the network has its final shape."""

    def start_head(self, network: Network) -> None:
        """Put the head where it reads the most from the trunk as it is.

        A head that starts elsewhere sends gradients into the trunk that first undo pre-training (Kumar et
        al. 2022, arXiv 2202.10054).
        """
        assert network.head is not None
        with torch.no_grad():
            network.head.bias.fill_(self.data.train_mean)
            if self.settings.head_start is HeadStart.RIDGE:
                embeddings = as_vectors(embed_rows(network, self.data.train, feed=self.feed))
                probe = fit_under_dropout(
                    embeddings,
                    self.data.scores[self.data.train],
                    weights=self.data.weights[self.data.train],
                    dropout=self.settings.dropout,
                )
                network.head.weight.copy_(torch.from_numpy(probe.coefficients)[None])
                network.head.bias.fill_(probe.intercept)


def finetune_scorer(
    widened: CheckpointRef,
    labels: TableRef,
    *,
    store: Store,
    settings: FinetuneSettings,
    compute: ComputeSettings,
    report: EpochReport,
) -> CheckpointRef:
    """Fine-tune a checkpoint on the label table's train split; a killed run goes on from its last epoch.

    The kept weights are those of the epoch with the highest validation Pearson. The record's `intervals` are
    calibrated on the validation faces.

    Raises:
        InputError: the checkpoint does not fit, it has learnt from faces that are now held out, or the
            table has too few rows or constant scores.
        TrainingDiverged: the loss stopped being finite.
    """
    machine = Compute.from_settings(compute)
    parent = load_checkpoint(widened, store=store)
    check_unseen(chain_of(widened, store=store), labels=labels, store=store)
    data = LabelledPixels.load(labels, store=store, framing=parent.framing)
    data = data.drawn_less_evenly(settings.balance_power)
    run = {
        "asset": ASSET,
        "inputs": {"labels": labels.sha256, "parent": widened.sha256},
        "settings": settings.model_dump(mode="json"),
    }
    made_by = {"code": FINETUNE_CODE, "environment": machine.environment}
    recovery = RecoveryPoint.of({**run, **made_by}, store=store, when_moved=machine.when_moved)
    stage = FinetuneStage(data, settings, machine)

    def start() -> Network:
        stages = with_head(parent.network.stages, dropout=settings.dropout, mirrored=settings.mirrored)
        network = Network(stages)
        network.load_state_dict(parent.network.state_dict(), strict=False)
        network = machine.place(network)
        stage.start_head(network)
        return network

    with machine.session():
        trainer = Trainer(
            stage, data, settings, settings, machine, recovery, report, averaging=settings.averaging
        )
        state = trainer.fit(start)
        clusters = store.tables.read(labels, ["cluster"])["cluster"].to_pylist()
        with trainer.memory():
            figures = stage.validate(state.judged)
            intervals = stage.calibrate(state.judged, clusters=clusters)
    return save_checkpoint(
        state.judged,
        asset=ASSET,
        record={
            **run,
            "input_size": parent.input_size,
            "framing": parent.framing.part,
            "metrics": {
                **figures,
                "best_epoch": state.best_epoch,
                "parameters": state.judged.parameter_count,
            },
            RECORD_KEY: intervals.to_dict(),
            "history": state.history,
            "growth": parent.record["growth"],
            **({"moves": state.moves} if state.moves else {}),
        },
        rows=len(data.train),
        store=store,
    )
