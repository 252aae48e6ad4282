"""A small evaluated world: painted faces whose brightness is their score, and a network fitted to them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import tiny_darknet, with_head
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, TableRef
from selfai_pipeline.training.augmentation import normalise
from selfai_pipeline.training.checkpoints import save_checkpoint
from selfai_pipeline.training.conformal import RECORD_KEY, Intervals, Level
from selfai_pipeline.training.metrics import fit_probe
from selfai_pipeline.training.settings import ComputeSettings, Device, Precision

SIDE = 32


@pytest.fixture
def compute() -> ComputeSettings:
    return ComputeSettings(device=Device.CPU, precision=Precision.FLOAT32, threads=1)


@pytest.fixture
def settings() -> EvaluationSettings:
    """Everything on, at the smallest useful size."""
    return EvaluationSettings(
        bootstrap_draws=300,
        occlusion_patch=0.5,
        occlusion_stride=0.25,
        occlusion_faces=2,
        occlusion_mean_faces=5,
        gallery_faces=4,
        gallery_side=48,
    )


def painted_face(score: float, seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """[48, 48, 3] RGB: noise around a brightness that follows the score, and two dark eyes."""
    generator = np.random.default_rng(seed)
    picture = generator.normal(40 + 18 * score, 12, (48, 48, 3))
    picture[16:22, 12:18] = picture[16:22, 30:36] = 10
    return np.clip(picture, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class World:
    """A store with a label table, and the chain of checkpoints Siamese -> widened -> scorer."""

    store: Store
    labels: TableRef
    scorer: CheckpointRef
    widened: CheckpointRef
    siamese: CheckpointRef


@pytest.fixture
def label_rows(store: Store) -> Callable[..., list[dict[str, Any]]]:
    """Rows of a label table whose crops are in the store."""

    def make(
        scores: Sequence[float],
        *,
        splits: Sequence[str] | None = None,
        groups: Sequence[str | None] | None = None,
        source: str = "sample-gallery",
        standard_error: float | None = 0.4,
    ) -> list[dict[str, Any]]:
        rows = []
        for number, score in enumerate(scores):
            _, crop = cv2.imencode(".png", painted_face(score, seed=number)[:, :, ::-1])
            split = splits[number] if splits else ("test", "train", "validation", "train")[number % 4]
            rows.append(
                {
                    "image_id": f"{number:064x}",
                    "face": 0,
                    "crop_sha256": store.crops.put(bytes(crop)),
                    "source": source,
                    "partition": "2026-01-01",
                    "score": float(score),
                    "standard_error": standard_error,
                    "mean_score": float(score),
                    "annotators": 5,
                    "class": int(np.floor(score + 0.5)),
                    "cluster": f"{number:064x}",
                    "split": split,
                    "weight": 0.0,
                    "group": groups[number] if groups else None,
                    "attributes": "{}",
                    "perceptual_hash": None,
                    "thumbnail": None,
                }
            )
        trained = [row for row in rows if row["split"] == "train"]
        for row in trained:
            row["weight"] = 1 / len(trained)
        return rows

    return make


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "home")


def write_labels(
    store: Store, rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any] | None = None
) -> TableRef:
    known = {"noise_ceiling": 0.95, "noise_ceiling_reason": "from the standard errors of every face"}
    return store.tables.write(rows, asset="balanced_label_table", facts=known if facts is None else facts)


def fitted_network(scores: Sequence[float]) -> Network:
    """An untrained trunk whose output layer is a ridge regression on faces painted for `scores`."""
    network = Network(with_head(tiny_darknet(0.25)), seed=1).eval()
    faces = np.stack(
        [cv2.resize(painted_face(score, seed=number), (SIDE, SIDE)) for number, score in enumerate(scores)]
    )
    with torch.no_grad():
        embeddings = network.embed(normalise(torch.from_numpy(faces))).double().numpy()
        probe = fit_probe(embeddings, np.array(scores, np.float64))
        assert network.head is not None
        network.head.weight.copy_(torch.from_numpy(probe.coefficients)[None])
        network.head.bias.fill_(probe.intercept)
    return network


INTERVALS = Intervals(
    18,
    (
        Level(0.5, 0.3),
        Level(0.8, 0.6),
        Level(0.9, 0.9),
        Level(0.95, None, "19 faces are needed, here are 18"),
    ),
)


def save_chain(
    store: Store, labels: TableRef, network: Network, *, intervals: Intervals | None = INTERVALS
) -> World:
    """The three checkpoints as training leaves them: records carry on what their parents did."""

    def save(asset: str, stage: Network, inputs: dict[str, str], **record: Any) -> CheckpointRef:
        return save_checkpoint(
            stage,
            asset=asset,
            record={
                "input_size": SIDE,
                "settings": {"seed": 0},
                "inputs": inputs,
                "metrics": {"best_epoch": 2},
                **record,
            },
            rows=10,
            store=store,
        )

    trunk = Network(tiny_darknet(0.25), seed=1)
    history = [
        {"epoch": e, "loss": 1 / e, "validation_loss": 1.2 / e, "probe_pearson": 0.1} for e in (1, 2, 3)
    ]
    growth = [{"epoch": 2, "operator": "wider conv13 1.25"}]
    siamese = save(
        "siamese_checkpoint",
        trunk,
        {"labels": labels.sha256},
        settings={"seed": 0, "pairing": "rank_n_contrast"},
        history=history,
        growth=growth,
    )
    widened = save(
        "widened_checkpoint",
        trunk,
        {"labels": labels.sha256, "parent": siamese.sha256},
        history=history,
        growth=growth,
    )
    scorer = save(
        "finetuned_scorer",
        network,
        {"labels": labels.sha256, "parent": widened.sha256},
        history=[{"epoch": e, "loss": 2 / e, "validation_pearson": 1 - 1 / e} for e in (1, 2)],
        growth=growth,
        **({} if intervals is None else {RECORD_KEY: intervals.to_dict()}),
    )
    return World(store, labels, scorer, widened, siamese)


@pytest.fixture
def make_world(store: Store, label_rows: Callable[..., list[dict[str, Any]]]) -> Callable[..., World]:
    """Faces of the given scores with a scorer fitted to them; further arguments as for `label_rows`."""

    def make(
        scores: Sequence[float],
        *,
        facts: Mapping[str, Any] | None = None,
        change: Callable[[Network], None] | None = None,
        intervals: Intervals | None = INTERVALS,
        **further: Any,
    ) -> World:
        labels = write_labels(store, label_rows(scores, **further), facts)
        network = fitted_network(scores)
        if change:
            with torch.no_grad():
                change(network)
        return save_chain(store, labels, network, intervals=intervals)

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """80 faces, a quarter of them in the test split, none in a group."""
    return make_world(np.random.default_rng(0).uniform(0.5, 8.5, 80).round(2).tolist())
