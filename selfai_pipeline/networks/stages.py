"""A network as a list of stages: readable, stored in every checkpoint, and what Net2Net rewrites.

Shapes: pictures are [n, 3, height, width]; a convolution keeps height and width (odd kernels, zeros around
the picture); a pool divides both by its size; global average pooling gives the embedding [n, channels]; the
head gives scores [n].
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

INPUT_CHANNELS = 3
INPUT_MIDDLE, INPUT_SPREAD = 0.5, 0.25
"""What a network sees of a pixel p, 0..1, is (p - middle) / spread."""
LARGEST_CHANNELS = 65_536
LARGEST_KERNEL = 31
MOST_STAGES = 1000
LAYER_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class Convolution:
    """ELU(convolution + bias) - `shift`, at stride 1, with ELU's alpha at 1; no normalisation.

    `shift` is 0 except in layers that Net2Net has inserted; see `net2net.deepen` for what it is there for.
    """

    kind: ClassVar[str] = "convolution"
    name: str
    channels: int
    kernel: int
    shift: float = 0.0


@dataclass(frozen=True)
class Backbone:
    """A convolutional network of others up to its last feature map, in place of our own convolutions.

    `name` is one of `backbones.BACKBONES`. Net2Net leaves it as it is.
    """

    kind: ClassVar[str] = "backbone"
    name: str
    channels: int


@dataclass(frozen=True)
class MaxPool:
    """The largest value of each square of `size` pixels."""

    kind: ClassVar[str] = "max_pool"
    size: int = 2


@dataclass(frozen=True)
class GlobalAveragePool:
    """The mean of each channel over the picture: the embedding, [n, channels]."""

    kind: ClassVar[str] = "global_average_pool"


@dataclass(frozen=True)
class Head:
    """Dropout, then one linear output: the score.

    `mirrored`: in evaluation mode the score is the mean of those of the picture and of its mirror image.
    """

    kind: ClassVar[str] = "head"
    dropout: float = 0.5
    mirrored: bool = False


Stage = Convolution | Backbone | MaxPool | GlobalAveragePool | Head
KINDS: dict[str, type[Stage]] = {
    "convolution": Convolution,
    "backbone": Backbone,
    "max_pool": MaxPool,
    "global_average_pool": GlobalAveragePool,
    "head": Head,
}

ACCEPTED: dict[Any, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float), bool: (bool,)}
"""Which JSON values a field of a stage takes, by its type."""

TINY_DARKNET: tuple[str, ...] = (
    *("16/3", "pool", "32/3", "pool"),
    *("16/1", "128/3", "16/1", "128/3", "pool"),
    *("32/1", "256/3", "32/1", "256/3", "pool"),
    *("64/1", "512/3", "64/1", "512/3", "128/1"),
)
"""Channels and kernel of each convolution, up to the last layer before the classifier
(Redmon, pjreddie.com/darknet/tiny-darknet)."""


class UnfitStages(ValueError):
    """A list of stages that builds no network; the message names the stage."""


def tiny_darknet(width: float = 1.0) -> tuple[Stage, ...]:
    """The trunk of Tiny Darknet: fifteen convolutions `conv1`..`conv15`, four pools, global average pooling.

    Args:
        width: channels relative to the original; each layer keeps at least four.

    The embedding has 128 * `width` units. Height and width of the input have to be multiples of 16.
    """
    stages: list[Stage] = []
    number = 0
    for part in TINY_DARKNET:
        if part == "pool":
            stages.append(MaxPool())
            continue
        number += 1
        channels, kernel = (int(value) for value in part.split("/"))
        stages.append(Convolution(f"conv{number}", max(4, round(channels * width)), kernel))
    return (*stages, GlobalAveragePool())


def with_head(trunk: Iterable[Stage], *, dropout: float = 0.5, mirrored: bool = False) -> tuple[Stage, ...]:
    """The stages of `trunk` with an output layer; one that is already there is replaced."""
    return (*(stage for stage in trunk if not isinstance(stage, Head)), Head(dropout, mirrored))


def check_stages(stages: Iterable[Stage]) -> None:
    """Raises UnfitStages unless `stages` build a network.

    There are convolutions and pools, or one backbone; then one global pool, and at most a head.
    """
    listed = list(stages)
    if len(listed) > MOST_STAGES:
        raise UnfitStages(f"more than {MOST_STAGES} stages")
    names: set[str] = set()
    ends = [index for index, stage in enumerate(listed) if isinstance(stage, GlobalAveragePool)]
    has_backbone = isinstance(listed[0] if listed else None, Backbone)
    if len(ends) != 1 or not (
        has_backbone or any(isinstance(stage, Convolution) for stage in listed[: ends[0]])
    ):
        raise UnfitStages("a network has convolutions, or a backbone, and then one global_average_pool")
    tail = listed[ends[0] + 1 :]
    if len(tail) > 1 or not all(isinstance(stage, Head) for stage in tail):
        raise UnfitStages("behind global_average_pool there is at most one head, and nothing else")
    for stage in tail:
        if not 0 <= getattr(stage, "dropout", 0.0) < 1:
            raise UnfitStages(f"{stage}: dropout is a fraction below 1")
    if has_backbone:
        if ends[0] != 1:
            raise UnfitStages("behind a backbone there is global_average_pool, and nothing else")
        return
    for index, stage in enumerate(listed[: ends[0]]):
        if isinstance(stage, Convolution):
            if not LAYER_NAME.fullmatch(stage.name):
                raise UnfitStages(
                    f"stage {index}: {stage.name!r} is no name of a layer: a small letter, and behind it at "
                    "most 63 more, digits or _"
                )
            if stage.name in names:
                raise UnfitStages(f"stage {index}: a second layer is called {stage.name!r}")
            for what, value, most in (
                ("channels", stage.channels, LARGEST_CHANNELS),
                ("as the side of the kernel", stage.kernel, LARGEST_KERNEL),
            ):
                if not 1 <= value <= most:
                    raise UnfitStages(f"{stage.name} has {value:.6g} {what}; from 1 to {most} can be")
            if stage.kernel % 2 == 0:
                raise UnfitStages(f"stage {index}: kernel {stage.kernel} is even, it has no centre")
            if not math.isfinite(stage.shift):
                raise UnfitStages(f"stage {index}: the shift is {stage.shift}")
            names.add(stage.name)
        elif not isinstance(stage, MaxPool) or not 1 <= stage.size <= LARGEST_KERNEL:
            raise UnfitStages(f"stage {index}: {stage} cannot stand before the global pool")


def convolutions(stages: Iterable[Stage]) -> list[Convolution]:
    return [stage for stage in stages if isinstance(stage, Convolution)]


def reduction(stages: Iterable[Stage]) -> int:
    """By how much the pools divide height and width together."""
    product = 1
    for stage in stages:
        product *= stage.size if isinstance(stage, MaxPool) else 1
    return product


def stages_to_json(stages: Iterable[Stage]) -> list[dict[str, Any]]:
    return [{"kind": stage.kind, **asdict(stage)} for stage in stages]


def stages_from_json(rows: object) -> tuple[Stage, ...]:
    """The stages that a checkpoint's record lists.

    Raises:
        UnfitStages: an unknown kind or field, a value of another type, or a list that builds no network.
    """
    if not isinstance(rows, list):
        raise UnfitStages("the architecture is not a list of stages")
    stages = tuple(_stage_from_json(index, row) for index, row in enumerate(rows))
    check_stages(stages)
    return stages


def _stage_from_json(index: int, row: object) -> Stage:
    if not isinstance(row, Mapping) or row.get("kind") not in KINDS:
        raise UnfitStages(f"stage {index} is of no known kind")
    kind = KINDS[row["kind"]]
    values = {key: value for key, value in row.items() if key != "kind"}
    types = {field.name: ACCEPTED[field.type] for field in fields(kind)}
    for key, value in values.items():
        if key not in types or type(value) not in types[key]:
            raise UnfitStages(f"stage {index}: {key} = {value!r} does not fit a {row['kind']}")
    try:
        return kind(**values)
    except TypeError as error:
        raise UnfitStages(f"stage {index}: {error}") from error
