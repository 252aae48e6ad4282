"""Training: pictures a second, against a loop written as pytorch/vision's reference, and on a fixed batch.

All train Tiny Darknet with its head on the same crops of rendered portraits, at 112 pixels in batches of 64,
with the same changes of each picture (rotation, scale, shift, mirror, brightness, contrast), a Huber loss and
AdamW:

- ours: an epoch of the trainer, as fine-tuning runs it, in the number format of this machine (and, beside it,
  in float32), with averaged weights;
- theirs: the crops read by a DataLoader whose workers stay, PIL, torchvision's transforms, float32, nn.ELU,
  as in references/classification/train.py, with the numbers of workers and threads that are fastest here;
- synthetic: our step again and again on one batch that is ready.

Epochs are taken in turns. Before that, torch's ELU is made as fast as it gets for all: on some processors it
takes six times as long until a hyperbolic tangent was computed once in each thread.

    python benchmarks/training.py [--quick]

Prints a table and, as its last line, one JSON object.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from prune import SEED, originals, pixels_of
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from selfai_pipeline.environment import usable_cores
from selfai_pipeline.labels.balance import classes_of
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import Convolution, GlobalAveragePool, MaxPool, tiny_darknet, with_head
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef
from selfai_pipeline.training.augmentation import augment
from selfai_pipeline.training.compute import Compute, freed_memory_kept
from selfai_pipeline.training.finetune_stage import FinetuneStage
from selfai_pipeline.training.labels import LabelledPixels
from selfai_pipeline.training.pixels import Framing
from selfai_pipeline.training.recovery import RecoveryPoint
from selfai_pipeline.training.settings import ComputeSettings, Device, FinetuneSettings, Precision
from selfai_pipeline.training.trainer import Trainer

SIZE = 112
BATCH = 64
CROP = 224
CHANGES = FinetuneSettings(batch_size=BATCH, epochs=1, least_steps=1, colour=0.0)


def labelled_crops(store: Store, folder: Path, n: int) -> TableRef:
    """A label table of crops in the store, which lie in `folder` as well; one in eight is for validation."""
    rows = []
    scores = np.random.default_rng(SEED).uniform(0, 9, n)
    for number, (content, score) in enumerate(zip(originals(None, n), scores, strict=True)):
        picture = pixels_of(content)
        side = min(picture.shape[:2])
        crop = cv2.resize(picture[:side, :side], (CROP, CROP), interpolation=cv2.INTER_AREA)
        encoded = bytes(cv2.imencode(".png", crop)[1])
        (folder / f"{number}.png").write_bytes(encoded)
        rows.append(
            {
                "image_id": f"{number:064x}",
                "face": 0,
                "crop_sha256": store.crops.put(encoded),
                "source": "rendered",
                "partition": "2026-01-01",
                "score": score,
                "standard_error": None,
                "mean_score": score,
                "annotators": 2,
                "class": int(classes_of(np.array([score]))[0]),
                "cluster": f"{number:064x}",
                "split": "train" if number % 8 else "validation",
                "weight": float(number % 8 > 0),
                "group": None,
                "attributes": "{}",
                "perceptual_hash": None,
                "thumbnail": None,
            }
        )
    return store.tables.write(rows, asset="balanced_label_table")


def trainer_of(data: LabelledPixels, store: Store, precision: Precision, seed: int) -> Trainer:
    settings = CHANGES.model_copy(update={"seed": seed})
    compute = Compute.from_settings(ComputeSettings(device=Device.CPU, precision=precision))
    run = {"asset": "benchmark", "seed": seed, "precision": precision.value}
    recovery = RecoveryPoint.of(run, store=store)
    stage = FinetuneStage(data, settings, compute)
    return Trainer(
        stage,
        data,
        settings,
        settings,
        compute,
        recovery,
        lambda *_: None,
        averaging=settings.averaging,
    )


def ours(trainer: Trainer) -> float:
    """Pictures a second of an epoch's steps."""
    found: list[float] = []
    reporting = replace(trainer, report=lambda _, figures: found.append(figures["pictures_per_second"]))
    with trainer.compute.session():
        reporting.fit(lambda: Network(with_head(tiny_darknet()), seed=1))
    return found[0]


def synthetic(trainer: Trainer, steps: int) -> float:
    """The same steps on one batch that is ready."""
    rows = torch.from_numpy(trainer.data.train[:BATCH])
    generator = torch.Generator().manual_seed(0)
    with trainer.compute.session(), freed_memory_kept():
        pictures = augment(trainer.stage.feed(rows), settings=trainer.augmentation, generator=generator)
        state = trainer._begin(Network(with_head(tiny_darknet()), seed=1))
        state.network.train()
        started = time.perf_counter()
        for step in range(steps):
            trainer._step(state, pictures, rows, step=step)
        return steps * BATCH / (time.perf_counter() - started)


