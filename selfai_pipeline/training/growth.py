"""When and how a network grows in training: a rule for stalls, and one operator of the plan a stall."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from selfai_pipeline.networks.net2net import map_optimizer
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.operators import parse_operator
from selfai_pipeline.networks.sameness import deviation
from selfai_pipeline.training.settings import Copies

logger = logging.getLogger("selfai.training")


@dataclass(frozen=True)
class StallRule:
    """Validation stalls when its loss has not fallen enough for `patience` epochs in a row.

    Enough is a relative fall of `tolerance` against the lowest loss that counted as progress. Growth starts
    the count anew, from the loss at that moment.
    """

    patience: int
    tolerance: float

    def update(self, memory: dict[str, Any], loss: float) -> bool:
        """Note an epoch's loss in `memory` (keys `lowest`, `waited`); whether training has stalled."""
        lowest = memory.get("lowest")
        if lowest is None or loss < lowest * (1.0 - self.tolerance):
            memory.update(lowest=loss, waited=0)
        else:
            memory["waited"] += 1
        return bool(memory["waited"] >= self.patience)


def plan_outcome(plan: Sequence[str], events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What came of each operator of a plan: whether it `happened`, and after which `epoch` (None: never).

    An operator does not happen where training ended before it stalled often enough.
    """
    epochs = [*(event["epoch"] for event in events), *[None] * (len(plan) - len(events))]
    outcome = [
        {"operator": operator, "happened": epoch is not None, "epoch": epoch}
        for operator, epoch in zip(plan, epochs, strict=True)
    ]
    missed = [f"`{entry['operator']}`" for entry in outcome if not entry["happened"]]
    if missed:
        logger.warning(
            "the growth plan is not complete, training ended before it stalled again: %s did not happen",
            ", ".join(missed),
        )
    return outcome


@dataclass(frozen=True)
class Grown:
    """A network after an operator, its optimizer with the state carried over, and what to record."""

    network: Network
    optimizer: torch.optim.Optimizer
    event: dict[str, Any]


def copy_options(copies: Copies, *, imbalance: float, zeroed: float) -> dict[str, float]:
    """How copied channels are made to differ, as arguments of `net2net.widen`."""
    return {
        "imbalance": imbalance if copies is Copies.UNEQUAL_SHARES else 0.0,
        "zeroed": zeroed if copies is Copies.ZEROING_NOISE else 0.0,
    }


def grow(
    network: Network,
    optimizer: torch.optim.Optimizer,
    *,
    operator: str,
    imbalance: float,
    seed: int,
    probe: Tensor,
    new_optimizer: Callable[[Network], torch.optim.Optimizer],
    place: Callable[[Network], Network],
    zeroed: float = 0.0,
) -> Grown:
    """Apply `operator` and measure what it did to the function on `probe` [n, 3, h, w].

    The event has `operator`, `parameters_before` and `_after`, and the largest relative deviation (see
    `Deviation`) in float64, float32 and bfloat16.
    """
    generator = torch.Generator().manual_seed(seed)
    growth = parse_operator(operator).apply(network, imbalance=imbalance, generator=generator, zeroed=zeroed)
    place(growth.network)
    after = new_optimizer(growth.network)
    map_optimizer(optimizer, after, network=network, growth=growth)
    moved = {
        str(dtype).removeprefix("torch."): deviation(network, growth.network, probe, dtype=dtype).largest
        for dtype in (torch.float64, torch.float32, torch.bfloat16)
    }
    event = {
        "operator": operator,
        "parameters_before": network.parameter_count,
        "parameters_after": growth.network.parameter_count,
        **{f"deviation_{name}": value for name, value in moved.items()},
    }
    return Grown(growth.network, after, event)
