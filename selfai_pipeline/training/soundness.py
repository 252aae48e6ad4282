"""Independent checks of checkpoints: measured again from what is stored, not read from their records."""

from dataclasses import dataclass

import numpy as np
import torch

from selfai_pipeline.errors import SelfaiError, UndefinedMetric
from selfai_pipeline.networks.sameness import deviation
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef, TableRef
from selfai_pipeline.training.augmentation import normalise
from selfai_pipeline.training.checkpoints import load_checkpoint
from selfai_pipeline.training.compute import Compute
from selfai_pipeline.training.inference import as_vectors, embed_rows
from selfai_pipeline.training.labels import VALIDATION, LabelledPixels, PixelFeed
from selfai_pipeline.training.metrics import Vector, fit_probe, pearson
from selfai_pipeline.training.pairing import pairs_of
from selfai_pipeline.training.pixels import load_pixels
from selfai_pipeline.training.scorer import Scorer
from selfai_pipeline.training.settings import ComputeSettings, SiameseSettings

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


LEAST_SPREAD = 0.01
LEAST_RANK = 2.0
CHANCE = 0.95
PERMUTATIONS = 1000
LEAST_FACES = 30


@dataclass(frozen=True)
class EmbeddingCondition:
    """Whether a pre-trained embedding has collapsed, measured on validation faces.

    Attributes:
        spread: mean distance over the scale of the loss (its margin, or its temperature); 0 where all faces
            lie on one point.
        effective_rank: exp of the entropy of the normalised singular values of the centred embeddings (Roy,
            Vetterli 2007, EUSIPCO), 1 where they lie on a line, 0 on a point.
        probe_pearson: correlation of a linear probe, fitted on training faces; None where it is not defined.
        chance_pearson: what 95 % of probes reach at most whose scores are shuffled; 0 on fewer than 30 faces,
            where chance reaches so far that a sound embedding would be refused.
    """

    spread: float
    effective_rank: float
    probe_pearson: float | None
    chance_pearson: float

    @property
    def problems(self) -> list[str]:
        """What is wrong, each with its figure; empty for an embedding to go on from."""
        found = []
        if self.spread < LEAST_SPREAD:
            what = f"the mean distance is {self.spread:.1e} of the loss's margin or temperature"
            found.append(f"{what}, {LEAST_SPREAD} is the least")
        if self.effective_rank < LEAST_RANK:
            found.append(f"the effective rank is {self.effective_rank:.2f}, {LEAST_RANK} is the least")
        if self.probe_pearson is None:
            found.append("a linear probe reads the same score from every face")
        elif self.probe_pearson <= self.chance_pearson:
            found.append(
                f"a linear probe correlates at {self.probe_pearson:.3f}, shuffled scores reach "
                f"{self.chance_pearson:.3f}"
            )
        return found


def embedding_condition(ref: CheckpointRef, *, store: Store, compute: ComputeSettings) -> EmbeddingCondition:
    """Measure the embedding of a stored Siamese checkpoint on the label table that it was trained on.

    Raises:
        MissingVersion, AlteredVersion, InputError: the checkpoint or its label table cannot be used.
        UndefinedMetric: its embedding is not finite.
    """
    machine = Compute.from_settings(compute)
    checkpoint = load_checkpoint(ref, store=store)
    labels = store.tables.find("balanced_label_table", WHOLE, checkpoint.record["inputs"]["labels"])
    data = LabelledPixels.load(labels, store=store, framing=checkpoint.framing)
    # What a record of other code sets beyond today's settings has nothing to do with the measures.
    settings = checkpoint.record["settings"]
    known = {name: settings[name] for name in SiameseSettings.model_fields if name in settings}
    pairs = pairs_of(SiameseSettings(**known))
    feed = PixelFeed(data.pixels, device=machine.device)
    with machine.session():
        network = machine.place(checkpoint.network)
        train, validation = (embed_rows(network, rows, feed=feed) for rows in (data.train, data.validation))
        classes = torch.from_numpy(data.classes[data.validation]).to(validation.device)
        scores = torch.from_numpy(data.scores[data.validation]).float().to(validation.device)
        figures = pairs.figures(validation, network.distance_weights, classes=classes, scores=scores)
        weighted = as_vectors(validation * network.distance_weights)
    probe, chance = _probe(as_vectors(train), as_vectors(validation), data=data)
    return EmbeddingCondition(figures.mean_distance / pairs.scale, effective_rank(weighted), probe, chance)


def effective_rank(embeddings: Vector) -> float:
    """Of embeddings [n, d], see `EmbeddingCondition`."""
    values = np.linalg.svd(embeddings - embeddings.mean(axis=0), compute_uv=False)
    if values.sum() <= 1e-12 * np.abs(embeddings).max(initial=0.0):
        return 0.0
    share = values[values > 0] / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def _probe(train: Vector, validation: Vector, *, data: LabelledPixels) -> tuple[float | None, float]:
    """Correlation of a linear probe on the validation split, and that of chance."""
    predicted = fit_probe(train, data.scores[data.train])(validation)
    annotated = data.scores[data.validation]
    shuffles = PERMUTATIONS if len(annotated) >= LEAST_FACES else 0
    generator = np.random.default_rng(PROBE_SEED)
    try:
        shuffled = [pearson(predicted, generator.permutation(annotated)) for _ in range(shuffles)]
        return pearson(predicted, annotated), float(np.quantile(shuffled or [0.0], CHANCE))
    except UndefinedMetric:
        return None, 0.0


def validation_scores(
    scorer: CheckpointRef, labels: TableRef, *, store: Store, compute: ComputeSettings
) -> tuple[Vector, Vector]:
    """Predicted and annotated scores [n] of the validation split."""
    model = Scorer.load(scorer, store=store, compute=compute)
    table = store.tables.read(labels, ["score", "split"])
    rows = np.flatnonzero(np.array(table["split"].to_pylist(), dtype=str) == VALIDATION)
    pixels = load_pixels(labels, store=store, framing=model.framing)
    return model.score_framed(np.asarray(pixels[rows])), table["score"].to_numpy().astype(np.float64)[rows]
