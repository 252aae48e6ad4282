"""A small world to promote in: grey faces whose brightness is their score, networks fitted to them, a real
MLflow.

Nothing is trained: the output of an untrained trunk is a ridge regression on its embeddings, worse the fewer
faces it is fitted to.
"""

import copy
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from selfai_pipeline.evaluation.report import evaluate
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.home import Home
from selfai_pipeline.lineage.promotions import Champion, read_promotions
from selfai_pipeline.lineage.registry import (
    CHECKPOINT_TAG,
    EXPERIMENT,
    MODEL,
    RegisteredVersion,
    Registry,
    read_registry,
    tracking_uri,
)
from selfai_pipeline.networks.net2net import deepen
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import tiny_darknet, with_head
from selfai_pipeline.release.champion import (
    Move,
    by_hand,
    opponent_now,
    promote,
    rollback,
)
from selfai_pipeline.release.comparison import Comparison
from selfai_pipeline.release.decision import Decision
from selfai_pipeline.release.examination import examine
from selfai_pipeline.release.model_registry import ModelRegistry, reference
from selfai_pipeline.release.settings import PromotionSettings, ReleaseSettings
from selfai_pipeline.schemas import TABLES
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef, Record, TableRef
from selfai_pipeline.training.augmentation import normalise
from selfai_pipeline.training.checkpoints import checkpoint_files, save_checkpoint
from selfai_pipeline.training.conformal import RECORD_KEY
from selfai_pipeline.training.metrics import fit_probe
from selfai_pipeline.training.settings import ComputeSettings, Device, Precision

SIDE = 32
PER_SPLIT = {"train": 60, "validation": 20, "test": 60}
INTERVALS = {"faces": 20, "levels": [{"coverage": 0.9, "half_width": 1.5, "reason": ""}]}