class Faces(Dataset[tuple[Tensor, float]]):
    """Crops from files, opened by PIL and changed by torchvision."""

    def __init__(self, folder: Path, scores: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> None:
        self.folder, self.scores, self.rows = folder, scores, rows
        scale = (1 - CHANGES.scale, 1 + CHANGES.scale)
        self.change = transforms.Compose(
            [
                transforms.Resize(SIZE),
                transforms.RandomAffine(CHANGES.rotation, (CHANGES.shift, CHANGES.shift), scale),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(CHANGES.brightness, CHANGES.contrast),
                transforms.PILToTensor(),
                transforms.ConvertImageDtype(torch.float),
                transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
            ]
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> tuple[Tensor, float]:
        row = self.rows[number]
        with Image.open(self.folder / f"{row}.png") as picture:
            return self.change(picture.convert("RGB")), float(self.scores[row])


def plain_network() -> nn.Module:
    """Tiny Darknet with a head from torch's own modules."""
    layers: list[nn.Module] = []
    channels = 3
    for stage in tiny_darknet():
        if isinstance(stage, Convolution):
            convolution = nn.Conv2d(channels, stage.channels, stage.kernel, padding=stage.kernel // 2)
            layers += [convolution, nn.ELU()]
            channels = stage.channels
        elif isinstance(stage, MaxPool):
            layers.append(nn.MaxPool2d(stage.size))
        elif isinstance(stage, GlobalAveragePool):
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(CHANGES.dropout), nn.Linear(channels, 1))


def reference(dataset: Faces, *, workers: int, threads: int) -> Iterator[float]:
    """Pictures a second, an epoch after the other, with workers that stay."""
    model = plain_network()
    criterion = nn.HuberLoss(delta=CHANGES.huber_delta)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=CHANGES.weight_decay)
    loader = DataLoader(
        dataset,
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=True,
        generator=torch.Generator().manual_seed(0),
    )
    for _ in loader:
        # Workers are started, and the files are in the cache of the system.
        pass
    while True:
        torch.set_num_threads(threads)
        model.train()
        started = time.perf_counter()
        for image, target in loader:
            output = model(image)
            loss = criterion(output.squeeze(1), target.float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield len(dataset) // BATCH * BATCH / (time.perf_counter() - started)


def wake_elu() -> None:
    """See the text of this file."""
    for dtype in (torch.bfloat16, torch.float32):
        torch.tanh(torch.zeros(1 << 22, dtype=dtype))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="160 pictures and one round, in place of 1,200 and five"
    )
    options = parser.parse_args()
    n, rounds = (160, 1) if options.quick else (1200, 5)
    cores = usable_cores()
    torch.set_num_threads(cores)
    wake_elu()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "crops"
        folder.mkdir()
        store = Store.open(Path(temporary) / "home")
        labels = labelled_crops(store, folder, n)
        data = LabelledPixels.load(labels, store=store, framing=Framing(SIZE))
        dataset = Faces(folder, data.scores, data.train)
        choices = [(workers, threads) for workers in {1, cores} for threads in {1, cores}]
        tried = {choice: reference(dataset, workers=choice[0], threads=choice[1]) for choice in choices}
        first = {choice: next(epochs) for choice, epochs in tried.items()}
        best = max(first, key=lambda choice: first[choice])
        speeds: dict[str, list[float]] = {"ours": [], "ours in float32": [], "theirs": [], "synthetic": []}
        for number in range(rounds):
            turns: dict[str, Callable[[], float]] = {
                "ours": lambda number=number: ours(trainer_of(data, store, Precision.AUTO, number)),
                "theirs": lambda: next(tried[best]),
                "synthetic": lambda: synthetic(
                    trainer_of(data, store, Precision.AUTO, 0), len(data.train) // BATCH
                ),
                "ours in float32": lambda number=number: ours(
                    trainer_of(data, store, Precision.FLOAT32, number)
                ),
            }
            for name, turn in turns.items():
                torch.set_num_threads(cores)
                speeds[name].append(turn())
    middle = {name: statistics.median(found) for name, found in speeds.items()}

    def ratio(name: str, other: str) -> float:
        pairs = zip(speeds[name], speeds[other], strict=True)
        return round(statistics.median(one / two for one, two in pairs), 3)

    print(f"{n} pictures, batches of {BATCH} at {SIZE} pixels, {rounds} epochs each, in turns")
    for name, speed in middle.items():
        print(f"{name:20}{speed:9.1f} pictures/s")
    print(f"theirs with {best[0]} workers and {best[1]} threads; other choices: {first}")
    libraries = ("torch", "torchvision", "Pillow", "opencv-python-headless")
    print(
        json.dumps(
            {
                "vs_reference_loop": ratio("ours", "theirs"),
                "vs_reference_loop_in_float32": ratio("ours in float32", "theirs"),
                "vs_synthetic": ratio("ours", "synthetic"),
                "pictures_per_s": round(middle["ours"], 1),
                "n": n,
                "rounds": rounds,
                "seeds": [SEED],
                "precision": Compute.from_settings(ComputeSettings(device=Device.CPU)).environment[
                    "precision"
                ],
                "hardware": f"{platform.machine()}, {cores} cores, load {os.getloadavg()[0]:.1f}",
                "versions": {name: importlib.metadata.version(name) for name in libraries},
            }
        )
    )


if __name__ == "__main__":
    main()
