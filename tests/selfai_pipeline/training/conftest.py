"""A small label table of drawn discs whose score is what one sees: how large and how red the disc is."""

import hashlib

import cv2
import numpy as np
import pytest
import torch

from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef
from selfai_pipeline.training.settings import ComputeSettings, FinetuneSettings, SiameseSettings


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw_disc(score: float, generator: np.random.Generator, side: int = 40) -> np.ndarray:
    picture = np.full((side, side, 3), generator.integers(90, 130, 3), np.uint8)
    centre = tuple(int(value) for value in side // 2 + generator.integers(-3, 4, 2))
    red = int(60 + 20 * score)
    cv2.circle(picture, centre, int(3 + 1.4 * score), (red, 60, 60), -1, cv2.LINE_AA)
    noisy = picture + generator.normal(0, 6, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def write_labels(store: Store, pictures: list[np.ndarray], scores: np.ndarray, splits: list[str]) -> TableRef:
    classes = np.clip(np.round(scores), 0, 9).astype(int)
    train = [row for row, split in enumerate(splits) if split == "train"]
    count = {name: sum(classes[row] == name for row in train) for name in {classes[row] for row in train}}
    rows = []
    for row, picture in enumerate(pictures):
        png = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
        rows.append(
            {
                "image_id": hashlib.sha256(str(row).encode()).hexdigest(),
                "face": 0,
                "crop_sha256": store.crops.put(png),
                "source": "discs",
                "partition": "2026-01-01",
                "score": float(scores[row]),
                "standard_error": None,
                "mean_score": float(scores[row]),
                "annotators": 3,
                "class": int(classes[row]),
                "cluster": str(row),
                "split": splits[row],
                "weight": 1 / len(count) / count[classes[row]] if splits[row] == "train" else 0.0,
                "group": None,
                "attributes": "{}",
            }
        )
    return store.tables.write(rows, asset="balanced_label_table")


def disc_labels(store: Store, *, rows: int = 72, seed: int = 0) -> TableRef:
    """Two thirds train, one third validation; scores spread evenly over 0..9."""
    generator = np.random.default_rng(seed)
    scores = generator.permutation(np.linspace(0.2, 8.8, rows))
    pictures = [draw_disc(score, generator) for score in scores]
    splits = ["validation" if row % 3 == 0 else "train" for row in range(rows)]
    return write_labels(store, pictures, scores, splits)


@pytest.fixture
def labels(store: Store) -> TableRef:
    return disc_labels(store)


@pytest.fixture
def compute() -> ComputeSettings:
    return ComputeSettings(device="cpu", precision="float32", threads=1)


QUICK = {"input_size": 32, "width": 0.12, "batch_size": 12}


@pytest.fixture
def siamese_settings() -> SiameseSettings:
    """Grows twice in four epochs: no epoch counts as progress."""
    return SiameseSettings(
        **QUICK,
        epochs=4,
        least_steps=1,
        stall_patience=1,
        stall_tolerance=0.99,
        growth_plan=["wider conv15 1.5", "deeper conv13"],
    )


@pytest.fixture
def finetune_settings() -> FinetuneSettings:
    return FinetuneSettings(batch_size=12, least_steps=1, epochs=4)


def quiet(epoch, figures):
    """An epoch report that nobody reads."""
