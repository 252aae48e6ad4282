"""What training needs of a label table: scores, classes, splits, weights, and the pixels in its order."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfai_pipeline.errors import InputError, TooLittleToLearn
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef
from selfai_pipeline.training.compute import memory_for
from selfai_pipeline.training.pixels import Framing, Pixels, load_pixels

TRAIN, VALIDATION = "train", "validation"
MEND = (
    "Rate more pictures, or change the split in the label settings, then materialize the label table again."
)


@dataclass(frozen=True)
class LabelledPixels:
    """The rows of a label table: `pixels` [rows, size, size, 3] uint8, `scores` and `weights` [rows] float64,
    `classes` [rows] int64; `train` and `validation` are the row numbers of these splits.
    """

    pixels: Pixels
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]
    weights: NDArray[np.float64]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]

    @classmethod
    def load(cls, labels: TableRef, *, store: Store, framing: Framing) -> "LabelledPixels":
        """Read a label table and its pixels.

        Raises:
            TooLittleToLearn: a split that training needs is missing, its scores are all equal, or no training
                row has a weight.
            InputError: a score or weight is no finite number.
        """
        table = store.tables.read(labels, ["score", "class", "split", "weight"])
        splits = np.array(table["split"].to_pylist(), dtype=str)
        scores = table["score"].to_numpy().astype(np.float64)
        weights = table["weight"].to_numpy().astype(np.float64)
        train, validation = (np.flatnonzero(splits == name) for name in (TRAIN, VALIDATION))
        for name, rows in ((TRAIN, train), (VALIDATION, validation)):
            if len(rows) < 2:
                what = f"the {name} split has {len(rows)} rows, training needs two or more"
                raise TooLittleToLearn(what, where=labels.asset, mend=MEND)
            if not np.isfinite([scores[rows], weights[rows]]).all():
                what = f"a score or weight of the {name} split is no finite number"
                raise InputError(what, where=labels.asset, mend=MEND)
            if np.ptp(scores[rows]) == 0:
                what = f"all scores of the {name} split are equal, there is nothing to learn or to correlate"
                raise TooLittleToLearn(what, where=labels.asset, mend=MEND)
        if not (weights[train].sum() > 0 and (weights[train] >= 0).all()):
            raise TooLittleToLearn("no row of the train split has a weight", where=labels.asset, mend=MEND)
        return cls(
            pixels=load_pixels(labels, store=store, framing=framing),
            scores=scores,
            classes=table["class"].to_numpy().astype(np.int64),
            weights=weights,
            train=train,
            validation=validation,
        )

    def drawn_less_evenly(self, power: float) -> "LabelledPixels":
        """The same rows, drawn with their weights to the power of `power`: 1 changes nothing, at 0 every row
        of training that has a weight is drawn alike."""
        weights = np.zeros_like(self.weights)
        drawn = self.train[self.weights[self.train] > 0]
        weights[drawn] = (self.weights[drawn] / self.weights[drawn].max()) ** power
        return replace(self, weights=weights / weights.sum())

    @property
    def train_mean(self) -> float:
        """The mean score of a draw."""
        return float(np.average(self.scores[self.train], weights=self.weights[self.train]))


class PixelFeed:
    """Batches of pixels by row number, on `device`: a GPU holds all of them, a CPU reads the memory map."""

    def __init__(self, pixels: Pixels, *, device: torch.device) -> None:
        self.pixels = pixels
        self.device = device
        self.resident: Tensor | None = None
        if device.type != "cpu":
            with memory_for(
                f"all {len(pixels)} pictures of {pixels.shape[1]} px on {device.type}",
                mend="Lower input_size, or set compute.device to cpu.",
            ):
                self.resident = torch.from_numpy(np.array(pixels)).to(device)

    def __call__(self, rows: Tensor) -> Tensor:
        """Pixels [n, size, size, 3] uint8 of rows [n]."""
        if self.resident is not None:
            return self.resident[rows.to(self.device)]
        return torch.from_numpy(self.pixels[rows.numpy()])
