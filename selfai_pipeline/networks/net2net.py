"""Net2Net: a larger network that computes the same function (Chen, Goodfellow, Shlens 2015, arXiv
1511.05641).

`widen` copies channels and splits what leaves them; `deepen` inserts a layer that starts as the identity.
Both are exact for the weights as they are stored, float32 included: see `split` and `deepen`; noise on the
copies (`widen`'s `zeroed`) is the exception. Both return a `Growth`, which also maps the state of an
optimizer, so that the step after differs as little as the function does.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import Convolution, Stage, UnfitStages, convolutions

FIRST_MOMENTS = frozenset({"exp_avg", "momentum_buffer"})
SECOND_MOMENTS = frozenset({"exp_avg_sq", "max_exp_avg_sq"})


@dataclass(frozen=True)
class ParameterMap:
    """How a parameter of the larger network comes from the one of the same name before.

    Entries along `axis` are copied by `index`; `split` makes the copies of one entry add up to it. The
    gradient of a copy is `gradient_shares` times that of its source, so moments of the gradient map with it
    and its square.
    """

    axis: int
    index: Tensor
    split: Callable[[Tensor], Tensor] | None = None
    gradient_shares: Tensor | None = None

    def value(self, before: Tensor) -> Tensor:
        return self.split(before) if self.split else before.index_select(self.axis, self._index(before))

    def moment(self, before: Tensor, *, power: int) -> Tensor:
        """A running mean of gradients (power 1) or of their squares (power 2)."""
        copied = before.index_select(self.axis, self._index(before))
        if self.gradient_shares is None:
            return copied
        shape = [-1 if axis == self.axis else 1 for axis in range(before.ndim)]
        return copied * (self.gradient_shares.to(before) ** power).reshape(shape)

    def _index(self, before: Tensor) -> Tensor:
        return self.index.to(before.device)


@dataclass(frozen=True)
class Growth:
    """The larger network, and how its parameters come from those before; what no map names is unchanged.

    `added` are the names of parameters that have no ancestor.
    """

    network: Network
    maps: Mapping[str, ParameterMap] = field(default_factory=dict)
    added: frozenset[str] = frozenset()


def widen(
    network: Network,
    layer: str,
    channels: int,
    *,
    imbalance: float,
    generator: torch.Generator,
    zeroed: float = 0.0,
) -> Growth:
    """`layer` with more `channels`, the network's function and its embedding distances kept.

    New channels copy old ones, drawn without replacement until all were drawn; each consumer's weights are
    split among the copies in shares 1 +- `imbalance` before they are normalised. With equal shares copies
    would receive equal gradients for ever and the new capacity would stay dead. Widening the last
    convolution splits the weights of the distance and of the head.

    Args:
        imbalance: 0 (equal shares) to below 1.
        generator: on the CPU.
        zeroed: fraction of the incoming weights of new channels that are set to zero, which makes copies
            differ as well. This moves the function.

    Raises:
        UnfitStages: no convolution has this name, or it already has as many channels.
    """
    stages = widened_stages(network.stages, layer, channels)
    before = network.layer(layer).out_channels
    sources = copy_sources(before, channels, generator=generator)
    raw = 1.0 + imbalance * (2.0 * torch.rand(channels, generator=generator, dtype=torch.float64) - 1.0)
    shares = raw / torch.zeros(before, dtype=torch.float64).index_add(0, sources, raw)[sources]

    def splitting(axis: int) -> Callable[[Tensor], Tensor]:
        return lambda values: split(values, axis=axis, sources=sources, shares=shares)

    incoming = ParameterMap(0, sources, gradient_shares=shares)
    maps = {f"layers.{layer}.weight": incoming, f"layers.{layer}.bias": incoming}
    names = [stage.name for stage in convolutions(stages)]
    if layer != names[-1]:
        consumer = names[names.index(layer) + 1]
        maps[f"layers.{consumer}.weight"] = ParameterMap(1, sources, split=splitting(1))
    else:
        maps["distance_weights"] = ParameterMap(0, sources, split=splitting(0))
        if network.head is not None:
            maps["head.weight"] = ParameterMap(1, sources, split=splitting(1))
    growth = _grow(network, stages, maps=maps, added={})
    if zeroed:
        weight = growth.network.layer(layer).weight.detach()
        kept = torch.rand(weight[before:].shape, generator=generator) >= zeroed
        weight[before:] *= kept.to(weight)
    return growth


def deepen(network: Network, layer: str, *, kernel: int = 3) -> Growth:
    """A new convolution behind `layer`, the network's function kept; its name is that of `layer` and
    `_deeper`.

    ELU is not idempotent (|ELU(ELU(x)) - ELU(x)| reaches 1/e), so an identity convolution with another ELU
    would change the function. But an ELU is the identity where its input is not negative, and what enters
    is at least -1 - s, s being the shift of `layer`. So the new layer is ELU(h + (1 + s)) - (1 + s) = h: an
    identity kernel, a bias of 1 + s, and a shift of 1 + s behind the ELU. The shift belongs to the
    architecture, so the consumer keeps its bias and goes on padding with zeros, and borders are exact too.

    Raises:
        UnfitStages: no convolution has this name, or the kernel has no centre.
    """
    stages = deepened_stages(network.stages, layer, kernel)
    names = [stage.name for stage in convolutions(stages)]
    new = convolutions(stages)[names.index(layer) + 1]
    like = network.layer(layer).weight
    weight = torch.zeros(new.channels, new.channels, kernel, kernel, dtype=like.dtype, device=like.device)
    diagonal = torch.arange(new.channels)
    weight[diagonal, diagonal, kernel // 2, kernel // 2] = 1.0
    bias = torch.full((new.channels,), new.shift, dtype=like.dtype, device=like.device)
    added = {f"layers.{new.name}.weight": weight, f"layers.{new.name}.bias": bias}
    return _grow(network, stages, maps={}, added=added)


def widened_stages(stages: Iterable[Stage], layer: str, channels: int) -> tuple[Stage, ...]:
    """The stages after `widen`."""
    old = _convolution(stages, layer)
    if channels <= old.channels:
        raise UnfitStages(f"{layer} has {old.channels} channels, widening it to {channels} adds none")
    return tuple(replace(old, channels=channels) if stage is old else stage for stage in stages)


def deepened_stages(stages: Iterable[Stage], layer: str, kernel: int) -> tuple[Stage, ...]:
    """The stages after `deepen`."""
    listed = list(stages)
    old = _convolution(listed, layer)
    if kernel < 1 or kernel % 2 == 0:
        raise UnfitStages(f"a kernel of {kernel} has no centre for the identity; take an odd one")
    taken = {stage.name for stage in convolutions(listed)}
    name = f"{layer}_deeper"
    if name in taken:
        raise UnfitStages(f"{layer} was deepened before; go on behind {name}")
    new = Convolution(name, old.channels, kernel, shift=1.0 + old.shift)
    place = next(index for index, stage in enumerate(listed) if stage is old) + 1
    return (*listed[:place], new, *listed[place:])


def copy_sources(before: int, after: int, *, generator: torch.Generator) -> Tensor:
    """Which old channel each new one copies [after]: the old ones first, counts differing by at most 1."""
    rounds = [torch.arange(before)]
    while sum(len(part) for part in rounds) < after:
        rounds.append(torch.randperm(before, generator=generator))
    return torch.cat(rounds)[:after]


def split(values: Tensor, *, axis: int, sources: Tensor, shares: Tensor) -> Tensor:
    """`values` with each entry along `axis` split among its copies, so that these add up to it exactly.

    A share times a weight is rounded to a multiple of the weight's last bit, and the last copy takes what
    is left: both then have an exact representation, and no rounding moves the function.
    """
    moved = values.detach().double().movedim(axis, 0)
    copies = moved[sources.to(values.device)]
    limits = torch.finfo(values.dtype)
    bits = 1 - round(math.log2(limits.eps))
    smallest = round(math.log2(limits.tiny))
    # below the smallest normal number the last bit no longer shrinks with the value
    exponents = torch.frexp(copies).exponent.clamp(min=smallest + 1)
    last_bit = torch.ldexp(torch.ones_like(copies), exponents - bits)
    scale = shares.to(values.device).reshape(-1, *[1] * (copies.ndim - 1))
    parts = torch.round(copies * scale / last_bit) * last_bit
    final = _last_copies(sources).to(values.device)
    parts[final] = 0.0
    given = torch.zeros_like(moved).index_add(0, sources.to(values.device), parts)
    parts[final] = (
        moved[sources[final.cpu()].to(values.device)] - given[sources[final.cpu()].to(values.device)]
    )
    return parts.movedim(0, axis).to(values.dtype)


def _last_copies(sources: Tensor) -> Tensor:
    """Positions [n] of the last copy of each source, in the order of the positions."""
    last = {int(source): position for position, source in enumerate(sources)}
    return torch.tensor(sorted(last.values()))


def map_optimizer(
    before: torch.optim.Optimizer, after: torch.optim.Optimizer, *, network: Network, growth: Growth
) -> None:
    """Carry the state of `before` (over `network`) to `after`, a new optimizer of the same kind over the
    growth.

    Copied parameters take the moments of their sources, scaled as their gradients are; step counters are
    kept; parameters without an ancestor start without state. SGD with momentum and the Adam family are
    known.

    Raises:
        ValueError: the optimizer keeps a state that this function does not know.
    """
    new = dict(growth.network.named_parameters())
    for name, parameter in network.named_parameters():
        mapping = growth.maps.get(name)
        target = new[name]
        mapped: dict[str, object] = {}
        for key, value in before.state.get(parameter, {}).items():
            if not isinstance(value, Tensor) or value.ndim == 0:
                mapped[key] = value.clone() if isinstance(value, Tensor) else value
                continue
            if key not in FIRST_MOMENTS | SECOND_MOMENTS:
                raise ValueError(f"no rule maps the optimizer's state {key!r} through Net2Net")
            power = 1 if key in FIRST_MOMENTS else 2
            moment = value if mapping is None else mapping.moment(value, power=power)
            # fused optimizers walk over raw memory: state and parameter need the same strides
            mapped[key] = torch.empty_like(target).copy_(moment)
        if mapped:
            after.state[target] = mapped


def _grow(
    network: Network,
    stages: tuple[Stage, ...],
    *,
    maps: Mapping[str, ParameterMap],
    added: Mapping[str, Tensor],
) -> Growth:
    grown = Network(stages)
    values = {
        name: maps[name].value(tensor) if name in maps else tensor
        for name, tensor in network.state_dict().items()
    }
    like = network.distance_weights
    grown.to(device=like.device, dtype=like.dtype)
    grown.load_state_dict({**values, **added})
    grown.train(network.training)
    return Growth(grown, maps, frozenset(added))


def _convolution(stages: Iterable[Stage], layer: str) -> Convolution:
    listed = convolutions(stages)
    for stage in listed:
        if stage.name == layer:
            return stage
    raise UnfitStages(f"no convolution is called {layer!r}; there are {', '.join(s.name for s in listed)}")
