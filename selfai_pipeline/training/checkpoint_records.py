"""The record of a checkpoint, read without its weights: nothing here loads torch."""

import json
from typing import Any

from selfai_pipeline.errors import InputError
from selfai_pipeline.picture_store import SHA256_HEX
from selfai_pipeline.store import Store
from selfai_pipeline.tables import PARTITION_NAME, CheckpointRef

SCHEMA_VERSION = 1
WEIGHTS = "weights.safetensors"
RECORD = "record.json"


def folder_of(ref: CheckpointRef) -> str:
    if not PARTITION_NAME.fullmatch(ref.asset) or not SHA256_HEX.fullmatch(ref.sha256):
        raise ValueError(f"not a reference to a checkpoint: {ref!r}")
    return f"checkpoints/{ref.asset}/{ref.sha256}"


def again(ref: CheckpointRef) -> str:
    """How to mend a damaged file of a checkpoint, in a sentence."""
    return f"Materialize {ref.asset} again, or put the file back from a copy."


def load_record(ref: CheckpointRef, *, store: Store) -> dict[str, Any]:
    """The record of a checkpoint, without its weights.

    Raises:
        MissingVersion: there is no such checkpoint.
        AlteredVersion: the record does not hash to its name.
        InputError: it was written under another schema version.
    """
    path = f"{folder_of(ref)}/{RECORD}"
    record = json.loads(store.files.read_verified(path, ref.sha256, mend=again(ref)))
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA_VERSION:
        version = record.get("schema_version") if isinstance(record, dict) else None
        raise InputError(
            f"the checkpoint has schema version {version!r}, this code reads {SCHEMA_VERSION}",
            where=store.files.path(path),
            mend=f"Materialize {ref.asset} again, or use the version of Selfai that wrote it.",
        )
    return record
