"""Pictures as the network sees them: one preset for evaluation and serving, one for training.

Both take a batch of uint8 pixels; augmentation is arithmetic on the whole batch, not picture after picture.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from selfai_pipeline.networks.stages import INPUT_MIDDLE, INPUT_SPREAD
from selfai_pipeline.training.settings import AugmentationSettings

DARKEST, BRIGHTEST = ((edge - INPUT_MIDDLE) / INPUT_SPREAD for edge in (0.0, 1.0))
"""What a network sees of a black and of a white pixel."""

PICTURES_IN_CACHE = 16
"""Pictures that are changed at once on a processor: what one step hands to the next stays in its cache, which
saves a third of the time at 112 pixels."""


def to_unit(pixels: Tensor) -> Tensor:
    """Pixels [n, h, w, 3] uint8 as [n, 3, h, w] float32 in 0..1, channels last in memory."""
    planes = pixels.permute(0, 3, 1, 2)
    return planes.to(torch.float32, memory_format=torch.channels_last).div_(255.0)


def normalise(pixels: Tensor) -> Tensor:
    """The evaluation preset: pixels [n, h, w, 3] uint8 RGB as network input [n, 3, h, w], about -2..2."""
    return _standardise(to_unit(pixels))


def augment(pixels: Tensor, *, settings: AugmentationSettings, generator: torch.Generator) -> Tensor:
    """The training preset: each picture turned, scaled, moved, mirrored and re-coloured at random.

    Args:
        pixels: [n, h, w, 3] uint8 RGB.
        generator: on the CPU, whatever the device of the pixels, so that a seed means the same everywhere.

    Returns:
        Network input [n, 3, h, w]. What comes in from outside the picture repeats its border.
    """
    n, height, width, _ = pixels.shape
    maps = _affine(n, settings, generator).to(pixels.device)
    contrast = 1.0 + _uniform((n, 1, 1, 1), settings.contrast, generator)
    colour = 1.0 + _uniform((n, 3, 1, 1), settings.colour, generator)
    brightness = _uniform((n, 1, 1, 1), settings.brightness, generator)
    gain = contrast * colour
    offset = INPUT_MIDDLE + brightness - INPUT_MIDDLE * gain
    factor, summand = (
        part.to(pixels.device) for part in (gain / (255.0 * INPUT_SPREAD), _standardise(offset))
    )
    changed = torch.empty((n, 3, height, width), device=pixels.device, memory_format=torch.channels_last)
    size = PICTURES_IN_CACHE if pixels.device.type == "cpu" else n
    for first in range(0, n, size):
        some = slice(first, first + size)
        _change(pixels[some], maps[some], factor[some], summand[some], out=changed[some])
    return changed


def _change(pixels: Tensor, maps: Tensor, factor: Tensor, summand: Tensor, *, out: Tensor) -> None:
    """Pixels [n, h, w, 3] sampled along maps [n, 2, 3], times a factor and plus a summand [n, 3, 1, 1]."""
    _, height, width, _ = pixels.shape
    # Sampled from planes, which are faster to read at random; the pixels of training are kept as such.
    planes = pixels.permute(0, 3, 1, 2).contiguous().to(torch.float32)
    moved = functional.grid_sample(
        planes,
        _grid(maps, height=height, width=width),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    # To 0..1, coloured, standardised and brought into channels last, in one pass: a channel at a time, since
    # planes on one side and interleaved channels on the other are slow to walk together.
    for channel in range(3):
        torch.addcmul(summand[:, channel], moved[:, channel], factor[:, channel], out=out[:, channel])
    out.clamp_(DARKEST, BRIGHTEST)


def _grid(maps: Tensor, *, height: int, width: int) -> Tensor:
    """Where each output pixel comes from, [n, height, width, 2], as `affine_grid(align_corners=False)`.

    A map is a sum of a column's part and a row's part: torch's own multiplies matrices a pixel at a time,
    which takes longer than the sampling. Pairs of coordinates are added as complex numbers, because sums with
    an inner dimension of two are not vectorised.
    """
    across, down = (
        (2.0 * torch.arange(side, device=maps.device, dtype=maps.dtype) + 1.0) / side - 1.0
        for side in (width, height)
    )
    columns = maps[:, None, :, 0] * across[None, :, None]
    rows = maps[:, None, :, 1] * down[None, :, None] + maps[:, None, :, 2]
    of_columns, of_rows = torch.view_as_complex(columns), torch.view_as_complex(rows)
    return torch.view_as_real(of_columns[:, None, :] + of_rows[:, :, None])


def _affine(n: int, settings: AugmentationSettings, generator: torch.Generator) -> Tensor:
    """Maps [n, 2, 3] from the output's coordinates to the picture's, both -1..1 from border to border."""
    angle = _uniform((n,), settings.rotation * math.pi / 180.0, generator)
    zoom = 1.0 / (1.0 + _uniform((n,), settings.scale, generator))
    moves = _uniform((n, 2), 2.0 * settings.shift, generator)
    coin = torch.randint(0, 2, (n,), generator=generator)
    mirror = 1.0 - 2.0 * coin if settings.flip else torch.ones(n)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    first = torch.stack([cosine * mirror, -sine, moves[:, 0]], dim=1)
    second = torch.stack([sine * mirror, cosine, moves[:, 1]], dim=1)
    return torch.stack([first, second], dim=1)


def _standardise(unit: Tensor) -> Tensor:
    return (unit - INPUT_MIDDLE) / INPUT_SPREAD


def _uniform(shape: tuple[int, ...], half_range: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2.0 - 1.0) * half_range
