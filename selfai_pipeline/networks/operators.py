"""Net2Net operators as text: `wider LAYER FACTOR`, `deeper LAYER` or `deeper LAYER KERNEL`."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import torch

from selfai_pipeline.networks.net2net import Growth, deepen, deepened_stages, widen, widened_stages
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import Stage, UnfitStages, check_stages, convolutions


def scaled_up(channels: int, factor: float) -> int:
    """`channels * factor`, rounded up; 100 * 1.1 is 110, though in binary 1.1 is a little more."""
    return math.ceil(channels * Fraction(str(factor)))


@dataclass(frozen=True)
class Wider:
    """`layer` with `factor` times its channels, rounded up."""

    layer: str
    factor: float

    def channels(self, stages: Iterable[Stage]) -> int:
        (before,) = [stage.channels for stage in convolutions(stages) if stage.name == self.layer] or [0]
        return scaled_up(before, self.factor)

    def rewrite(self, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        return widened_stages(stages, self.layer, self.channels(stages))

    def apply(
        self, network: Network, *, imbalance: float, generator: torch.Generator, zeroed: float = 0.0
    ) -> Growth:
        channels = self.channels(network.stages)
        return widen(network, self.layer, channels, imbalance=imbalance, generator=generator, zeroed=zeroed)


@dataclass(frozen=True)
class Deeper:
    """A new layer behind `layer`."""

    layer: str
    kernel: int = 3

    def rewrite(self, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        return deepened_stages(stages, self.layer, self.kernel)

    def apply(
        self, network: Network, *, imbalance: float, generator: torch.Generator, zeroed: float = 0.0
    ) -> Growth:
        return deepen(network, self.layer, kernel=self.kernel)


Operator = Wider | Deeper


def parse_operator(text: str) -> Operator:
    """The operator that `text` names.

    Raises:
        UnfitStages: it names none.
    """
    match text.split():
        case ["wider", layer, factor] if _number(factor) > 1:
            return Wider(layer, _number(factor))
        case ["deeper", layer]:
            return Deeper(layer)
        case ["deeper", layer, kernel] if kernel.isascii() and kernel.isdigit():
            return Deeper(layer, int(kernel))
    raise UnfitStages(
        f"{text!r} is no operator; write `wider LAYER FACTOR` with a factor above 1, "
        "or `deeper LAYER KERNEL` with an odd kernel"
    )


def parse_plan(plan: Iterable[str], stages: tuple[Stage, ...]) -> list[Operator]:
    """The operators of a plan, tried one after the other on `stages` before any training.

    Raises:
        UnfitStages: an operator cannot be read, or does not fit the network that the ones before it leave.
    """
    operators = []
    for number, text in enumerate(plan, 1):
        try:
            operator = parse_operator(text)
            stages = operator.rewrite(stages)
            check_stages(stages)
        except UnfitStages as error:
            raise UnfitStages(f"operator {number} of the plan: {error}") from error
        operators.append(operator)
    return operators


def widen_all(
    network: Network, factor: float, *, imbalance: float, generator: torch.Generator, zeroed: float = 0.0
) -> Network:
    """Every convolution `factor` times as wide, the embedding included; the same function but for `zeroed`
    (see `widen`)."""
    for stage in convolutions(network.stages):
        operator = Wider(stage.name, factor)
        network = operator.apply(network, imbalance=imbalance, generator=generator, zeroed=zeroed).network
    return network


def _number(text: str) -> float:
    try:
        # Python reads 1_5 as fifteen.
        value = math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
