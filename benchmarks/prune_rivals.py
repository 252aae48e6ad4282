"""CleanVision and imagededup on one folder, for benchmarks/prune.py; runs in what `make rivals` makes.

    python benchmarks/prune_rivals.py cleanvision FOLDER
    python benchmarks/prune_rivals.py PHash FOLDER 10

Prints, as its last line, one JSON object: `seconds` (imports left out), and what was found by file name.
"""

import importlib.metadata
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cleanvision(folder: str) -> dict[str, Any]:
    """All of its default issue types, with a process a core, as its documentation has it."""
    from cleanvision import Imagelab

    started = time.perf_counter()
    lab = Imagelab(data_path=folder)
    lab.find_issues(n_jobs=cores(), verbose=False)
    seconds = time.perf_counter() - started
    issues = lab.issues
    flagged = {
        column.removeprefix("is_").removesuffix("_issue"): [
            Path(path).name for path in issues.index[issues[column]]
        ]
        for column in issues.columns
        if column.startswith("is_")
    }
    sets = [group for kind in ("exact_duplicates", "near_duplicates") for group in lab.info[kind]["sets"]]
    groups = [[Path(path).name for path in group] for group in sets]
    return {"seconds": seconds, "flagged": flagged, "groups": groups}


def imagededup(method: str, folder: str, distance: int) -> dict[str, Any]:
    """One of its hashes, with a process a core for encoding and for searching: its defaults."""
    from imagededup import methods

    logging.disable(logging.INFO)
    finder = getattr(methods, method)(verbose=False)
    started = time.perf_counter()
    found = finder.find_duplicates(
        image_dir=folder,
        max_distance_threshold=distance,
        num_enc_workers=cores(),
        num_dist_workers=cores(),
    )
    seconds = time.perf_counter() - started
    pairs = sorted(
        {(min(name, other), max(name, other)) for name, others in found.items() for other in others}
    )
    return {"seconds": seconds, "pairs": pairs}


def main() -> None:
    what, folder, *rest = sys.argv[1:]
    result = cleanvision(folder) if what == "cleanvision" else imagededup(what, folder, int(rest[0]))
    names = ("cleanvision", "imagededup", "torch", "pillow", "numpy")
    result["versions"] = {name: importlib.metadata.version(name) for name in names}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
