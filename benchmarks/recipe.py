"""What each part of the training recipe is worth, on faces that are neither trained on nor reported.

A folder of rated pictures goes through the data stages and the label table as in `rated_folder.py`: a fifth
of the pictures, by the hash of their names, is the test split, and nothing here reads it. What is printed is
the Pearson correlation on the validation split, a fifth of the rest, after the last epoch of fine-tuning: no
epoch is chosen by it. Each variant differs from the first in the settings it names, or leaves one thing out:

    python benchmarks/recipe.py FOLDER --scores scores.csv [--seeds 0 1] [--variants default "whole crop"]

Every variant and seed is a run with recovery points, one thread each, as many at a time as there are cores.
What is finished is kept in --home, and not done again. `--settings FILE` is YAML with settings of the stages
(`siamese`, `widening`, `fine_tuning`) that all variants start from in place of the defaults: at half the
width, for one, they take a third of the time. `--quick` takes 150 pictures through small settings. Prints a
row a variant and, as its last line, one JSON object.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import rated_folder
import yaml
from recipe_variants import VARIANTS, changed

from selfai_pipeline.environment import usable_cores

DATA_STAGES = ("DAILY", "LABELS")
QUICK: dict[str, dict[str, Any]] = {
    "siamese": {"input_size": 64, "width": 0.25, "epochs": 2},
    "fine_tuning": {"epochs": 2},
}


@dataclass(frozen=True)
class Task:
    home: Path
    name: str
    seed: int
    settings: dict[str, dict[str, Any]]


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
    given = task.settings
    pre_training = SiameseSettings(**given.get("siamese", {}) | variant.siamese, seed=task.seed)
    fine_tuning = FinetuneSettings(**given.get("fine_tuning", {}) | variant.fine_tuning, seed=task.seed)
    settings = (
        pre_training.model_copy(update={"epochs": round(variant.pre_trained * pre_training.epochs)}),
        WidenSettings(**given.get("widening", {}) | variant.widening, seed=task.seed),
        fine_tuning.model_copy(update={"epochs": round(variant.fine_tuned * fine_tuning.epochs)}),
    )
    store = Store.open(Home.at(task.home))
    labels = store.tables.snapshot("balanced_label_table").table
    code = [SIAMESE_CODE, WIDEN_CODE, FINETUNE_CODE]
    made_from = [labels.sha256, code, variant.change, *(one.model_dump(mode="json") for one in settings)]
    kept = task.home / "recipe.jsonl"
    if kept.exists():
        for line in kept.read_text().splitlines():
            found: dict[str, Any] = json.loads(line)
            if found["made_from"] == made_from:
                return found
    compute, started = ComputeSettings(threads=1), time.perf_counter()
    common: dict[str, Any] = {"store": store, "compute": compute}
    errors = store.tables.read(labels, ["standard_error"])["standard_error"].to_pylist()
    with changed(variant, errors=errors):
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


def parsed(
    parser: argparse.ArgumentParser, *, quick: dict[str, dict[str, Any]]
) -> tuple[argparse.Namespace, dict[str, dict[str, Any]]]:
    """The options, and the settings of the stages by section: those of --settings, `quick` with --quick."""
    parser.add_argument("--settings", type=Path, help="YAML with settings of the stages")
    options = parser.parse_args()
    given = yaml.safe_load(options.settings.read_text()) if options.settings else {}
    return options, {**(quick if options.quick else {}), **given}


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
    options, settings = parsed(parser, quick=QUICK)
    with tempfile.TemporaryDirectory() as temporary:
        home = labelled_home(options, Path(temporary))
        tasks = [Task(home, name, seed, settings) for seed in options.seeds for name in options.variants]
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
        report(rows, options.variants, settings)


def report(rows: list[dict[str, Any]], variants: list[str], settings: dict[str, Any]) -> None:
    """Print the mean over seeds of each variant, and how it differs from the first with the same seeds."""
    found = {
        name: {row["seed"]: row["validation_pearson"] for row in rows if row["variant"] == name}
        for name in variants
    }
    base = found[variants[0]]
    for name, by_seed in found.items():
        differences = [value - base[seed] for seed, value in by_seed.items()]
        print(
            f"{name:32} {statistics.mean(by_seed.values()):.4f} ({min(by_seed.values()):.4f} to "
            f"{max(by_seed.values()):.4f}), {statistics.mean(differences):+.4f} ({min(differences):+.4f} to "
            f"{max(differences):+.4f})"
        )
    print(json.dumps({"validation_pearson": found, "settings": settings, **measured_on()}))


if __name__ == "__main__":
    main()
