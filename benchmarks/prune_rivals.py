"""CleanVision and imagededup on one folder, for benchmarks/prune.py; runs in what `make rivals` makes.

    python benchmarks/prune_rivals.py cleanvision FOLDER
    python benchmarks/prune_rivals.py hashes FOLDER "PHash 10" "DHash 10"

Prints, as its last line, one JSON object: `seconds` and `cpu` seconds (imports left out), and what
was found by file name.
"""

import importlib.metadata
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_seconds() -> float:
    """Of this process and of its children that have ended, user and system."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


def cleanvision(folder: str) -> dict[str, Any]:
    """All of its default issue types, with a process a core, as its documentation has it."""
    from cleanvision import Imagelab

    started, cpu = time.perf_counter(), cpu_seconds()
    lab = Imagelab(data_path=folder)
    lab.find_issues(n_jobs=cores(), verbose=False)
    seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
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
    return {"seconds": seconds, "cpu": cpu, "flagged": flagged, "groups": groups}


def hashes(folder: str, *ways: str) -> dict[str, Any]:
    """Its hashes, with a process a core for encoding and for searching: its defaults.

    Args:
        ways: names of a method with a distance, such as `PHash 10`, one after the other.
    """
    from imagededup import methods

    logging.disable(logging.INFO)
    pairs, seconds, cpu = {}, {}, {}
    for way in ways:
        method, distance = way.split()
        finder = getattr(methods, method)(verbose=False)
        started, before = time.perf_counter(), cpu_seconds()
        found = finder.find_duplicates(
            image_dir=folder,
            max_distance_threshold=int(distance),
            num_enc_workers=cores(),
            num_dist_workers=cores(),
        )
        seconds[way], cpu[way] = time.perf_counter() - started, cpu_seconds() - before
        pairs[way] = sorted({(min(a, b), max(a, b)) for a, others in found.items() for b in others})
    return {"seconds": seconds, "cpu": cpu, "pairs": pairs}


def cnn(folder: str) -> dict[str, Any]:
    """Encoding with its default network, MobileNetV3, random weights in place of those it would download.

    Time only, and less than it takes: the comparison of the encodings is left out, as with such weights
    everything is alike.
    """
    import torch
    from imagededup.methods import CNN
    from imagededup.utils.models import CustomModel, MobilenetV3
    from torchvision.models import mobilenet_v3_small

    class Untrained(torch.nn.Module):
        """As imagededup cuts the published network: everything up to the pooling."""

        def __init__(self) -> None:
            super().__init__()
            whole = mobilenet_v3_small(weights=None).eval()
            self.layers = torch.nn.Sequential(whole.features, whole.avgpool, torch.nn.Flatten())

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return self.layers(pictures)

    logging.disable(logging.INFO)
    config = CustomModel(model=Untrained().eval(), transform=MobilenetV3.transform, name="untrained")
    finder = CNN(verbose=False, model_config=config)
    started, cpu = time.perf_counter(), cpu_seconds()
    finder.encode_images(image_dir=folder, num_enc_workers=cores())
    return {"seconds": time.perf_counter() - started, "cpu": cpu_seconds() - cpu}


def main() -> None:
    what, folder, *ways = sys.argv[1:]
    contestants: dict[str, Callable[..., dict[str, Any]]] = {
        "cleanvision": cleanvision,
        "hashes": hashes,
        "CNN": cnn,
    }
    result = contestants[what](folder, *ways)
    names = ("cleanvision", "imagededup", "torch", "pillow", "numpy")
    result["versions"] = {name: importlib.metadata.version(name) for name in names}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
