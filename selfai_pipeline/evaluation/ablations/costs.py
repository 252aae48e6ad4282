"""What training costs: seconds of the clock, and floating-point work that does not depend on the machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.operators import parse_operator
from selfai_pipeline.networks.stages import Stage

FORWARD_AND_BACKWARD = 3
"""A training step costs three forward passes: the backward pass computes two gradients of that size."""


@lru_cache(maxsize=256)
def forward_operations(stages: tuple[Stage, ...], size: int) -> int:
    """Additions and multiplications that one picture of `size` pixels takes through convolutions and head."""
    network = Network(stages).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        embedding = network.embed(torch.zeros(1, 3, size, size))
        if network.head is not None:
            network.score(embedding)
    return int(counter.get_total_flops())


@dataclass(frozen=True)
class Epochs:
    """The epochs of one stage of training, in their order.

    `figures` are those of the stage; `seconds` include validation and growth, `operations` are those of
    training alone.
    """

    figures: list[Mapping[str, float]]
    seconds: list[float]
    operations: list[int]
    steps: int


NO_EPOCHS = Epochs([], [], [], 0)


def shapes_by_epoch(
    start: tuple[Stage, ...], growth: Sequence[Mapping[str, Any]], *, epochs: int
) -> list[tuple[Stage, ...]]:
    """The stages with which each epoch was trained; an operator holds from the epoch after its own."""
    shapes, stages = [], start
    for epoch in range(1, epochs + 1):
        shapes.append(stages)
        for event in growth:
            if event["epoch"] == epoch:
                stages = parse_operator(event["operator"]).rewrite(stages)
    return shapes


@dataclass
class Clock:
    """Takes the reports of a trainer, and hands them on."""

    report: Any
    seconds: dict[int, float] = field(default_factory=dict)

    def __call__(self, epoch: int, figures: Mapping[str, float]) -> None:
        self.seconds[epoch] = figures["seconds"]
        self.report(epoch, figures)

    def epochs(
        self,
        record: Mapping[str, Any],
        shapes: Sequence[tuple[Stage, ...]],
        *,
        steps: int,
        batch: int,
    ) -> Epochs:
        """The epochs that were reported.

        Args:
            record: of the checkpoint that came of them.
            shapes: the stages of each epoch.
            steps, batch: steps of an epoch, and pictures of a step.
        """
        size = int(record["input_size"])
        return Epochs(
            figures=list(record["history"]),
            seconds=[self.seconds[epoch] for epoch in range(1, len(shapes) + 1)],
            operations=[
                FORWARD_AND_BACKWARD * forward_operations(stages, size) * steps * batch for stages in shapes
            ],
            steps=steps * len(shapes),
        )
