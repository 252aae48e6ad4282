"""Independent checks of checkpoints: measured again from what is stored, not read from their records."""

from dataclasses import dataclass

import numpy as np
import torch

from selfai_pipeline.errors import SelfaiError
from selfai_pipeline.networks.sameness import deviation
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, TableRef
from selfai_pipeline.training.augmentation import normalise
from selfai_pipeline.training.checkpoints import load_checkpoint
from selfai_pipeline.training.labels import VALIDATION
from selfai_pipeline.training.metrics import Vector
from selfai_pipeline.training.pixels import load_pixels
from selfai_pipeline.training.scorer import Scorer
from selfai_pipeline.training.settings import ComputeSettings

PROBE_PICTURES = 4
PROBE_SEED = 20_26


@dataclass(frozen=True)
class Condition:
    """Whether a checkpoint reads back (`problem` is empty then), and whether all its weights are finite."""

    problem: str
    finite: bool
    parameters: int


def condition_of(ref: CheckpointRef, *, store: Store) -> Condition:
    """Read a checkpoint as a user of it would; what is wrong with it becomes `problem`."""
    try:
        network = load_checkpoint(ref, store=store).network
    except SelfaiError as error:
        return Condition(str(error), finite=False, parameters=0)
    finite = all(bool(value.isfinite().all()) for value in network.state_dict().values())
    return Condition("", finite, network.parameter_count)


def widening_deviation(before: CheckpointRef, after: CheckpointRef, *, store: Store) -> float:
    """How far `after` is from the function of `before`: relative, in float64, on pictures of its own."""
    narrow, wide = (load_checkpoint(ref, store=store) for ref in (before, after))
    generator = torch.Generator().manual_seed(PROBE_SEED)
    shape = (PROBE_PICTURES, narrow.input_size, narrow.input_size, 3)
    pictures = normalise(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator))
    return deviation(narrow.network, wide.network, pictures, dtype=torch.float64).largest


def validation_scores(
    scorer: CheckpointRef, labels: TableRef, *, store: Store, compute: ComputeSettings
) -> tuple[Vector, Vector]:
    """Predicted and annotated scores [n] of the validation split."""
    model = Scorer.load(scorer, store=store, compute=compute)
    table = store.tables.read(labels, ["score", "split"])
    rows = np.flatnonzero(np.array(table["split"].to_pylist(), dtype=str) == VALIDATION)
    pixels = load_pixels(labels, store=store, size=model.input_size)
    return model.score(np.asarray(pixels[rows])), table["score"].to_numpy().astype(np.float64)[rows]
