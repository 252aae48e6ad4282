"""A folder of rated pictures through the whole graph: Pearson with interval, seconds a stage, peak memory.

For published sets such as SCUT-FBP5500 (3,300 faces of its official training part) and the London faces:

    python benchmarks/rated_folder.py FOLDER --scores scores.csv --ratings ratings.csv --maximum 5 --minimum 1

A fifth of the pictures, by the SHA-256 of their names, is the test split, handed over in a `split` column as
a user would; the rest is split into training and validation by the pipeline. Everything runs through the
command line (`selfai import`, `selfai run`) in the `local` environment. With several --seeds everything from
pre-training on is done again with each of them. Killed, it goes on where it was when it is given the same
--home; seconds are then those of the last part, and `resumed` is true. `--quick` takes
150 pictures, taken evenly by name, through small settings. Prints a table and one JSON object a seed.
"""

import argparse
import csv
import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TEST_SHARE = 0.2
PICTURES = {".jpg", ".jpeg", ".png"}
NAME = "rated-folder"
DAY = "2026-01-01"
QUICK_PICTURES = 150
QUICK_SETTINGS: dict[str, dict[str, Any]] = {
    "siamese_checkpoint": {"input_size": 64, "width": 0.25, "epochs": 6, "batch_size": 32, "least_steps": 1},
    "finetuned_scorer": {"epochs": 6, "batch_size": 16},
    "evaluation_report": {"bootstrap_draws": 500, "occlusion_faces": 2, "occlusion_mean_faces": 2},
}
TRAINED = ("siamese_checkpoint", "widened_checkpoint", "finetuned_scorer")


def is_tested(name: str) -> bool:
    """Whether a picture is in the fixed fifth: its name alone decides."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64 < TEST_SHARE


def pictures_of(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in PICTURES)


def few_pictures(folder: Path, copy: Path) -> Path:
    """A folder with copies of some pictures, taken evenly by name."""
    copy.mkdir()
    every = pictures_of(folder)
    for picture in every[:: max(1, len(every) // QUICK_PICTURES)]:
        shutil.copyfile(picture, copy / picture.name)
    return copy


def rows_about(pictures: Path, table: Path, copy: Path) -> Path:
    """The rows of a CSV that are about pictures of a folder."""
    names = {picture.name for picture in pictures_of(pictures)}
    with table.open(newline="") as source, copy.open("w", newline="") as target:
        reader = csv.DictReader(source)
        writer = csv.DictWriter(target, reader.fieldnames or [])
        writer.writeheader()
        writer.writerows(row for row in reader if row["image"] in names)
    return copy


def write_pictures_file(folder: Path, path: Path, described: Path | None) -> None:
    """CSV of all pictures with their split, and with the columns that `described` has about them."""
    about: dict[str, dict[str, str]] = {}
    if described is not None:
        with described.open(newline="") as file:
            about = {row["image"]: row for row in csv.DictReader(file)}
    names = [picture.name for picture in pictures_of(folder)]
    columns = ["image", "split", *sorted({key for row in about.values() for key in row} - {"image", "split"})]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for name in names:
            side = "test" if is_tested(name) else "train"
            writer.writerow({**about.get(name, {}), "image": name, "split": side})


def run(arguments: list[str], environment: dict[str, str]) -> None:
    subprocess.run([str(Path(sys.executable).with_name("selfai")), *arguments], env=environment, check=True)


def stage_seconds(home: Path) -> dict[str, float]:
    """Seconds of each asset's last successful step, from Dagster's own event log."""
    import dagster as dg

    seconds: dict[str, float] = {}
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        for record in reversed(instance.get_run_records()):
            for step in instance.get_run_step_stats(record.dagster_run.run_id):
                if step.start_time and step.end_time and step.status and step.status.value == "SUCCESS":
                    seconds[step.step_key] = step.end_time - step.start_time
    return seconds


def rows_of(home: Path) -> dict[str, int]:
    """Rows (or pictures trained on) of each asset's current versions."""
    from selfai_pipeline.home import Home
    from selfai_pipeline.store import Store

    tables = Store.open(Home.at(home)).tables
    assets = tables.storage.list("tables")
    return {name: sum(ref.rows for ref in tables.snapshot(name).refs.values()) for name in assets}


def write_settings(home: Path, *, seed: int, quick: bool) -> None:
    settings = {asset: dict(values) for asset, values in QUICK_SETTINGS.items()} if quick else {}
    for asset in TRAINED:
        settings.setdefault(asset, {})["seed"] = seed
    (home / "settings.yaml").write_text(json.dumps(settings))


