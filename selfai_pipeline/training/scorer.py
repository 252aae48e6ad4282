"""A fine-tuned network with everything that scoring a crop needs: what evaluation and serving share."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selfai_pipeline.errors import InputError
from selfai_pipeline.networks.network import Network
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef
from selfai_pipeline.training.augmentation import normalise
from selfai_pipeline.training.checkpoints import load_checkpoint
from selfai_pipeline.training.compute import Compute
from selfai_pipeline.training.conformal import COVERAGE, Intervals, Reals
from selfai_pipeline.training.inference import as_vectors, pictures_at_once
from selfai_pipeline.training.pixels import Framing, Pixels
from selfai_pipeline.training.settings import ComputeSettings


class Scorer:
    """Scores aligned crops on the crowd's scale 0..9, in float32 whatever the training used.

    Attributes:
        network: in evaluation mode, on the device of `compute`.
        record: of the checkpoint.
        framing: what of an aligned crop the network sees.
        intervals: how far from a score the crowd's own lies; without levels where they were never calibrated.
    """

    def __init__(
        self, network: Network, *, record: Mapping[str, Any], framing: Framing, compute: Compute
    ) -> None:
        self.network = compute.place(network.eval())
        self.record = record
        self.framing = framing
        self.intervals = Intervals.of_record(record)
        self.compute = compute

    @classmethod
    def load(cls, ref: CheckpointRef, *, store: Store, compute: ComputeSettings) -> "Scorer":
        """The scorer of a checkpoint.

        Raises:
            InputError: the checkpoint has no head, does not fit (see `load_checkpoint`), or what its record
                keeps are no intervals.
            MissingVersion, AlteredVersion: it is missing or was altered.
        """
        checkpoint = load_checkpoint(ref, store=store)
        if checkpoint.network.head is None:
            raise InputError(
                "the checkpoint is a pre-trained trunk without an output, it cannot score",
                where=f"{ref.asset} {ref.sha256[:12]}",
                mend="Use a checkpoint of finetuned_scorer.",
            )
        return cls(
            checkpoint.network,
            record=checkpoint.record,
            framing=checkpoint.framing,
            compute=Compute.from_settings(compute),
        )

    @property
    def input_size(self) -> int:
        """Side of the network's input, pixels."""
        return self.framing.size

    def frame(self, crops: Pixels) -> Pixels:
        """Crops [n, s, s, 3] RGB uint8 of any size as the pixels [n, size, size, 3] that the network sees."""
        if crops.ndim != 4 or crops.shape[3] != 3 or crops.dtype != np.uint8:
            raise ValueError(f"crops are [n, s, s, 3] uint8, not {list(crops.shape)} {crops.dtype}")
        framed = np.empty((len(crops), self.input_size, self.input_size, 3), np.uint8)
        for row, crop in enumerate(crops):
            framed[row] = self.framing(crop)
        return framed

    def prepare(self, framed: Pixels) -> torch.Tensor:
        """Framed pixels [n, size, size, 3] as network input [n, 3, size, size] on its device."""
        return normalise(torch.from_numpy(framed).to(self.compute.device))

    def score(self, crops: Pixels) -> NDArray[np.float64]:
        """Scores [n] of crops [n, s, s, 3] RGB uint8, on the scale 0..9, not clipped."""
        return self.score_framed(self.frame(crops))

    def score_framed(self, framed: Pixels) -> NDArray[np.float64]:
        """Scores [n] of pixels [n, size, size, 3] RGB uint8 that were framed before, as those of training."""
        scores = np.empty(len(framed), np.float64)
        with self.compute.session(), torch.inference_mode():
            size = pictures_at_once(self.compute.device)
            for start in range(0, len(framed), size):
                batch = self.prepare(framed[start : start + size])
                scores[start : start + size] = as_vectors(self.network(batch))
        return scores

    def score_with_interval(
        self, crops: Pixels, *, coverage: float = COVERAGE
    ) -> tuple[NDArray[np.float64], Reals, Reals]:
        """Scores [n] as of `score`, and the lower and upper ends [n] of their intervals, within 0..9.

        Raises:
            UndefinedMetric: no interval of this coverage was calibrated; the message says why.
        """
        scores = self.score(crops)
        return scores, *self.intervals.around(scores, coverage)
