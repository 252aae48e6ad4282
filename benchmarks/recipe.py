"""What each part of the training recipe is worth, on faces that are neither trained on nor reported.

A folder of rated pictures goes through the data stages and the label table as in `rated_folder.py`: a fifth
of the pictures, by the hash of their names, is the test split, and nothing here reads it. What is printed is
the Pearson correlation on the validation split, a fifth of the rest, after the last epoch of fine-tuning: no
epoch is chosen by it. Each variant differs from the first in the settings it names, or leaves one thing out:

    python benchmarks/recipe.py FOLDER --scores scores.csv [--seeds 0 1] [--variants default "whole crop"]

Every variant and seed is a run with recovery points, one thread each, as many at a time as there are cores.
What is finished is kept in --home, and not done again. `--width` pre-trains all of them at another width than
the default: at half of it they take a third of the time. `--quick` takes 150 pictures through small settings.
Prints a row a variant and, as its last line, one JSON object.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import rated_folder

from selfai_pipeline.environment import usable_cores

DATA_STAGES = ("DAILY", "LABELS")
QUICK: dict[str, dict[str, Any]] = {
    "siamese": {"input_size": 64, "width": 0.25, "epochs": 2},
    "fine_tuning": {"epochs": 2},
}


@dataclass(frozen=True)
class Variant:
    """Settings by stage; `without` names a part of the recipe that has no setting of its own."""

    siamese: dict[str, Any] = field(default_factory=dict)
    widening: dict[str, Any] = field(default_factory=dict)
    fine_tuning: dict[str, Any] = field(default_factory=dict)
    without: str = ""


VARIANTS = {
    "default": Variant(),
    "whole crop": Variant({"framing": 1.0}),
    "not standardised": Variant(without="standardised start"),
    "class first": Variant({"balance_power": 1.0}, fine_tuning={"balance_power": 1.0}),
    "all faces alike": Variant({"balance_power": 0.0}, fine_tuning={"balance_power": 0.0}),
    "one view": Variant(fine_tuning={"mirrored": False}),
    "far classes": Variant({"pairing": "far_classes"}),
    "growing margin": Variant({"pairing": "growing_margin"}),
    "far classes for 20 epochs": Variant({"pairing": "far_classes", "epochs": 20}),
    "growing margin for 40 epochs": Variant({"pairing": "growing_margin", "epochs": 40}),
    "a third of the pre-training": Variant({"epochs": 20}),
    "two thirds of the pre-training": Variant({"epochs": 40}),
    "more pre-training": Variant({"epochs": 100}),
    "half the fine-tuning": Variant(fine_tuning={"epochs": 20}),
    "more fine-tuning": Variant(fine_tuning={"epochs": 80}),
    "growth after two epochs": Variant({"stall_patience": 2}),
    "no growth": Variant({"growth_plan": []}),
    "larger pictures": Variant({"input_size": 160}),
    "batches of 64": Variant({"batch_size": 64}, fine_tuning={"batch_size": 64}),
    "less decay": Variant({"weight_decay": 0.01}, fine_tuning={"weight_decay": 0.01}),
    "trunk at the full rate": Variant(fine_tuning={"trunk_rate": 1.0}),
    "no averaging": Variant(fine_tuning={"averaging": 0.0}),
    "head from the mean": Variant(fine_tuning={"head_start": "mean"}),
    "half as wide": Variant({"width": 0.5}),
}


@dataclass(frozen=True)
class Task:
    home: Path
    name: str
    seed: int
    quick: bool
    width: float | None


@contextmanager
def leaving_out(part: str) -> Iterator[None]:
    """Without a part of the recipe that no setting turns off.

    Other code has recovery points of its own: by settings alone it would go on from those of the default,
    and end as that did.
    """
    if part == "standardised start":
        stage, beginning = (f"selfai_pipeline.training.{name}" for name in ("siamese_stage", "beginning"))
        with mock.patch(f"{stage}.SIAMESE_CODE", part), mock.patch(f"{beginning}.standardise"):
            yield
        return
    assert not part, part
    yield


def run_variant(task: Task) -> dict[str, Any]:
    """Train a variant with a seed on one thread, or read what came of it before."""
    from selfai_pipeline.home import Home
    from selfai_pipeline.store import Store
    from selfai_pipeline.training.checkpoints import load_record
    from selfai_pipeline.training.finetune_stage import finetune_scorer
    from selfai_pipeline.training.settings import (
        FINETUNE_CODE,
        SIAMESE_CODE,
        WIDEN_CODE,
        ComputeSettings,
        FinetuneSettings,
        SiameseSettings,
        WidenSettings,
    )
    from selfai_pipeline.training.siamese_stage import pretrain_siamese
    from selfai_pipeline.training.widen_stage import widen_checkpoint

    variant = VARIANTS[task.name]
    small = QUICK if task.quick else {}
    width = {} if task.width is None else {"width": task.width}
    settings = (
        SiameseSettings(**small.get("siamese", {}) | width | variant.siamese, seed=task.seed),
        WidenSettings(**variant.widening, seed=task.seed),
        FinetuneSettings(**small.get("fine_tuning", {}) | variant.fine_tuning, seed=task.seed),
    )
    store = Store.open(Home.at(task.home))
    labels = store.tables.snapshot("balanced_label_table").table
    code = [SIAMESE_CODE, WIDEN_CODE, FINETUNE_CODE]
    made_from = [labels.sha256, code, variant.without, *(one.model_dump(mode="json") for one in settings)]
    kept = task.home / "recipe.jsonl"
    if kept.exists():
        for line in kept.read_text().splitlines():
            found: dict[str, Any] = json.loads(line)
            if found["made_from"] == made_from:
                return found
    compute, started = ComputeSettings(threads=1), time.perf_counter()
    common: dict[str, Any] = {"store": store, "compute": compute}
    with leaving_out(variant.without):
        siamese = pretrain_siamese(labels, settings=settings[0], report=lambda *_: None, **common)
    widened = widen_checkpoint(siamese, settings=settings[1], **common)
    scorer = finetune_scorer(widened, labels, settings=settings[2], report=lambda *_: None, **common)
    before, after = (load_record(ref, store=store) for ref in (siamese, scorer))
    row = {
        "variant": task.name,
        "seed": task.seed,
        "validation_pearson": after["history"][-1]["validation_pearson"],
        "probe_pearson": before["history"][-1].get("probe_pearson"),
        "parameters": after["metrics"]["parameters"],
        "seconds": time.perf_counter() - started,
        "made_from": made_from,
    }
    with kept.open("a") as file:
        file.write(json.dumps(row) + "\n")
    return row


def make_labels(options: argparse.Namespace, home: Path, temporary: Path) -> None:
    """The folder as a source, and the graph up to the label table."""
    os.environ.update(rated_folder.import_folder(options, home, temporary))
    # The definitions read the environment when they are imported.
    import dagster as dg

    import assets.graph as graph
    from selfai_pipeline.definitions import defs

    job = defs.resolve_implicit_global_asset_job_def()
    day = {f"dagster/asset_partition_range_{end}": rated_folder.DAY for end in ("start", "end")}
    with dg.DagsterInstance.get() as instance:
        for group, tags in zip(DATA_STAGES, (day, {}), strict=True):
            keys = [asset.key for asset in getattr(graph, group)]
            job.execute_in_process(instance=instance, asset_selection=keys, tags=tags)


def labelled_home(options: argparse.Namespace, temporary: Path) -> Path:
    """The home to work in, with the label table, which is made once; the environment is set for it."""
    home: Path = (options.home or temporary / "home").resolve()
    if not (home / "tables" / "balanced_label_table").exists():
        make_labels(options, home, temporary)
    os.environ.update(SELFAI_HOME=str(home), SELFAI_ENV="local", OMP_NUM_THREADS="1")
    return home


def measured_on() -> dict[str, Any]:
    """What a figure is printed with: `machine` and `versions`."""
    return {
        "machine": f"{platform.machine()}, {usable_cores()} cores, a thread a process, Python "
        f"{platform.python_version()}",
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "dagster")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    rated_folder.add_folder_arguments(parser)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--width", type=float, help="width of pre-training; the default recipe's if left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = labelled_home(options, Path(temporary))
        tasks = [
            Task(home, name, seed, options.quick, options.width)
            for seed in options.seeds
            for name in options.variants
        ]
        rows: list[dict[str, Any]] = []
        with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:
            for finished in as_completed([pool.submit(run_variant, task) for task in tasks]):
                rows.append(finished.result())
                row = rows[-1]
                print(
                    f"{row['variant']:32} seed {row['seed']}: {row['validation_pearson']:.4f} (probe "
                    f"{row['probe_pearson'] or float('nan'):.3f}), {row['seconds']:.0f} s",
                    flush=True,
                )
        report(rows, options)


def report(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    means = {
        name: statistics.mean(row["validation_pearson"] for row in rows if row["variant"] == name)
        for name in options.variants
    }
    for name, mean in means.items():
        print(f"{name:32} {mean:.4f}")
    print(
        json.dumps(
            {
                "validation_pearson": {name: round(mean, 4) for name, mean in means.items()},
                "seeds": sorted({row["seed"] for row in rows}),
                "width": options.width or "default",
                **measured_on(),
            }
        )
    )


if __name__ == "__main__":
    main()