def seeds_of(home: Path) -> dict[str, int]:
    """Every seed in the recorded settings of the current versions."""
    from selfai_pipeline.home import Home
    from selfai_pipeline.store import Store

    tables = Store.open(Home.at(home)).tables
    records = {name: tables.current(name) for name in tables.storage.list("tables")}
    return {
        f"{name}.{key}": value
        for name, record in records.items()
        if record is not None
        for key, value in record.settings.items()
        if "seed" in key
    }


def evaluation_of(home: Path) -> dict[str, Any]:
    from selfai_pipeline.home import Home
    from selfai_pipeline.store import Store

    tables = Store.open(Home.at(home)).tables
    facts: dict[str, Any] = tables.facts(tables.snapshot("evaluation_report").table)
    return facts


def add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    """What says which pictures and ratings there are, and where to work."""
    parser.add_argument("folder", type=Path, help="the pictures")
    parser.add_argument("--scores", type=Path, help="CSV of mean scores")
    parser.add_argument("--ratings", type=Path, help="CSV of single ratings")
    parser.add_argument("--pictures", type=Path, help="CSV about the pictures (column image)")
    parser.add_argument("--minimum", default="1", help="lowest score of the scale")
    parser.add_argument("--maximum", default="5", help="highest score of the scale")
    parser.add_argument("--quick", action="store_true", help="150 pictures and small settings")
    parser.add_argument("--home", type=Path, help="where to work; default: a temporary folder")


def import_folder(options: argparse.Namespace, home: Path, temporary: Path) -> dict[str, str]:
    """Make the folder a source of `home`; returns the environment that `selfai` runs in there."""
    home.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "SELFAI_HOME": str(home), "SELFAI_ENV": "local"}
    environment["DAGSTER_HOME"] = str(home / "dagster")
    folder = few_pictures(options.folder, temporary / "few") if options.quick else options.folder
    pictures = temporary / "pictures.csv"
    write_pictures_file(folder, pictures, options.pictures)
    tables = {name: getattr(options, name) for name in ("scores", "ratings") if getattr(options, name)}
    if options.quick:
        tables = {name: rows_about(folder, table, temporary / table.name) for name, table in tables.items()}
    files = [f"--{name}={table}" for name, table in tables.items()]
    scale = [f"--minimum={options.minimum}", f"--maximum={options.maximum}"]
    about = [f"--pictures={pictures}", f"--name={NAME}", f"--day={DAY}"]
    run(["import", str(folder), *files, *scale, *about], environment)
    return environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_folder_arguments(parser)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], help="of everything from pre-training on"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = (options.home or Path(temporary) / "home").resolve()
        resumed = (home / "tables").exists()
        environment = import_folder(options, home, Path(temporary))
        found = []
        for seed in options.seeds:
            write_settings(home, seed=seed, quick=options.quick)
            started = time.perf_counter()
            run(["run"], environment)
            whole = time.perf_counter() - started
            found.append(report(home, whole, resumed=resumed))
        if len(found) > 1:
            mean = statistics.mean(found)
            print(f"seeds {options.seeds}: test Pearson {mean:.4f}, {min(found):.4f} to {max(found):.4f}")


def report(home: Path, whole: float, *, resumed: bool) -> float:
    """Print what the stages took and what came of it; returns the test Pearson."""
    seconds, rows, facts = stage_seconds(home), rows_of(home), evaluation_of(home)
    megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    stages = {}
    for asset, taken in seconds.items():
        if asset in rows:
            stages[asset] = {"seconds": round(taken, 1), "rows": rows[asset]}
            print(f"{asset:24} {taken:9.1f} s  {rows[asset]:7d} rows  {rows[asset] / taken:9.1f} a second")
    print(f"whole run {whole:.0f} s, peak memory of a process {megabytes:.0f} MB; {facts['headline']}")
    versions = {name: importlib.metadata.version(name) for name in ("torch", "dagster", "mlflow")}
    machine = (
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"
    )
    print(machine, versions)
    print(
        json.dumps(
            {
                "pearson": facts["pearson"],
                "noise_ceiling": facts["noise_ceiling"],
                "mean_absolute_error": facts["mean_absolute_error"],
                "test_faces": facts["faces"],
                "split_counts": facts["split_counts"],
                "stages": stages,
                "seconds": round(whole, 1),
                "peak_megabytes": round(megabytes),
                "seeds": seeds_of(home),
                "resumed": resumed,
                "machine": machine,
                "versions": versions,
            }
        )
    )
    return float(facts["pearson"]["value"])


if __name__ == "__main__":
    main()
