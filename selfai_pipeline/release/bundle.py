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
from pathlib import Path
from typing import Any

import numpy as np

from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.evaluation.galleries import spread_evenly
from selfai_pipeline.evaluation.images import load_crop
from selfai_pipeline.lineage.registry import RegisteredVersion, Registry
from selfai_pipeline.networks.stages import INPUT_MIDDLE, INPUT_SPREAD
from selfai_pipeline.release.comparison import Comparison
from selfai_pipeline.release.decision import RemovedInputs
from selfai_pipeline.release.intervals import interval_values
from selfai_pipeline.release.model_card import model_card
from selfai_pipeline.release.model_registry import check_intact, reference
from selfai_pipeline.release.onnx_graph import INPUT, IR_VERSION, OPSET, OUTPUT, onnx_graph
from selfai_pipeline.release.parity import Pixels, measure_parity, random_pixels
from selfai_pipeline.release.recorded import Recorded, evaluation_of, recorded_facts
from selfai_pipeline.release.settings import ReleaseSettings
from selfai_pipeline.storage import replace_file
from selfai_pipeline.store import Store
from selfai_pipeline.training.checkpoints import WEIGHTS, folder_of, load_checkpoint
from selfai_pipeline.training.pixels import Framing

FORMAT = 1
CARD, MODEL_FILE, GRAPH = "README.md", "model.safetensors", "model.onnx"
STAGES, PREPROCESSING, INTERVALS = "stages.json", "preprocessing.json", "intervals.json"
FIGURES, PARITY, RELEASE = "figures.json", "onnx_parity.json", "release.json"
SUMS = "SHA256SUMS"
FILES = (CARD, FIGURES, INTERVALS, GRAPH, MODEL_FILE, PARITY, PREPROCESSING, RELEASE, STAGES)
"""What a bundle holds beside its list of hashes."""

AGAIN = "Get the bundle again from where it is published, or release the model again."


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
    facts = recorded_facts(version, store=store, registry=registry, settings=settings)
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
        INTERVALS: _json(interval_values(facts.intervals, facts.coverage)),
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
        "framing": {
            "part": facts.framing,
            "formula": "the centre of the crop: round(side * (1 - part) / 2) pixels are cut off at each edge",
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
            "mirrored": "where the last stage says so, the mean of the scores of the input and of its mirror "
            "image; in the ONNX graph this is inside",
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
        "framing": facts.framing,
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
    framing = Framing(size, facts.framing)
    faces = [framing(load_crop(crops[row], store.crops)) for row in chosen]
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
