"""Checkpoints: safetensors and a JSON record, named by the record's hash. Nothing in them is ever unpickled.

Layout, under the storage's root:

    checkpoints/<asset>/<sha256 of record.json>/weights.safetensors
    checkpoints/<asset>/<sha256 of record.json>/record.json

The record names the hash of the weights, so that the one hash in a `CheckpointRef` covers both files.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from selfai_pipeline.errors import AlteredVersion, InputError
from selfai_pipeline.networks.network import Network, tensor_shapes
from selfai_pipeline.networks.stages import UnfitStages, stages_from_json, stages_to_json
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef
from selfai_pipeline.training.checkpoint_records import (
    RECORD,
    SCHEMA_VERSION,
    WEIGHTS,
    again,
    folder_of,
    load_record,
)
from selfai_pipeline.training.pixels import Framing

__all__ = [
    "RECORD",
    "SCHEMA_VERSION",
    "WEIGHTS",
    "Checkpoint",
    "checkpoint_files",
    "finite",
    "folder_of",
    "load_checkpoint",
    "load_record",
    "network_of",
    "save_checkpoint",
    "weights_copy",
]


@dataclass(frozen=True)
class Checkpoint:
    """A network in evaluation mode on the CPU, and the record of how it came to be."""

    network: Network
    record: Mapping[str, Any]

    @property
    def input_size(self) -> int:
        """Side of the pictures that the network was trained on, pixels."""
        return int(self.record["input_size"])

    @property
    def framing(self) -> Framing:
        """What of an aligned crop the network was trained on; all of it where the record does not say."""
        return Framing(self.input_size, float(self.record.get("framing", 1.0)))


def save_checkpoint(
    network: Network, *, asset: str, record: Mapping[str, Any], rows: int, store: Store
) -> CheckpointRef:
    """Store the weights and the record; the same network and record give the same reference.

    Args:
        record: `input_size` (pixels), `framing` (see `Framing.part`), `settings`, `inputs`, `metrics`,
            `history`, `growth`: finite JSON values and no run times. Schema version, architecture and the
            hash of the weights are added.
        rows: how many pictures it was trained on.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    weights = safetensors.torch.save(tensors)
    whole = {
        **record,
        "schema_version": SCHEMA_VERSION,
        "asset": asset,
        "rows": rows,
        "architecture": stages_to_json(network.stages),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    content = json.dumps(whole, sort_keys=True, indent=1, allow_nan=False).encode()
    ref = CheckpointRef(asset, WHOLE, hashlib.sha256(content).hexdigest(), rows)
    folder = folder_of(ref)
    store.files.write(f"{folder}/{WEIGHTS}", weights)
    store.files.write(f"{folder}/{RECORD}", content)
    return ref


def load_checkpoint(ref: CheckpointRef, *, store: Store) -> Checkpoint:
    """The network of a checkpoint, every byte checked against the reference before it is used.

    Raises:
        MissingVersion: there is no such checkpoint.
        AlteredVersion: a file was truncated or altered.
        InputError: another schema version, or weights that do not fit the architecture.
    """
    record = load_record(ref, store=store)
    path, mend = f"{folder_of(ref)}/{WEIGHTS}", again(ref)
    content = store.files.read_verified(path, record.get("weights_sha256"), mend=mend)
    where = store.files.path(path)
    network = network_of(content, record.get("architecture"), where=where, mend=mend)
    size = record.get("input_size")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InputError(f"input_size is {size!r}", where=store.files.path(folder_of(ref)), mend=mend)
    part = record.get("framing", 1.0)
    if isinstance(part, bool) or not isinstance(part, int | float) or not 0 < part <= 1:
        raise InputError(f"framing is {part!r}", where=store.files.path(folder_of(ref)), mend=mend)
    return Checkpoint(network, record)


def network_of(weights: bytes, architecture: object, *, where: str, mend: str) -> Network:
    """The network, in evaluation mode on the CPU, of a safetensors file and the stage list that goes with it.

    Args:
        architecture: as `stages_to_json` gives it, and as hostile as the weights.
        where, mend: of the messages of errors.

    Raises:
        AlteredVersion: this is no safetensors file.
        InputError: the weights do not fit the architecture.
    """
    try:
        tensors = safetensors.torch.load(weights)
    except SafetensorError as error:
        raise AlteredVersion(f"{where}: not a safetensors file ({error}). {mend}") from error
    try:
        stages = stages_from_json(architecture)
        # before the network is built: a record could name more memory than there is
        expected = tensor_shapes(stages)
    except UnfitStages as error:
        raise InputError(f"no network can be built ({error})", where=where, mend=mend) from error
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    unlike = sorted(dict(shapes.items() ^ expected.items()))
    if unlike:
        what = f"the weights do not fit the architecture in the record ({', '.join(unlike[:3])})"
        raise InputError(what, where=where, mend=mend)
    network = Network(stages)
    network.load_state_dict(tensors)
    return network.eval()


def checkpoint_files(ref: CheckpointRef, *, store: Store) -> dict[str, bytes]:
    """The files of a checkpoint by name, to be copied elsewhere as they are."""
    return {name: store.files.read(f"{folder_of(ref)}/{name}") for name in (WEIGHTS, RECORD)}


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """`values` as plain floats.

    Raises:
        ValueError: one of them is not finite.
    """
    plain = {name: float(value) for name, value in values.items()}
    for name, value in plain.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}")
    return plain


def weights_copy(network: Network) -> dict[str, torch.Tensor]:
    """A copy of the weights that later steps do not change."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
