"""Which rows an epoch trains on: a pure function of seed and epoch, so that a resumed run draws the same."""

import hashlib

import torch
from torch import Tensor


def derived_seed(*parts: str | int) -> int:
    """A seed for one purpose, from the run's seed and the purpose's name and number."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def steps_in_epoch(rows: int, batch_size: int, *, least: int = 1) -> int:
    """Steps of an epoch: as many whole batches as come nearest to one draw a row, at least `least`."""
    return max(least, round(rows / batch_size))


def draw_epoch(
    rows: Tensor, weights: Tensor, *, batch_size: int, seed: int, epoch: int, least_steps: int = 1
) -> Tensor:
    """Row numbers [steps, batch] of an epoch, drawn with replacement in proportion to `weights` [n].

    Label tables weigh so that a class is drawn first and a picture second. A batch is never larger than
    `rows` [n].
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, "draws", epoch))
    size = min(batch_size, len(rows))
    steps = steps_in_epoch(len(rows), size, least=least_steps)
    drawn = torch.multinomial(weights.double(), steps * size, replacement=True, generator=generator)
    return rows[drawn].reshape(steps, size)
