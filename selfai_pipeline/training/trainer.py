"""The trainer: one loop for every stage. A stage brings its loss, its validation and its parameter groups.

Every random draw comes from the run's seed and the number of the epoch, so that an epoch can be run again
alone: a run that was killed goes on from its recovery point and ends with the same weights, to the bit on
a CPU at the same number of threads.
"""

import copy
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from selfai_pipeline.errors import TrainingDiverged, UndefinedMetric
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import stages_from_json, stages_to_json
from selfai_pipeline.training.augmentation import augment
from selfai_pipeline.training.checkpoints import finite, weights_copy
from selfai_pipeline.training.compute import Compute, freed_memory_kept, memory_for
from selfai_pipeline.training.labels import LabelledPixels, PixelFeed
from selfai_pipeline.training.recovery import RecoveryPoint
from selfai_pipeline.training.samplers import derived_seed, draw_epoch
from selfai_pipeline.training.settings import AugmentationSettings

logger = logging.getLogger("selfai.training")

EpochReport = Callable[[int, Mapping[str, float]], None]
"""Called after each epoch with its number, from 1, and its figures, all finite; `seconds` is what it took.

A run that goes on reports the epochs before it again, without their speed, so that a curve is whole.
"""

FINAL_RATE = 0.02


class LoopSettings(Protocol):
    """The settings that every stage has."""

    @property
    def seed(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def least_steps(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def warmup(self) -> float: ...


@dataclass
class TrainingState:
    """All that the next epoch depends on.

    `average` is the running mean of the weights, `best` those of the best epoch where there is a criterion;
    `growth` lists what Net2Net did, `moves` where the run went on in another environment, `memory` is the
    stage's own (plain JSON values). `seconds` of each epoch, validation and growth among them, are kept
    through a resumption; they are no part of a checkpoint, and neither is `speed`, that of the last epoch,
    pictures/s.
    """

    network: Network
    optimizer: torch.optim.Optimizer
    average: Network | None = None
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    growth: list[dict[str, Any]] = field(default_factory=list)
    moves: list[dict[str, Any]] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    best_epoch: int = 0
    best_value: float = -math.inf
    best: dict[str, Tensor] = field(default_factory=dict)
    speed: float | None = None

    @property
    def judged(self) -> Network:
        """The network that is validated and kept."""
        return self.network if self.average is None else self.average


class Stage(Protocol):
    """What differs from stage to stage."""

    name: str
    feed: PixelFeed
    criterion: str | None
    """The figure by which the epoch is chosen, the higher the better; None keeps the last epoch."""

    def optimizer(self, network: Network) -> torch.optim.Optimizer:
        """A fresh optimizer; each parameter group has a `rate`, its part of the learning rate."""
        ...

    def loss(self, network: Network, pictures: Tensor, rows: Tensor) -> Tensor:
        """The loss of a batch; pictures [n, 3, h, w], rows [n] of the label table, on the CPU."""
        ...

    def validate(self, network: Network) -> dict[str, float]:
        """Figures of the validation split, the criterion among them; leaves the network in eval mode.

        After each epoch the network runs in the number format of training: in float32 it would take nearly
        as long as the training. Stages measure in float32 what the record says of the finished network.
        """
        ...

    def after_epoch(self, state: TrainingState, figures: Mapping[str, float]) -> None:
        """Called once the epoch's figures are known; may grow the network."""
        ...


def rate_at(step: int, *, steps: int, warmup: float) -> float:
    """The learning rate at `step` (from 0) relative to its peak: a linear rise, then half a cosine to 2 %."""
    rise = warmup * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    fall = (step - rise) / max(1.0, steps - rise)
    return FINAL_RATE + (1.0 - FINAL_RATE) * 0.5 * (1.0 + math.cos(math.pi * fall))


@dataclass(frozen=True)
class Trainer:
    """Runs a stage to its end; `averaging` is the decay of the averaged weights, 0 for none."""

    stage: Stage
    data: LabelledPixels
    settings: LoopSettings
    augmentation: AugmentationSettings
    compute: Compute
    recovery: RecoveryPoint
    report: EpochReport
    averaging: float = 0.0

    def fit(self, start: Callable[[], Network]) -> TrainingState:
        """Train the network that `start` makes, or go on from the recovery point.

        Returns:
            The final state; `judged` holds the weights that the stage keeps, in evaluation mode.

        Raises:
            TrainingDiverged: the loss, a weight or a figure of validation is not finite any more, or not
                defined.
            OutOfMemory: a batch does not fit; finished epochs are kept.
            InputError: an unfinished run stands there from another environment (see `RecoveryPoint.read`).
        """
        rows, batch = len(self.data.train), self.settings.batch_size
        if batch > rows:
            logger.warning(
                "batch_size %d is more than the %d pictures of training: %d are used", batch, rows, rows
            )
        with self.memory(), freed_memory_kept():
            return self._fit(start)

    def memory(self) -> AbstractContextManager[None]:
        """Within it a lack of memory is an `OutOfMemory` that says what needs less."""
        batch, side = self.settings.batch_size, self.data.pixels.shape[1]
        return memory_for(
            f"{self.stage.name} on {self.compute.device.type}: batch_size {batch}, pictures of {side} px",
            mend="Lower batch_size, input_size, width or a factor of the growth plan. Finished epochs are "
            "kept: with the same settings and more memory the run goes on behind them, with others it begins "
            "anew.",
        )

    def _fit(self, start: Callable[[], Network]) -> TrainingState:
        state = self._resume() or self._begin(start())
        for figures, seconds in zip(state.history, state.seconds, strict=True):
            known = {name: figures[name] for name in figures if name != "epoch"}
            self.report(int(figures["epoch"]), {**known, "seconds": seconds})
        while state.epoch < self.settings.epochs:
            figures = self._epoch(state)
            # first what the next epoch needs: a report that fails then costs nothing
            self.recovery.write(self._pack(state))
            self.report(state.epoch, figures)
        if state.best:
            state.judged.load_state_dict(state.best)
        return state

    @cached_property
    def _loss(self) -> Callable[[Network, Tensor, Tensor], Tensor]:
        return self.compute.compiled(self.stage.loss)

    def _epoch(self, state: TrainingState) -> dict[str, float]:
        """One epoch; returns its figures, its speed among them, which is no part of the state."""
        started, epoch, settings = time.perf_counter(), state.epoch + 1, self.settings
        rows = torch.from_numpy(self.data.train)
        weights = torch.from_numpy(self.data.weights[self.data.train])
        batches = draw_epoch(
            rows,
            weights,
            batch_size=settings.batch_size,
            seed=settings.seed,
            epoch=epoch,
            least_steps=settings.least_steps,
        )
        generator = torch.Generator().manual_seed(derived_seed(settings.seed, "augmentation", epoch))
        torch.manual_seed(derived_seed(settings.seed, "dropout", epoch))
        state.network.train()
        total, rate, step = 0.0, 0.0, 0
        for index, batch in enumerate(batches):
            step = state.epoch * len(batches) + index
            rate = rate_at(step, steps=settings.epochs * len(batches), warmup=settings.warmup)
            for group in state.optimizer.param_groups:
                group["lr"] = settings.learning_rate * rate * group["rate"]
            pictures = augment(self.stage.feed(batch), settings=self.augmentation, generator=generator)
            total += self._step(state, pictures, batch, step=step)
        speed = batches.numel() / (time.perf_counter() - started)
        loss = total / len(batches)
        if not all(bool(parameter.isfinite().all()) for parameter in state.judged.parameters()):
            what = f"a weight is no longer finite (the epoch's loss was {loss:.4g})"
            raise self._diverged(what, state, step=step)
        figures = self._validated(state, loss=loss, step=step)
        figures["learning_rate"] = settings.learning_rate * rate
        self._note_best(state, figures, epoch)
        state.epoch = epoch
        with torch.no_grad():
            self.stage.after_epoch(state, figures)
        state.history.append({"epoch": float(epoch), **figures})
        state.seconds.append(time.perf_counter() - started)
        self._tell(state, figures, speed=speed)
        state.speed = speed
        return {**figures, "pictures_per_second": speed, "seconds": state.seconds[-1]}

    def _step(self, state: TrainingState, pictures: Tensor, rows: Tensor, *, step: int) -> float:
        """One batch, one step of the optimizer; returns the loss."""
        with self.compute.reduced():
            loss = self._loss(state.network, pictures, rows)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise self._diverged(f"the loss is {value}", state, step=step)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        if state.average is not None:
            decay = min(self.averaging, (1.0 + step) / (10.0 + step))
            with torch.no_grad():
                for mean, now in zip(state.average.parameters(), state.network.parameters(), strict=True):
                    mean.lerp_(now, 1.0 - decay)
        return value

    def _validated(self, state: TrainingState, *, loss: float, step: int) -> dict[str, float]:
        """The epoch's figures, all finite."""
        try:
            with torch.no_grad(), self.compute.reduced():
                found = self.stage.validate(state.judged)
        except UndefinedMetric as undefined:
            raise self._diverged(str(undefined).rstrip("."), state, step=step) from undefined
        try:
            return finite({"loss": loss, **found})
        except ValueError as error:
            raise self._diverged(str(error), state, step=step) from error

    def _tell(self, state: TrainingState, figures: Mapping[str, float], *, speed: float) -> None:
        """A line about the epoch, and one about what growth after the epoch before did to the speed."""
        epochs = self.settings.epochs
        logger.info(
            "%s epoch %d of %d: %s, %.0f pictures/s, about %.0f min left",
            self.stage.name,
            state.epoch,
            epochs,
            ", ".join(f"{key} {value:.4g}" for key, value in figures.items()),
            speed,
            (epochs - state.epoch) * state.seconds[-1] / 60.0,
        )
        grown = [event["operator"] for event in state.growth if event["epoch"] == state.epoch - 1]
        if state.speed and grown:
            logger.info("Net2Net `%s`: %.0f -> %.0f pictures/s", grown[0], state.speed, speed)

    def _diverged(self, what: str, state: TrainingState, *, step: int) -> TrainingDiverged:
        kept = f"The last good checkpoint is that of epoch {state.epoch}, {self.recovery.path}"
        if not state.epoch:
            kept = "No epoch was finished before"
        return TrainingDiverged(
            f"{self.stage.name}: {what} at step {step}, in epoch {state.epoch + 1}. {kept}. Lower "
            "learning_rate and materialize again: with other settings training starts from the beginning."
        )

    def _note_best(self, state: TrainingState, figures: Mapping[str, float], epoch: int) -> None:
        if self.stage.criterion is None:
            state.best_epoch = epoch
        elif figures[self.stage.criterion] > state.best_value:
            state.best_epoch, state.best_value = epoch, figures[self.stage.criterion]
            state.best = weights_copy(state.judged)

    def _begin(self, network: Network) -> TrainingState:
        placed = self.compute.place(network)
        average = copy.deepcopy(placed) if self.averaging else None
        return TrainingState(placed, self.stage.optimizer(placed), average)

    def _pack(self, state: TrainingState) -> dict[str, Any]:
        return {
            "architecture": stages_to_json(state.network.stages),
            "network": state.network.state_dict(),
            "average": state.average.state_dict() if state.average is not None else None,
            "optimizer": state.optimizer.state_dict(),
            "finished": state.epoch == self.settings.epochs,
            **{name: getattr(state, name) for name in PLAIN},
        }

    def _resume(self) -> TrainingState | None:
        packed = self.recovery.read()
        if packed is None:
            return None
        network = self.compute.place(Network(stages_from_json(packed["architecture"])))
        network.load_state_dict(packed["network"])
        state = TrainingState(network, self.stage.optimizer(network))
        state.optimizer.load_state_dict(packed["optimizer"])
        if packed["average"] is not None:
            state.average = copy.deepcopy(network)
            state.average.load_state_dict(packed["average"])
        for name in PLAIN:
            setattr(state, name, packed[name])
        logger.info("%s goes on behind epoch %d of %d", self.stage.name, state.epoch, self.settings.epochs)
        return state


PLAIN = (
    "epoch",
    "history",
    "seconds",
    "growth",
    "moves",
    "memory",
    "best_epoch",
    "best_value",
    "best",
    "speed",
)
