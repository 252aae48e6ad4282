"""A bundle that came from anywhere, read: nothing of it is used before all of it was found to be whole."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from selfai_pipeline.errors import AlteredVersion, InputError, SelfaiError
from selfai_pipeline.networks.network import Network
from selfai_pipeline.picture_store import SHA256_HEX
from selfai_pipeline.release.bundle import AGAIN, FILES, FORMAT, GRAPH, MODEL_FILE, RELEASE, STAGES, SUMS
from selfai_pipeline.release.parity import Parity, measure_parity, random_pixels
from selfai_pipeline.training.checkpoints import network_of

LARGEST_TEXT = 16_000_000
LARGEST_FILE = 4_000_000_000


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and found to be whole.

    `fingerprint` is the SHA-256 of its list of hashes, which stands for all of it.
    """

    model: str
    version: int
    checkpoint_sha256: str
    weights_sha256: str
    fingerprint: str
    network: Network
    input_size: int
    parity: Parity | None = None


def read_bundle(folder: Path) -> Bundle:
    """The network of a bundle, every file held against the list of hashes before it is used.

    Raises:
        AlteredVersion: a file is missing, too much, no plain file, or has another hash.
        InputError: this is no bundle, or of another format; the weights do not fit the stages.
    """
    files = _plain_files(folder)
    named: dict[str, str] = {}
    for number, line in enumerate(_text(files, SUMS, folder).splitlines(), start=1):
        sha256, _, name = line.partition("  ")
        if not SHA256_HEX.fullmatch(sha256) or name not in FILES or name in named:
            raise AlteredVersion(f"{folder / SUMS}, line {number}: this is no entry of a bundle. {AGAIN}")
        named[name] = sha256
    for name in sorted(set(files) - {SUMS} | set(named) | set(FILES)):
        if name not in files:
            raise AlteredVersion(f"{folder / name}: it is missing. {AGAIN}")
        if name not in named:
            raise AlteredVersion(f"{folder / name}: {SUMS} does not name it. {AGAIN}")
        found = hashlib.sha256(files[name]).hexdigest()
        if found != named[name]:
            raise AlteredVersion(
                f"{folder / name}: its bytes hash to {found}, {SUMS} says {named[name]}. {AGAIN}"
            )
    release = _values(files, RELEASE, folder)
    if not isinstance(release, dict) or release.get("format") != FORMAT:
        version = release.get("format") if isinstance(release, dict) else None
        raise InputError(
            f"the bundle has the format {version!r}, this code reads {FORMAT}",
            where=str(folder / RELEASE),
            mend="Use the version of Selfai that wrote it.",
        )
    numbers: dict[str, Any] = {name: release.get(name) for name in ("version", "input_size")}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
            raise InputError(f"{name} is {value!r}", where=str(folder / RELEASE), mend=AGAIN)
    if release.get("weights_sha256") != named[MODEL_FILE]:
        raise AlteredVersion(f"{folder / RELEASE}: it names other weights than {MODEL_FILE}. {AGAIN}")
    network = network_of(
        files[MODEL_FILE], _values(files, STAGES, folder), where=str(folder / MODEL_FILE), mend=AGAIN
    )
    return Bundle(
        model=str(release.get("model")),
        version=numbers["version"],
        checkpoint_sha256=str(release.get("checkpoint_sha256")),
        weights_sha256=named[MODEL_FILE],
        fingerprint=hashlib.sha256(files[SUMS]).hexdigest(),
        network=network,
        input_size=numbers["input_size"],
    )


def verify_bundle(folder: Path, *, tolerance: float, pictures: int = 16) -> Bundle:
    """Read a bundle, and score random pictures with its ONNX graph and with its weights.

    Raises:
        AlteredVersion, InputError: as `read_bundle`; or the two differ by more than `tolerance` points.
    """
    bundle = read_bundle(folder)
    parity = measure_parity(
        (folder / GRAPH).read_bytes(),
        bundle.network,
        faces=np.empty((0, bundle.input_size, bundle.input_size, 3), np.uint8),
        random=random_pixels(pictures, input_size=bundle.input_size),
        tolerance=tolerance,
        batch_size=pictures,
    )
    return replace(bundle, parity=parity)


def problem_of_bundle(folder: Path, *, tolerance: float) -> str:
    """What `verify_bundle` says against a folder; empty where it is sound."""
    try:
        verify_bundle(folder, tolerance=tolerance)
    except SelfaiError as error:
        return str(error)
    return ""


def _plain_files(folder: Path) -> dict[str, bytes]:
    """The bytes of all files of a folder, which holds nothing but plain files."""
    if not (folder / SUMS).is_file():
        raise InputError(
            f"this is no release bundle: there is no {SUMS}",
            where=str(folder),
            mend="Name the folder that `selfai release MODEL FOLDER` wrote.",
        )
    files = {}
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file() or path.name not in (*FILES, SUMS):
            raise AlteredVersion(f"{path}: a bundle holds no such thing. Move it away, then verify again.")
        largest = LARGEST_TEXT if path.suffix in (".json", ".md", "") else LARGEST_FILE
        if path.stat().st_size > largest:
            raise AlteredVersion(f"{path}: it is larger than anything that Selfai writes. {AGAIN}")
        files[path.name] = path.read_bytes()
    return files


def _text(files: Mapping[str, bytes], name: str, folder: Path) -> str:
    try:
        return files[name].decode()
    except UnicodeDecodeError as error:
        raise AlteredVersion(f"{folder / name}: this is no text. {AGAIN}") from error


def _values(files: Mapping[str, bytes], name: str, folder: Path) -> Any:
    try:
        return json.loads(_text(files, name, folder))
    except (ValueError, RecursionError) as error:
        raise AlteredVersion(f"{folder / name}: this is no JSON. {AGAIN}") from error
