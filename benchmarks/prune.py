"""Pruning against CleanVision and imagededup: pictures a second, and what each of them finds, in one run.

Originals are portraits of the sample gallery, rendered from seeds that no threshold was chosen on, or files
of --pictures FOLDER. They make three folders:

- `day`, for speed: every original, and a copy of every tenth;
- `copies`, for precision and recall: a part of the originals with nine copies each: encoded again, halved,
  cropped twice, brighter, darker, mirrored, captioned over and below;
- `defects`, for what is named: the originals, half of them with one defect each.

Each contestant runs from files on disk to decisions, all cores, in turns, each round in new processes whose
imports are not counted:

- Selfai, the day as `pruned_set` makes it: bytes checked against their names, everything decoded, measured
  and hashed, near-duplicates found and verified, the table written;
- CleanVision with its nine default issue types (its near-duplicates among them), a process a core;
- imagededup with each of its hashes, a process a core: it finds duplicates only;
- imagededup's CNN, of which only encoding is timed: its network with random weights in place of those that it
  would load from a hub.

So Selfai does the work of both.

    make rivals
    python benchmarks/prune.py [--quick] [--pictures FOLDER]

Prints tables and, as its last line, one JSON object: `vs_cleanvision` and `vs_imagededup` (their seconds over
ours; of imagededup the fastest hash at its default distance of 10), `vs_imagededup_cnn`, `cpu_ratios` (CPU
seconds over ours, which other work on the machine disturbs less), `precision` and `recall` of duplicate
pairs, and with them n, seeds, hardware, versions and the rest.
"""

import argparse
import datetime
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from selfai_pipeline.environment import usable_cores

DAY = "2026-01-01"
SEED = 20261124
SIDE = 800
HASHES = ("PHash", "DHash", "WHash", "AHash")
DISTANCES = (0, 10)
RIVALS = Path(__file__).resolve().parent.parent / ".venv-rivals" / "bin" / "python"

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Pair = tuple[str, str]


def jpeg(pixels: Pixels, quality: int = 88) -> bytes:
    _, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return content.tobytes()


