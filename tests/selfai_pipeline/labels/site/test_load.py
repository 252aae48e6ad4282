"""Many annotators at once, and a server that is killed under them: no acknowledged score is lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[4]


@pytest.mark.slow
def test_a_kill_under_load_loses_no_acknowledged_score() -> None:
    """The benchmark itself: 20 annotators for 8 s who think little, faces that two of them may score."""
    arguments = ["--seconds", "8", "--annotators", "20", "--faces", "150", "--think", "0.3"]
    done = subprocess.run(
        [sys.executable, PROJECT / "benchmarks" / "annotate.py", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    troubles = {name: found[name] for name in ("lost", "errors", "over_target", "twice")}
    assert troubles == {"lost": 0, "errors": 0, "over_target": 0, "twice": 0}, done.stdout
    assert found["ratings"] > 50
