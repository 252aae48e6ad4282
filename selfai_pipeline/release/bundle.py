"""The release bundle: one folder with everything that scoring needs, which can be published as it is.

It holds weights, figures and words, and no picture, id, address, path, name of an annotator or of a machine.
The same version gives the same files, apart from what the parity of the ONNX graph measures.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfai_pipeline.errors import AlteredVersion, InputError, SelfaiError, StorageError
from selfai_pipeline.evaluation.galleries import spread_evenly
from selfai_pipeline.evaluation.images import load_crop
from selfai_pipeline.lineage.promotions import Champion, read_promotions
from selfai_pipeline.lineage.registry import MODEL, RegisteredVersion, Registry
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import INPUT_MIDDLE, INPUT_SPREAD
from selfai_pipeline.picture_store import SHA256_HEX
from selfai_pipeline.release.champion import ModelRegistry, champion_now, check_intact, reference
from selfai_pipeline.release.comparison import Comparison
from selfai_pipeline.release.decision import RemovedInputs
from selfai_pipeline.release.examination import comparison_of
from selfai_pipeline.release.intervals import interval_values
from selfai_pipeline.release.model_card import model_card
from selfai_pipeline.release.onnx_graph import INPUT, IR_VERSION, OPSET, OUTPUT, onnx_graph
from selfai_pipeline.release.parity import Parity, Pixels, measure_parity, random_pixels
from selfai_pipeline.release.recorded import Recorded, evaluation_of, recorded_facts
from selfai_pipeline.release.settings import ReleaseSettings
from selfai_pipeline.storage import replace_file
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef
from selfai_pipeline.training.checkpoints import WEIGHTS, folder_of, load_checkpoint, network_of
from selfai_pipeline.training.pixels import resize_crop

FORMAT = 1
CARD, MODEL_FILE, GRAPH = "README.md", "model.safetensors", "model.onnx"
STAGES, PREPROCESSING, INTERVALS = "stages.json", "preprocessing.json", "intervals.json"
FIGURES, PARITY, RELEASE = "figures.json", "onnx_parity.json", "release.json"
SUMS = "SHA256SUMS"
FILES = (CARD, FIGURES, INTERVALS, GRAPH, MODEL_FILE, PARITY, PREPROCESSING, RELEASE, STAGES)
"""What a bundle holds beside its list of hashes."""

LARGEST_TEXT = 16_000_000
LARGEST_FILE = 4_000_000_000
AGAIN = "Get the bundle again from where it is published, or release the model again."


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and found to be whole.

    `fingerprint` is the SHA-256 of its list of hashes, which stands for all of it.
    """

    model: str
    version: int
    checkpoint_sha256: str
    fingerprint: str
    network: Network
    input_size: int
    parity: Parity | None = None


def make_bundle(
    version: RegisteredVersion,
    *,
    store: Store,
    registry: Registry,
    settings: ReleaseSettings,
    removed_inputs: RemovedInputs,
    comparison: Comparison | None = None,
) -> dict[str, bytes]:
    """The files of a bundle by name, the list of hashes among them.

    Args:
        comparison: with the champion before, where there was one.

    Raises:
        InputError: the version has removed data in it, was never evaluated, cannot be written as an ONNX
            graph, or onnxruntime differs from torch by more than the tolerance.
        MissingVersion, AlteredVersion: a file behind it is missing or was altered.
    """
    where = f"{version.model}@{version.version}"
    if removed := removed_inputs(store, reference(version)):
        raise InputError(
            f"removed data is in it: {removed[0]}",
            where=where,
            mend="Train it again without, and release that.",
        )
    check_intact(version, store=store)
    facts = recorded_facts(version, store=store, registry=registry, licence=settings.licence)
    checkpoint = load_checkpoint(reference(version), store=store)
    weights = store.files.read_verified(
        f"{folder_of(reference(version))}/{WEIGHTS}", facts.weights_sha256, mend=AGAIN
    )
    graph = onnx_graph(checkpoint.network, input_size=facts.input_size)
    parity = measure_parity(
        graph,
        checkpoint.network,
        faces=_test_faces(facts, version, store=store, most=settings.parity_faces),
        random=random_pixels(settings.parity_random, input_size=facts.input_size),
        tolerance=settings.onnx_tolerance,
        batch_size=settings.batch_size,
    )
    files = {
        CARD: model_card(facts, comparison=comparison).encode(),
        MODEL_FILE: weights,
        GRAPH: graph,
        STAGES: _json(facts.architecture),
        PREPROCESSING: _json(preprocessing(facts)),
        INTERVALS: _json(interval_values(facts.intervals)),
        FIGURES: _json(dict(facts.figures)),
        PARITY: _json(parity.to_dict()),
        RELEASE: _json(_release(facts)),
    }
    return {**files, SUMS: sums_of(files)}