def cropped(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """A twentieth of the width and of the height is cut, at a random place."""
    height, width = pixels.shape[:2]
    rows, columns = round(0.05 * height), round(0.05 * width)
    top, left = generator.integers(0, rows + 1), generator.integers(0, columns + 1)
    return pixels[top : top + height - rows, left : left + width - columns]


def cropped_around(pixels: Pixels, _: np.random.Generator) -> Pixels:
    """A twentieth is cut from each of the four edges."""
    height, width = pixels.shape[:2]
    rows, columns = round(0.05 * height), round(0.05 * width)
    return pixels[rows : height - rows, columns : width - columns]


def written(pixels: Pixels, colour: tuple[int, int, int]) -> None:
    height, width = pixels.shape[:2]
    place = (width // 20, round(height * 0.7))
    cv2.putText(
        pixels, "a line of words", place, cv2.FONT_HERSHEY_SIMPLEX, height / 45, colour, 1, cv2.LINE_AA
    )


def captioned_over(pixels: Pixels, _: np.random.Generator) -> Pixels:
    """The lowest tenth is covered by a dark bar with words."""
    copy = pixels.copy()
    bar = copy[round(0.9 * len(copy)) :]
    bar[:] = 24
    written(bar, (255, 255, 255))
    return copy


def captioned_below(pixels: Pixels, _: np.random.Generator) -> Pixels:
    """A white bar with words, a tenth of the height, is put below the picture."""
    bar = np.full((round(0.1 * len(pixels)), pixels.shape[1], 3), 255, dtype=np.uint8)
    written(bar, (0, 0, 0))
    return np.vstack([pixels, bar])


def scaled(pixels: Pixels, factor: float) -> Pixels:
    return np.clip(pixels * factor, 0, 255).astype(np.uint8)


COPIES: dict[str, Callable[[Pixels, np.random.Generator], bytes]] = {
    "encoded again at quality 40": lambda pixels, _: jpeg(pixels, 40),
    "resized to a half": lambda pixels, _: jpeg(
        cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    ),
    "cropped by 5 %": lambda pixels, generator: jpeg(cropped(pixels, generator)),
    "cropped by 5 % on each side": lambda pixels, generator: jpeg(cropped_around(pixels, generator)),
    "brighter by 25 %": lambda pixels, _: jpeg(scaled(pixels, 1.25)),
    "darker by 25 %": lambda pixels, _: jpeg(scaled(pixels, 0.75)),
    "mirrored": lambda pixels, _: jpeg(pixels[:, ::-1]),
    "caption over it": lambda pixels, generator: jpeg(captioned_over(pixels, generator)),
    "caption below it": lambda pixels, generator: jpeg(captioned_below(pixels, generator)),
}


def letter_boxed(pixels: Pixels) -> Pixels:
    """Between two black bars along its longer side, which take more than half of the whole."""
    height, width = pixels.shape[:2]
    if height > width:
        return np.ascontiguousarray(np.swapaxes(letter_boxed(np.swapaxes(pixels, 0, 1)), 0, 1))
    bar = np.zeros((round(0.6 * height), width, 3), dtype=np.uint8)
    return np.vstack([bar, pixels, bar])


DEFECTS: dict[str, Callable[[Pixels], Pixels]] = {
    "none": lambda pixels: pixels,
    "dark": lambda pixels: scaled(pixels, 0.08),
    "light": lambda pixels: 255 - scaled(255 - pixels, 0.06),
    "blurred": lambda pixels: np.asarray(cv2.GaussianBlur(pixels, (0, 0), min(pixels.shape[:2]) / 28)),
    "low information": lambda pixels: np.full_like(pixels, 128) + pixels // 60,
    "odd aspect": lambda pixels: cv2.resize(pixels, (len(pixels) // 4, len(pixels))),
    "grey": lambda pixels: cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY),
    "tiny": lambda pixels: cv2.resize(pixels, (48, 48), interpolation=cv2.INTER_AREA),
    "letter-boxed": letter_boxed,
}
CLEANVISION_NAMES = {
    "dark": {"dark", "low_information"},
    "light": {"light", "low_information"},
    "blurred": {"blurry"},
    "low information": {"low_information", "blurry"},
    "odd aspect": {"odd_aspect_ratio"},
    "grey": {"grayscale"},
    "tiny": {"odd_size"},
    "letter-boxed": set(),
}
OUR_NAMES = {
    "dark": {"too_dark", "low_contrast", "low_information"},
    "light": {"too_bright", "low_contrast", "low_information"},
    "blurred": {"blurred"},
    "low information": {"low_information", "low_contrast", "blurred"},
    "odd aspect": {"extreme_aspect", "too_small"},
    "grey": {"colourless"},
    "tiny": {"too_small"},
    "letter-boxed": {"letter_boxed"},
}


def rendered(seed: int) -> bytes:
    """One portrait of the gallery, JPEG."""
    from selfai_pipeline.sources.gallery.attributes import draw_portrait_attributes
    from selfai_pipeline.sources.gallery.portraits import render_portrait

    attributes = draw_portrait_attributes(np.random.default_rng([SEED, seed]))
    pixels = np.asarray(render_portrait(attributes, typical_side=SIDE).pixels)
    return jpeg(np.ascontiguousarray(pixels[..., ::-1]), 92)


def originals(pictures: Path | None, n: int) -> list[bytes]:
    """`n` files of the folder, drawn by seed, or as many rendered portraits."""
    if pictures is None:
        with ProcessPoolExecutor() as pool:
            return list(pool.map(rendered, range(n)))
    names = sorted(path for path in pictures.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    chosen = np.random.default_rng(SEED).permutation(len(names))[:n]
    return [names[index].read_bytes() for index in sorted(chosen.tolist())]


def pixels_of(content: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), dtype=np.uint8)


def write_copies(folder: Path, files: list[bytes]) -> None:
    """`NUMBER-0.jpg` is the original, `NUMBER-K.jpg` its K-th kind of copy."""
    folder.mkdir()
    for number, content in enumerate(files):
        (folder / f"{number:05d}-0.jpg").write_bytes(content)
        pixels, generator = pixels_of(content), np.random.default_rng([SEED, 1, number])
        for kind, copy in enumerate(COPIES.values(), start=1):
            (folder / f"{number:05d}-{kind}.jpg").write_bytes(copy(pixels, generator))


def write_day(folder: Path, files: list[bytes]) -> int:
    """Every picture, and a copy of every tenth, the kinds of copy in turns; how many files that are."""
    folder.mkdir()
    kinds = itertools.cycle(COPIES.values())
    for number, content in enumerate(files):
        (folder / f"{number:05d}-0.jpg").write_bytes(content)
        if number % 10 == 0:
            copy = next(kinds)(pixels_of(content), np.random.default_rng([SEED, 2, number]))
            (folder / f"{number:05d}-1.jpg").write_bytes(copy)
    return len(list(folder.iterdir()))


def write_defects(folder: Path, files: list[bytes]) -> dict[str, list[str]]:
    """One picture with a defect an original, in turns; the names of each defect's files."""
    folder.mkdir()
    names: dict[str, list[str]] = {defect: [] for defect in DEFECTS}
    # Most are sound, as CleanVision's odd sizes are told by their distance from the quartiles.
    turns = itertools.cycle([*DEFECTS, *["none"] * len(DEFECTS)])
    for number, (content, defect) in enumerate(zip(files, turns)):  # noqa: B905 - the turns never end
        name = f"{number:05d}.jpg"
        (folder / name).write_bytes(jpeg(DEFECTS[defect](pixels_of(content)), 92))
        names[defect].append(name)
    return names


def ours(folder: str, home: str) -> None:
    """Prune a folder as a day, from the picture store; prints one JSON object."""
    import faiss
    import pyarrow.parquet
    import scipy.sparse.csgraph

    from selfai_pipeline.pictures.prune import prune_day
    from selfai_pipeline.pictures.settings import PruneSettings
    from selfai_pipeline.store import Store

    assert all((faiss, pyarrow.parquet, scipy.sparse.csgraph))  # imported before the clock starts
    store = Store.open(home)
    crawl = store.tables.write(crawled(Path(folder), store), asset="raw_crawl", partition=DAY)
    settings = PruneSettings(min_saturation=5)
    started, cpu = time.perf_counter(), time.process_time()
    ref = prune_day(crawl, store=store, settings=settings)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    rows = store.tables.read(ref, ["image_id", "url", "reason", "duplicate_of"]).to_pylist()
    standing = {row["image_id"]: row["url"] for row in rows}
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(standing[row["duplicate_of"]] if row["duplicate_of"] else row["url"], []).append(
            row["url"]
        )
    reasons = {row["url"]: row["reason"] for row in rows}
    print(json.dumps({"seconds": seconds, "cpu": cpu, "reasons": reasons, "groups": list(groups.values())}))


def crawled(folder: Path, store: Any) -> Iterable[dict[str, Any]]:
    """Rows of a crawl that stored every file of a folder."""
    from selfai_pipeline.schemas import RAW_CRAWL

    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        yield {
            **dict.fromkeys(RAW_CRAWL.names),
            "image_id": store.pictures.put(content),
            "url": path.name,
            "source": "benchmark",
            "fetched_at": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
            "status": "stored",
            "bytes": len(content),
            "orientation": 1,
            "attributes": "{}",
        }


def run(command: list[str], **environment: str) -> dict[str, Any]:
    """The JSON object that a command prints last."""
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def pairs_of(groups: Iterable[list[str]]) -> set[Pair]:
    return {pair for group in groups for pair in itertools.combinations(sorted(group), 2)}


def quality(found: set[Pair], n: int) -> dict[str, Any]:
    """Precision and recall of pairs of both classes, as imagededup has them, and recall by kind of copy."""
    files = n * (len(COPIES) + 1)
    every, true_pairs = files * (files - 1) // 2, n * (len(COPIES) + 1) * len(COPIES) // 2
    right = sum(one[:5] == other[:5] for one, other in found)
    wrong = len(found) - right
    by_kind = {
        kind: sum((f"{number:05d}-0.jpg", f"{number:05d}-{index}.jpg") in found for number in range(n)) / n
        for index, kind in enumerate(COPIES, start=1)
    }
    return {
        "precision": right / len(found) if found else 1.0,
        "recall": right / true_pairs,
        "class_0_precision": (every - true_pairs - wrong) / (every - len(found)),
        "class_0_recall": (every - true_pairs - wrong) / (every - true_pairs),
        "false_pairs": wrong,
        "by_copy": by_kind,
    }


def found_defects(
    names: Mapping[str, list[str]], flagged: Mapping[str, set[str]], known: Mapping[str, set[str]]
) -> dict[str, float]:
    """The share of each defect's pictures that a contestant names so, and of sound ones that it names at all.

    Args:
        flagged: file name -> what the contestant calls it.
        known: defect -> the contestant's names for it.
    """
    shares = {
        defect: sum(bool(flagged.get(name, set()) & known[defect]) for name in members) / max(1, len(members))
        for defect, members in names.items()
        if defect != "none"
    }
    sound = names["none"]
    return {**shares, "sound, named all the same": sum(bool(flagged.get(n)) for n in sound) / len(sound)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="60 originals and one round in place of 1,500 and three"
    )
    parser.add_argument("--pictures", type=Path, help="a folder of pictures in place of rendered portraits")
    parser.add_argument("--originals", type=int, help="how many")
    parser.add_argument("--rivals", default=str(RIVALS), help="the interpreter that `make rivals` made")
    parser.add_argument("--ours", nargs=2, metavar=("FOLDER", "HOME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        ours(*options.ours)
        return
    if not Path(options.rivals).exists():
        sys.exit(
            f"{options.rivals}: there is no such interpreter. Run `make rivals`, or name one with --rivals."
        )
    wanted = options.originals or (60 if options.quick else 1500)
    with tempfile.TemporaryDirectory() as temporary:
        files = originals(options.pictures, wanted)
        compare(files, options, folder=Path(temporary))


def compare(files: list[bytes], options: argparse.Namespace, *, folder: Path) -> None:
    rival = [options.rivals, str(Path(__file__).with_name("prune_rivals.py"))]
    homes = itertools.count()

    def us(where: Path) -> dict[str, Any]:
        # One thread a library, as the Makefile sets it; the pictures go over all cores.
        home = str(folder / f"home-{next(homes)}")
        return run([sys.executable, __file__, "--ours", str(where), home], OMP_NUM_THREADS="1")

    def hashes(where: Path, *methods: str) -> dict[str, Any]:
        return run([*rival, "hashes", str(where), *methods])

    pictures = write_day(folder / "day", files)
    seconds: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    for _ in range(1 if options.quick else 3):
        own, vision = us(folder / "day"), run([*rival, "cleanvision", str(folder / "day")])
        each = hashes(folder / "day", *(f"{method} 10" for method in HASHES))
        for kind, kept in (("seconds", seconds), ("cpu", cpu)):
            taken = {"Selfai": own[kind], "CleanVision": vision[kind]}
            taken |= {f"imagededup {way}": spent for way, spent in each[kind].items()}
            for name, spent in taken.items():
                kept.setdefault(name, []).append(spent)
    # Once: it takes the longest, and nothing comes near it.
    network = run([*rival, "CNN", str(folder / "day")])
    seconds["imagededup CNN"], cpu["imagededup CNN"] = [network["seconds"]], [network["cpu"]]
    median = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{pictures} pictures, one in ten of them again")
    print(f"{'':24}{'seconds':>9}{'a second':>10}{'to ours':>9}{'CPU seconds':>13}{'to ours':>9}")
    work = {name: statistics.median(times) for name, times in cpu.items()}
    for name, taken in median.items():
        line = f"{name:24}{taken:9.2f}{pictures / taken:10.0f}{taken / median['Selfai']:9.2f}"
        print(line + f"{work[name]:13.2f}{work[name] / work['Selfai']:9.2f}")

    n = min(len(files), 20 if options.quick else 200)
    write_copies(folder / "copies", files[:n])
    vision = run([*rival, "cleanvision", str(folder / "copies")])
    ways = [f"{method} {distance}" for method, distance in itertools.product(HASHES, DISTANCES)]
    pairs = hashes(folder / "copies", *ways)["pairs"]
    judged = judge_copies(
        {
            "Selfai": pairs_of(us(folder / "copies")["groups"]),
            "CleanVision": pairs_of(vision["groups"]),
            **{f"imagededup {name}": {(one, other) for one, other in pairs[name]} for name in ways},
        },
        n,
    )
    names = write_defects(folder / "defects", files)
    defects = judge_defects(folder / "defects", names, us=us, rival=rival)
    cores = usable_cores()
    print(
        json.dumps(
            {
                "vs_cleanvision": round(median["CleanVision"] / median["Selfai"], 2),
                "vs_imagededup": round(
                    min(median[f"imagededup {method} 10"] for method in HASHES) / median["Selfai"], 2
                ),
                "vs_imagededup_cnn": round(median["imagededup CNN"] / median["Selfai"], 1),
                "cpu_ratios": {name: round(taken / work["Selfai"], 2) for name, taken in work.items()},
                "precision": round(judged["Selfai"]["precision"], 5),
                "recall": round(judged["Selfai"]["recall"], 5),
                "pictures_per_s": {name: round(pictures / taken) for name, taken in median.items()},
                "copies": judged,
                "defects": defects,
                "n": {"timed": pictures, "rounds": len(seconds["Selfai"]), "copied_originals": n},
                "seeds": [SEED],
                "source": options.pictures.name if options.pictures else f"rendered, typical side {SIDE}",
                "hardware": f"{platform.machine()}, {cores} cores",
                "versions": versions(vision["versions"]),
            }
        )
    )


def versions(theirs: Mapping[str, str]) -> dict[str, str]:
    """Of both environments; a library that both have is named once where it is of one version."""
    libraries = ("opencv-python-headless", "simplejpeg", "pillow", "numpy", "faiss-cpu")
    ours = {name: importlib.metadata.version(name) for name in libraries}
    differing = {f"{name}, rivals": one for name, one in theirs.items() if ours.get(name, one) != one}
    return {**theirs, **ours, **differing, "python": platform.python_version()}


def judge_copies(pairs: Mapping[str, set[Pair]], n: int) -> dict[str, dict[str, Any]]:
    """Precision and recall of each contestant's pairs on the folder of copies, with tables."""
    judged = {name: quality(found, n) for name, found in pairs.items()}
    print(f"\n{n} originals and {len(COPIES)} copies of each; class 1: pairs that show one original")
    columns = ("class_0_precision", "precision", "class_0_recall", "recall", "false_pairs")
    heads = ("class-0 precision", "class-1 precision", "class-0 recall", "class-1 recall", "false pairs")
    print(f"{'':24}" + "".join(f"{head:>19}" for head in heads))
    for name, figures in judged.items():
        print(f"{name:24}" + "".join(f"{figures[column]:19.6g}" for column in columns))
    print("\nshare of the copies that are found from their original")
    shown = [name for name in judged if not name.endswith(" 0")]
    print(f"{'':30}" + "".join(f"{name.removeprefix('imagededup ')[:12]:>13}" for name in shown))
    for kind in COPIES:
        print(f"{kind:30}" + "".join(f"{judged[name]['by_copy'][kind]:13.3f}" for name in shown))
    return judged


def judge_defects(
    folder: Path, names: dict[str, list[str]], *, us: Callable[[Path], dict[str, Any]], rival: list[str]
) -> dict[str, dict[str, float]]:
    """How many of each defect Selfai and CleanVision name, with a table."""
    reasons = us(folder)["reasons"]
    flagged: dict[str, set[str]] = {}
    for issue, members in run([*rival, "cleanvision", str(folder)])["flagged"].items():
        for name in members:
            flagged.setdefault(name, set()).add(issue)
    own = {name: {reason} for name, reason in reasons.items() if reason}
    shares = {
        "Selfai": found_defects(names, own, OUR_NAMES),
        "CleanVision": found_defects(names, flagged, CLEANVISION_NAMES),
    }
    print(
        f"\nshare of {len(names['dark'])} pictures a defect that are named so\n"
        f"{'':30}{'Selfai':>13}{'CleanVision':>13}"
    )
    for defect in shares["Selfai"]:
        print(f"{defect:30}" + "".join(f"{shares[who][defect]:13.3f}" for who in shares))
    return shares


if __name__ == "__main__":
    main()
