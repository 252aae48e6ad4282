"""What each part of the method brings on real faces: the arms of `ablation_run`, seed by seed.

A folder of rated pictures goes through the data stages and the label table as in `rated_folder.py`: a fifth
of the pictures, by the hash of their names, is the test split, on which every arm and seed is measured once:

    python benchmarks/ablations.py FOLDER --scores scores.csv [--seeds 0 1 2] [--arms scratch siamese_net2net]

Arms of one seed run after another in one process and on one thread, and as many seeds at a time as there are
cores: seconds of two arms are those of the same machine under the same load. `--settings FILE` is YAML with
other settings of the stages, as in the section `ablation_run` of settings.yaml. What is finished is kept in
--home, and not done again; what was killed goes on from its last epoch. `--quick` takes 150 pictures through
small settings. Prints a row an arm and, as its last line, one JSON object.
"""

import argparse
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import rated_folder
import recipe

from selfai_pipeline.environment import usable_cores
from selfai_pipeline.evaluation.ablations.arms import ARMS, WHOLE_METHOD

QUICK: dict[str, dict[str, Any]] = {
    "siamese": recipe.QUICK["siamese"],
    "fine_tuning": recipe.QUICK["fine_tuning"],
    "evaluation": {"bootstrap_draws": 500},
}
# The wide arms take the shape that the whole method ended with, which is shared with the others.
ORDER = [WHOLE_METHOD, *(name for name in ARMS if name != WHOLE_METHOD)]


@dataclass(frozen=True)
class Task:
    home: Path
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: dict[str, Any]


def digits(value: float | None, count: int = 3) -> str:
    """A figure, or that there is none: constant scores correlate with nothing."""
    return "not defined" if value is None else f"{value:.{count}f}"


def outcomes_of(arm: str, task: Task) -> list[Any]:
    """The outcomes of an arm, one a seed: trained on one thread, or read where that was done before."""
    from selfai_pipeline.evaluation.ablations.runs import run_arm
    from selfai_pipeline.evaluation.ablations.settings import AblationSettings
    from selfai_pipeline.home import Home
    from selfai_pipeline.store import Store
    from selfai_pipeline.training.settings import ComputeSettings

    store = Store.open(Home.at(task.home))
    return run_arm(
        ARMS[arm],
        store.tables.snapshot("balanced_label_table").table,
        store=store,
        settings=AblationSettings(**{**task.settings, "seeds": list(task.seeds)}),
        compute=ComputeSettings(threads=1),
        report=lambda _: lambda *_: None,
        ended=lambda _: None,
    )


def run_arms(task: Task) -> None:
    """Train the arms one after another, and print what came of each."""
    for arm in task.arms:
        for one in outcomes_of(arm, task):
            found = one.reason or f"Pearson {digits(one.pearson, 4)}, {one.seconds:.0f} s"
            print(f"{arm}, seed {one.seed}: {found}", flush=True)


def compared(task: Task) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows and the facts of `ablation_report`; every run has ended and is read."""
    from selfai_pipeline.evaluation.ablations.comparison import compare_arms
    from selfai_pipeline.evaluation.ablations.outcome import write_outcomes
    from selfai_pipeline.evaluation.ablations.runs import facts_of
    from selfai_pipeline.evaluation.ablations.settings import AblationSettings, ComparisonSettings
    from selfai_pipeline.home import Home
    from selfai_pipeline.store import Store
    from selfai_pipeline.tables import Snapshot
    from selfai_pipeline.training.settings import ComputeSettings

    store = Store.open(Home.at(task.home))
    labels = store.tables.snapshot("balanced_label_table").table
    settings = AblationSettings(**{**task.settings, "seeds": list(task.seeds)})
    facts = facts_of(labels, settings, ComputeSettings(threads=1))
    refs = {
        arm: write_outcomes(outcomes_of(arm, task), arm=arm, store=store, facts=facts) for arm in task.arms
    }
    ref = compare_arms(
        Snapshot(refs), labels, store=store, settings=ComparisonSettings(evaluation=settings.evaluation)
    )
    rows = [row for row in store.tables.read(ref).to_pylist() if row["arm"] in task.arms]
    return rows, store.tables.facts(ref)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    rated_folder.add_folder_arguments(parser)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    options, settings = recipe.parsed(parser, quick=QUICK)
    arms = tuple(arm for arm in ORDER if arm in options.arms)
    with tempfile.TemporaryDirectory() as temporary:
        home = recipe.labelled_home(options, Path(temporary))
        every = Task(home, arms, tuple(options.seeds), settings)
        with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:
            tasks = [Task(home, arms, (seed,), every.settings) for seed in options.seeds]
            for finished in as_completed([pool.submit(run_arms, task) for task in tasks]):
                finished.result()
            rows, facts = pool.submit(compared, every).result()
    report(rows, facts, every)


def report(rows: list[dict[str, Any]], facts: dict[str, Any], task: Task) -> None:
    for row in rows:
        if not row["seeds"]:
            print(f"{row['title']:44} {row['reason']}")
            continue
        against = "" if row["difference"] is None else f", {row['difference']:+.3f}"
        if row["difference_low"] is not None:
            against += f" ({row['difference_low']:+.3f} to {row['difference_high']:+.3f})"
        reached = row["seconds_to_target"]
        print(
            f"{row['title']:44} {digits(row['pearson'])} ({digits(row['pearson_low'])} to "
            f"{digits(row['pearson_high'])})"
            f"{against}, {row['parameters'] / 1e6:.2f} M parameters, {row['seconds'] / 60:.1f} min, "
            f"{row['operations'] / 1e12:.0f} Tflop, to {facts['target_pearson']}: "
            f"{'not reached by all' if reached is None else f'{reached / 60:.1f} min'}"
        )
    kept = (
        "arm", "seeds", "pearson", "pearson_low", "pearson_high", "pearson_deviation", "difference",
        "difference_low", "difference_high", "mean_absolute_error", "network", "parameters", "steps",
        "seconds", "operations", "reached", "seconds_to_target", "operations_to_target", "reason",
    )  # fmt: skip
    print(
        json.dumps(
            {
                "arms": [{name: row[name] for name in kept} for row in rows],
                "facts": {name: facts[name] for name in facts if name != "training_size"},
                "more_data": facts["training_size"],
                "seeds": task.seeds,
                "settings": task.settings or "default",
                **recipe.measured_on(),
            }
        )
    )


if __name__ == "__main__":
    main()