def sums_of(files: Mapping[str, bytes]) -> bytes:
    """The list of hashes, in the form that `sha256sum --check` reads."""
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items())]
    return "".join(lines).encode()


def preprocessing(facts: Recorded) -> dict[str, Any]:
    """Every step from a picture to the network's input, and what its output means."""
    size = facts.input_size
    return {
        "alignment": {
            "detector": "RetinaFace mobilenet0.25 or resnet50: a box and five landmarks, eyes, nose, corners "
            "of the mouth",
            "transform": "the least-squares similarity of the landmarks to the template, eyes counted double",
            "crops": facts.alignment,
            "meaning": "crop_size in pixels; eye_distance and eye_height over the side of the crop",
        },
        "input_size": size,
        "resize": "to input_size by input_size: mean over areas where it shrinks (OpenCV INTER_AREA), "
        "bilinear where it enlarges",
        "colour": "RGB, 8 bits a channel, sRGB as decoded",
        "normalisation": {
            "formula": "(pixel / 255 - middle) / spread",
            "middle": INPUT_MIDDLE,
            "spread": INPUT_SPREAD,
        },
        "safetensors": {
            "input": f"float32 [batch, 3, {size}, {size}], after the normalisation",
            "output": "float32 [batch]",
        },
        "onnx": {
            "opset": OPSET,
            "ir_version": IR_VERSION,
            "input": {
                "name": INPUT,
                "type": "uint8",
                "shape": ["batch", size, size, 3],
                "note": "after the resizing; the normalisation is inside the graph",
            },
            "output": {"name": OUTPUT, "type": "float32", "shape": ["batch"]},
        },
        "score": "points on the crowd's scale 0..9, not clipped",
    }


def _release(facts: Recorded) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "model": facts.model,
        "version": facts.version,
        "checkpoint_sha256": facts.checkpoint_sha256,
        "weights_sha256": facts.weights_sha256,
        "input_size": facts.input_size,
        "labels_sha256": facts.labels["sha256"],
        "evaluation_sha256": facts.evaluation_sha256,
        "stages": {stage["asset"]: stage["sha256"] for stage in facts.stages},
        "licence": facts.licence or "not stated",
        "use": "Impressions of a crowd, not facts about people; not for decisions about anyone.",
    }


def _test_faces(facts: Recorded, version: RegisteredVersion, *, store: Store, most: int) -> Pixels:
    """Test faces of the evaluation as the network sees them, spread evenly over the scores."""
    evaluation = evaluation_of(reference(version), store=store)
    rows = store.tables.read(evaluation, ["crop_sha256", "predicted"])
    chosen = spread_evenly(rows["predicted"].to_numpy(), most)
    crops = rows["crop_sha256"].to_pylist()
    size = facts.input_size
    faces = [resize_crop(load_crop(crops[row], store.crops), size) for row in chosen]
    return np.stack(faces) if faces else np.empty((0, size, size, 3), np.uint8)


