"""What importing the definitions costs, beside a bare `import dagster`, in fresh processes taken in turns.

Prints a table and, as its last line, {"import_ratio": ours / bare dagster, "heavy_modules": [...]}.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile

HEAVY = ("torch", "mlflow", "cv2", "scrapy", "pandas", "faiss", "ray", "matplotlib")
TIMED = "import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
LOADED = "import sys, selfai_pipeline.definitions; print(*[m for m in {heavy!r} if m in sys.modules])"


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "SELFAI_HOME": folder, "DAGSTER_HOME": folder}
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
    return result.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three rounds in place of fifteen")
    rounds = 3 if parser.parse_args().quick else 15
    seconds: dict[str, list[float]] = {"dagster": [], "selfai_pipeline.definitions": []}
    for _ in range(rounds):
        for module, times in seconds.items():
            times.append(float(run(TIMED.format(module=module))))
    heavy = run(LOADED.format(heavy=HEAVY)).split()
    medians = {module: statistics.median(times) for module, times in seconds.items()}
    for module, median in medians.items():
        print(f"{module:32} median {median:.3f} s of {rounds}")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"dagster {importlib.metadata.version('dagster')}"
    )
    ratio = medians["selfai_pipeline.definitions"] / medians["dagster"]
    print(json.dumps({"import_ratio": round(ratio, 3), "heavy_modules": heavy}))


if __name__ == "__main__":
    main()
