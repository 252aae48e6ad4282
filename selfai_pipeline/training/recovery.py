"""The recovery point of a run: all that its next epoch depends on, replaced after every epoch.

It is the pipeline's own file under `home.cache`, is read with `weights_only=True`, and is apart from
checkpoints. Its name covers the inputs, the settings, the version of the code and the environment that
decides about the last bit, so that a run never goes on from something that would give other weights. It
stays after the last epoch: whatever fails behind training (a full disk, the registry) costs no epoch.
"""

import hashlib
import io
import json
import os
import pickle
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from selfai_pipeline.errors import AlteredVersion, StorageError
from selfai_pipeline.store import Store

VERSION = 2
HEXADECIMALS = 64
"""The file starts with the SHA-256 of the rest."""
KEPT = 3
"""Recovery points of an asset that stay: the run's own and those of the settings used before."""
SECONDS_OF_A_PART = 3600.0
"""Age at which a half-written file is what a killed process left behind."""


def fingerprint(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `content`."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class RecoveryPoint:
    """The file of one run."""

    path: Path

    @classmethod
    def of(cls, run: Mapping[str, Any], *, store: Store) -> "RecoveryPoint":
        """The recovery point of the run that `run` (asset, inputs, settings, environment) describes."""
        name = f"{run['asset']}-{fingerprint({**run, 'version': VERSION})}.pt"
        return cls(store.home.cache / "recovery" / name)

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace the file in one move; a kill at any moment leaves the old one or the new one.

        Raises:
            StorageError: the disk is full, or the folder cannot be written.
        """
        buffer = io.BytesIO()
        torch.save({**state, "version": VERSION}, buffer)
        part = self.path.with_suffix(f".{os.getpid()}-{uuid.uuid4().hex}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("wb") as file:
                    file.write(hashlib.sha256(buffer.getbuffer()).hexdigest().encode())
                    file.write(buffer.getbuffer())
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(self.path)
            finally:
                part.unlink(missing_ok=True)
            self._sweep()
        except OSError as error:
            raise StorageError(
                f"{self.path}: cannot be written ({error.strerror or error}). Free some space or mend the "
                "permissions, then run again: training goes on from the last epoch that was written."
            ) from error

    def read(self) -> dict[str, Any] | None:
        """What was written last, or None where there is nothing.

        Raises:
            AlteredVersion: the file is damaged, or of another version.
        """
        if not self.path.exists():
            return None
        content = self.path.read_bytes()
        digest, body = content[:HEXADECIMALS], content[HEXADECIMALS:]
        if hashlib.sha256(body).hexdigest().encode() != digest:
            raise self._unusable("it is damaged")
        try:
            state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError) as error:
            raise self._unusable("it holds more than numbers") from error
        if not isinstance(state, dict) or state.get("version") != VERSION:
            raise self._unusable("it is of another version")
        return state

    def _unusable(self, why: str) -> AlteredVersion:
        return AlteredVersion(
            f"{self.path}: the recovery point cannot be used, {why}. Delete it to train from the beginning."
        )

    def _sweep(self) -> None:
        """Delete the asset's oldest recovery points, and parts that no process writes any more."""
        asset = self.path.name.rsplit("-", 1)[0]
        written = {path: path.stat().st_mtime for path in self.path.parent.glob(f"{asset}-*")}
        points = sorted((path for path in written if path.suffix == ".pt"), key=written.__getitem__)
        left = time.time() - SECONDS_OF_A_PART
        parts = [path for path in written if path.suffix == ".part" and written[path] < left]
        for path in [*points[:-KEPT], *parts]:
            path.unlink(missing_ok=True)