def _json(values: Any) -> bytes:
    text = json.dumps(values, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    return f"{text}\n".encode()


def write_bundle(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write a bundle as a folder, whole or not at all; one with the same bytes is left as it is.

    Raises:
        InputError: there is something else already.
        StorageError: it cannot be written.
    """
    folder = folder.absolute()
    if folder.is_dir() and any(folder.iterdir()):
        names = {path.name for path in folder.iterdir()}
        if names == set(files) and all((folder / name).read_bytes() == files[name] for name in names):
            return folder
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise InputError(
            "there is something else already", where=str(folder), mend="Name another folder, or move it away."
        )
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    try:
        for name, content in files.items():
            replace_file(part / name, content)
        if folder.exists():
            folder.rmdir()
        os.replace(part, folder)  # noqa: PTH105 - of a folder
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be written ({error.strerror or error}). Free some space or mend the "
            "permissions."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


@dataclass(frozen=True)
class Released:
    """A bundle that was written under `releases/`, and the version of the asset that says so."""

    ref: TableRef
    folder: Path
    files: Mapping[str, bytes]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.files[SUMS]).hexdigest()

    def values(self, name: str) -> Any:
        """The content of one of the JSON files."""
        return json.loads(self.files[name])


def write_release(
    champion: TableRef,
    *,
    store: Store,
    registry: ModelRegistry,
    known: Registry,
    settings: ReleaseSettings,
    removed_inputs: RemovedInputs,
) -> Released:
    """Write the bundle of the champion into a folder of its own under `releases/`.

    Args:
        champion: a version of the asset `champion`, which has to be the champion still.

    Raises:
        InputError: another version is the champion by now; or as `make_bundle`.
        MissingVersion, AlteredVersion: as `make_bundle`.
    """
    (row,) = store.tables.read(champion).to_pylist()
    made, now = Champion(row["version"], row["checkpoint_sha256"]), champion_now(registry, store)
    if now != made:
        raise InputError(
            f"version {made.version} is not the champion any more, "
            + (f"version {now.version} is" if now else "nobody is"),
            where=f"{champion.asset} {champion.sha256[:12]}",
            mend="`selfai release @champion FOLDER` writes the bundle of the present one.",
        )
    files = make_bundle(
        registry.find(made.version),
        store=store,
        registry=known,
        settings=settings,
        removed_inputs=removed_inputs,
        comparison=comparison_of(read_promotions(store), made.checkpoint_sha256),
    )
    ref = bundle_table(
        files,
        store=store,
        facts={"version": made.version, "parity": json.loads(files[PARITY])},
    )
    folder = folder_of_release(ref, store=store)
    if folder.exists() and differing_files(ref, store=store):
        # What lies there was altered since: a folder of this name is ours alone.
        shutil.rmtree(folder)
    return Released(ref, write_bundle(files, folder), files)


def folder_of_release(ref: TableRef, *, store: Store) -> Path:
    """Where the bundle of a version of the asset `release_bundle` lies, whether it is there or not."""
    facts = store.tables.facts(ref)
    return store.home.releases / f"{MODEL}-{facts['version']}-{ref.sha256[:12]}"


def differing_files(ref: TableRef, *, store: Store) -> list[str]:
    """Names of the files of a released bundle that are missing, altered or too much in its folder."""
    folder = folder_of_release(ref, store=store)
    expected = {row["name"]: row["sha256"] for row in store.tables.read(ref).to_pylist()}
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in (folder.iterdir() if folder.is_dir() else ())
    }
    return sorted(dict(expected.items() ^ found.items()))


def problem_of_bundle(folder: Path, *, tolerance: float) -> str:
    """What `verify_bundle` says against a folder; empty where it is sound."""
    try:
        verify_bundle(folder, tolerance=tolerance)
    except SelfaiError as error:
        return str(error)
    return ""


def known_bundles(store: Store) -> set[str]:
    """The fingerprints of the bundles that the asset `release_bundle` made in this store."""
    tables = store.tables
    found: set[str] = set()
    for record in tables.records("release_bundle"):
        if isinstance(record.ref, TableRef):
            rows = tables.read(record.ref, ["name", "sha256"]).to_pylist()
            found.update(row["sha256"] for row in rows if row["name"] == SUMS)
    return found


def bundle_table(files: Mapping[str, bytes], *, store: Store, facts: Mapping[str, Any]) -> TableRef:
    """A row a file of a bundle, as the version that the asset hands out."""
    rows = [
        {"name": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in sorted(files.items())
    ]
    return store.tables.write(rows, asset="release_bundle", facts=facts)


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
        fingerprint=hashlib.sha256(files[SUMS]).hexdigest(),
        network=network,
        input_size=numbers["input_size"],
    )


def verify_bundle(folder: Path, *, tolerance: float, pictures: int = 16) -> Bundle:
    """Read a bundle, and score random pictures with its ONNX graph and with its weights.

    Raises:
        AlteredVersion, InputError: as `read_bundle`; or the two differ by more than `tolerance` points.
    """
    from dataclasses import replace

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