def grey_face(number: int, score: float) -> np.ndarray:
    """[32, 32, 3] RGB: noise around a brightness that follows the score."""
    noise = np.random.default_rng(number).normal(40 + 18 * score, 25, (SIDE, SIDE, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


def score_of(number: int) -> float:
    return float(np.random.default_rng(number + 10_000).uniform(0.5, 8.5))


@dataclass
class World:
    """A store with label tables and scorers, and an MLflow beside it that has some of them as versions.

    `removed` are the hashes of checkpoints with removed data in them.
    """

    store: Store
    client: MlflowClient
    removed: set[str] = field(default_factory=set)
    settings: PromotionSettings = field(
        default_factory=lambda: PromotionSettings(bootstrap_draws=400, least_faces=10, subgroup_least_faces=8)
    )
    release: ReleaseSettings = field(
        default_factory=lambda: ReleaseSettings(parity_faces=8, parity_random=4, batch_size=5)
    )
    compute: ComputeSettings = field(
        default_factory=lambda: ComputeSettings(device=Device.CPU, precision=Precision.FLOAT32, threads=1)
    )

    @property
    def home(self) -> Home:
        return self.store.home

    @property
    def registry(self) -> ModelRegistry:
        return ModelRegistry(self.client)

    @property
    def known(self) -> Registry:
        return read_registry(self.home)

    def removed_inputs(self, _: Store, checkpoint: CheckpointRef) -> Sequence[object]:
        return [f"picture of {checkpoint.sha256[:6]}"] if checkpoint.sha256 in self.removed else []

    def crawl(self, *sources: tuple[str, str, str]) -> TableRef:
        """One stored picture a source: its name, the address, its licence."""
        rows = [
            {
                **dict.fromkeys(TABLES["raw_crawl"].names),
                "image_id": f"{number:064x}",
                "url": url,
                "source": name,
                "status": "stored",
                "licence": licence or None,
                "attributes": "{}",
                "fetched_at": datetime(2026, 1, 1, tzinfo=UTC),
            }
            for number, (name, url, licence) in enumerate(sources)
        ]
        ref = self.store.tables.write(rows, asset="raw_crawl", partition="2026-01-01")
        self.store.tables.point(Record(ref, "1", {}, {}))
        return ref

    def label(
        self,
        splits: Mapping[str, int] | None = None,
        *,
        group: Callable[[int], str | None] = lambda number: None,
        moved: Sequence[int] = (),
        cluster: Callable[[int], str] = str,
        first: int = 0,
    ) -> TableRef:
        """A label table, made current: so many faces a split, numbered from `first`.

        Args:
            moved: numbers of faces that are in the test split, wherever they would have been.
        """
        rows = []
        number = first
        for split, faces in (splits or PER_SPLIT).items():
            for _ in range(faces):
                score = score_of(number)
                png = cv2.imencode(".png", grey_face(number, score)[..., ::-1])[1].tobytes()
                rows.append(
                    {
                        "image_id": f"{number:064x}",
                        "face": 0,
                        "crop_sha256": self.store.crops.put(png),
                        "source": "mine",
                        "partition": "2026-01-01",
                        "score": score,
                        "standard_error": 0.4,
                        "mean_score": score,
                        "annotators": 5,
                        "class": round(score),
                        "cluster": cluster(number),
                        "split": "test" if number in moved else split,
                        "weight": 0.0,
                        "group": group(number),
                        "attributes": "{}",
                        "perceptual_hash": None,
                        "thumbnail": None,
                    }
                )
                number += 1
        facts = {"annotators": 3, "ratings": 300, "means": 0, "counts": dict(splits or PER_SPLIT)}
        ref = self.store.tables.write(
            rows, asset="balanced_label_table", facts={**facts, "noise_ceiling": 0.97}
        )
        crawled = self.store.tables.current("raw_crawl", "2026-01-01")
        inputs = {"raw_crawl": {"2026-01-01": crawled.ref.sha256}} if crawled else {}
        self.store.tables.point(Record(ref, "1", {}, inputs))
        return ref

    @property
    def labels(self) -> TableRef:
        record = self.store.tables.current("balanced_label_table")
        assert record is not None
        assert isinstance(record.ref, TableRef)
        return record.ref

    def scorer(
        self, *, fitted_to: int = 60, change: Callable[[Network], None] | None = None
    ) -> CheckpointRef:
        """A chain of checkpoints on the current labels, made current; the better the more it is fitted to."""
        network = copy.deepcopy(fitted(fitted_to))
        if change:
            with torch.no_grad():
                change(network)
        parent: CheckpointRef | None = None
        trunk = Network(network.stages[:-1], seed=1)
        for asset, stage in (
            ("siamese_checkpoint", trunk),
            ("widened_checkpoint", trunk),
            ("finetuned_scorer", network),
        ):
            inputs = {"labels": self.labels.sha256} | ({"parent": parent.sha256} if parent else {})
            parent = save_checkpoint(
                stage,
                asset=asset,
                record={
                    "input_size": SIDE,
                    "framing": 0.75,
                    "settings": {"seed": 0, "fitted_to": fitted_to},
                    "inputs": inputs,
                    "metrics": {"parameters": network.parameter_count},
                    "history": [] if asset == "widened_checkpoint" else [{"epoch": 1, "loss": 1.0}],
                    "growth": [{"epoch": 1, "operator": "deeper conv13"}],
                    **({RECORD_KEY: INTERVALS} if stage is network else {}),
                },
                rows=60,
                store=self.store,
            )
        assert parent is not None
        self.store.tables.point(
            Record(parent, "1", {}, {"balanced_label_table": {WHOLE: self.labels.sha256}})
        )
        return parent

    def evaluate(self, scorer: CheckpointRef) -> TableRef:
        ref = evaluate(
            scorer,
            self.labels,
            store=self.store,
            settings=EvaluationSettings(bootstrap_draws=200, subgroup_least_faces=8),
            compute=self.compute,
        )
        inputs = {
            "finetuned_scorer": {WHOLE: scorer.sha256},
            "balanced_label_table": {WHOLE: self.labels.sha256},
        }
        self.store.tables.point(Record(ref, "1", {}, inputs))
        return ref

    def register(self, scorer: CheckpointRef) -> RegisteredVersion:
        """A version of the registered model with a copy of the checkpoint, as training registers it."""
        client = self.client
        experiment = client.get_experiment_by_name(EXPERIMENT)
        number = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
        run = client.create_run(number, start_time=int(time.time() * 1000))
        folder = self.home.mlflow / "copies" / scorer.sha256
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in checkpoint_files(scorer, store=self.store).items():
            (folder / name).write_bytes(content)
        if not client.search_registered_models():
            client.create_registered_model(MODEL)
        made = client.create_model_version(
            MODEL, folder.as_uri(), run.info.run_id, tags={CHECKPOINT_TAG: scorer.sha256}
        )
        client.set_registered_model_alias(MODEL, "candidate", made.version)
        return self.registry.find(int(made.version))

    def candidate(self, *, evaluated: bool = False, **how: Any) -> RegisteredVersion:
        """A scorer that is registered, and evaluated where a test reads that."""
        scorer = self.scorer(**how)
        if evaluated:
            self.evaluate(scorer)
        return self.register(scorer)

    def examine(self, version: RegisteredVersion) -> tuple[Comparison, Decision]:
        return examine(
            reference(version),
            opponent_now(version, registry=self.registry, store=self.store),
            self.labels,
            store=self.store,
            settings=self.settings,
            compute=self.compute,
            removed_inputs=self.removed_inputs,
        )

    def promote(self, version: RegisteredVersion, move: Move | None = None, **how: Any) -> Any:
        comparison, decision = self.examine(version)
        return promote(
            version,
            comparison=comparison,
            decision=decision,
            move=move or by_hand("a test wants it", store=self.store, by="ann", **how),
            registry=self.registry,
            store=self.store,
            removed_inputs=self.removed_inputs,
        )

    def rollback(self, reason: str = "it was wrong") -> Any:
        return rollback(
            move=by_hand(reason, store=self.store, by="ann"),
            registry=self.registry,
            store=self.store,
            removed_inputs=self.removed_inputs,
        )

    @property
    def alias(self) -> int | None:
        return self.registry.alias("champion")

    @property
    def log(self) -> Any:
        return read_promotions(self.store)


@cache
def fitted(faces: int) -> Network:
    """An untrained trunk with an inserted layer; its output is a ridge regression on so many faces."""
    trunk = deepen(Network(tiny_darknet(0.25), seed=1), "conv13").network
    network = Network(with_head(trunk.stages, mirrored=True), seed=1).eval()
    network.load_state_dict(trunk.state_dict(), strict=False)
    scores = [score_of(number) for number in range(faces)]
    pixels = np.stack([grey_face(number, score) for number, score in enumerate(scores)])
    with torch.no_grad():
        embeddings = network.embed(normalise(torch.from_numpy(pixels))).double().numpy()
        probe = fit_probe(embeddings, np.array(scores, np.float64))
        assert network.head is not None
        network.head.weight.copy_(torch.from_numpy(probe.coefficients)[None])
        network.head.bias.fill_(probe.intercept)
    return network


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The home that every world begins as a copy of: to write its crops again for each takes longer."""
    home = Home.at(tmp_path_factory.mktemp("release") / "home").create()
    client = MlflowClient(tracking_uri(home))
    client.search_experiments(max_results=1)
    world = World(Store.open(home), client)
    world.crawl(
        ("sample-gallery", "http://127.0.0.1:8650/a.png", ""), ("mine", "https://one.example/b.png", "CC0")
    )
    world.label()
    return home


@pytest.fixture(scope="session")
def mlflow_client(template: Home) -> MlflowClient:
    """One for all tests: to open a database of MLflow takes longer than most of them."""
    return MlflowClient(tracking_uri(template))


@pytest.fixture
def world(home: Home, template: Home, mlflow_client: MlflowClient) -> World:
    """Labels, and nothing that was trained on them; nothing is registered."""
    shutil.copytree(template.root, home.root, dirs_exist_ok=True, ignore=lambda *_: {"mlflow"})
    home.mlflow.rmdir()
    home.mlflow.symlink_to(template.mlflow)
    for model in mlflow_client.search_registered_models():
        mlflow_client.delete_registered_model(model.name)
    return World(Store.open(home), mlflow_client)


@pytest.fixture
def champion_of() -> Callable[[RegisteredVersion], Champion]:
    return lambda version: Champion(version.version, version.checkpoint_sha256)


@pytest.fixture
def read_json() -> Callable[[bytes], Any]:
    return json.loads


@pytest.fixture
def champion(world):
    version = world.candidate(evaluated=True)
    world.promote(version)
    return version
