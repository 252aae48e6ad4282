"""The recovery point of a run: all that its next epoch depends on, replaced after every epoch.

It is the pipeline's own file under `home.cache`, is read with `weights_only=True`, and is apart from
checkpoints. Its name covers the inputs, the settings, the version of the code and the environment that
decides about the last bit. An unfinished run that finds its point from another environment only (threads,
device, torch ...) would end with other weights: it is refused unless `WhenMoved` says otherwise. The file
stays after the last epoch: whatever fails behind training (a full disk, the registry) costs no epoch.
"""

import hashlib
import io
import json
import logging
import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from selfai_pipeline.errors import AlteredVersion, InputError
from selfai_pipeline.storage import replace_file, written_at
from selfai_pipeline.store import Store
from selfai_pipeline.training.settings import WhenMoved

logger = logging.getLogger("selfai.training")

VERSION = 3
HEXADECIMALS = 64
"""The file starts with the SHA-256 of the rest."""
KEPT = 3
"""Recovery points of an asset that stay: the run's own and those of the settings used before."""
SECONDS_OF_A_RUN = 14 * 86400.0
"""Age up to which an unfinished run may still be gone on with, however many others of its asset came after:
those of a backfill of ablations are dozens."""
SECONDS_OF_A_PART = 3600.0
"""Age at which a half-written file is what a killed process left behind."""


def fingerprint(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `content`."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class RecoveryPoint:
    """The file of one run in one environment."""

    path: Path
    environment: Mapping[str, str | int | bool] = field(default_factory=dict)
    when_moved: WhenMoved = WhenMoved.REFUSE

    @classmethod
    def of(
        cls, run: Mapping[str, Any], *, store: Store, when_moved: WhenMoved = WhenMoved.REFUSE
    ) -> "RecoveryPoint":
        """The recovery point of the run that `run` (asset, inputs, settings, code, environment) describes."""
        environment = run.get("environment", {})
        rest = {name: value for name, value in run.items() if name != "environment"}
        same_run, here = fingerprint({**rest, "version": VERSION}), fingerprint(environment)[:16]
        name = f"{run['asset']}-{same_run}.{here}.pt"
        return cls(store.home.cache / "recovery" / name, environment, when_moved)

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace the file in one move; a kill at any moment leaves the old one or the new one.

        Raises:
            StorageError: the disk is full, or the folder cannot be written.
        """
        buffer = io.BytesIO()
        torch.save({**state, "version": VERSION, "environment": dict(self.environment)}, buffer)
        body = buffer.getvalue()
        replace_file(self.path, hashlib.sha256(body).hexdigest().encode() + body)
        self._sweep()

    def read(self) -> dict[str, Any] | None:
        """What was written last, or None where there is nothing to go on from.

        A state from another environment, which `when_moved` has to allow, says so at the end of its `moves`:
        `after_epoch`, and what differs, `before` and `now`.

        Raises:
            AlteredVersion: the file is damaged, or of another version.
            InputError: the run was begun in another environment and is not finished.
        """
        if self.path.exists():
            return _load(self.path)
        moved = self._from_elsewhere()
        if moved is None or self.when_moved is WhenMoved.RESTART:
            return None
        state = _load(moved)
        before = state.get("environment", {})
        names = sorted(
            name for name in {*before, *self.environment} if before.get(name) != self.environment.get(name)
        )
        changes = ", ".join(f"{name} {before.get(name)}, now {self.environment.get(name)}" for name in names)
        if state.get("finished"):
            logger.info("this run was finished under other conditions (%s): it begins anew here", changes)
            return None
        if self.when_moved is WhenMoved.RESUME:
            logger.warning(
                "going on under other conditions, the result is not the same to the bit: %s", changes
            )
            move = {
                "after_epoch": state.get("epoch"),
                "before": {name: before.get(name) for name in names},
                "now": {name: self.environment.get(name) for name in names},
            }
            return {**state, "moves": [*state.get("moves", []), move]}
        raise InputError(
            f"a run with these settings got to epoch {state.get('epoch')} under other conditions "
            f"({changes}); going on here would not end with the same bits",
            where=str(moved),
            mend="Set that back in compute to go on exactly, or set compute.when_moved to resume (goes on "
            "here, and the checkpoint's record notes it) or to restart (trains from the beginning).",
        )

    def _from_elsewhere(self) -> Path | None:
        """The newest point of the same run from another environment."""
        run = self.path.name.split(".")[0]
        points = written_at(self.path.parent.glob(f"{run}.*.pt"))
        return max(points, key=points.__getitem__, default=None)

    def _sweep(self) -> None:
        """Delete the asset's oldest recovery points that no run goes on from, and parts that none writes."""
        asset, now = self.path.name.rsplit("-", 1)[0], time.time()
        written = written_at(self.path.parent.glob(f"{asset}-*"))
        points = sorted((path for path in written if path.suffix == ".pt"), key=written.__getitem__)
        old = [path for path in points[:-KEPT] if now - written[path] > SECONDS_OF_A_RUN or _has_ended(path)]
        parts = [
            path for path in written if path.suffix == ".part" and now - written[path] > SECONDS_OF_A_PART
        ]
        for path in [*old, *parts]:
            path.unlink(missing_ok=True)


def _has_ended(path: Path) -> bool:
    """Whether no run goes on from a recovery point: it trained its last epoch, or it cannot be read."""
    try:
        return bool(_load(path).get("finished"))
    except (AlteredVersion, FileNotFoundError):
        return True


def _load(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    digest, body = content[:HEXADECIMALS], content[HEXADECIMALS:]
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise _unusable(path, "it is damaged")
    try:
        state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise _unusable(path, "it holds more than numbers") from error
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise _unusable(path, "it is of another version")
    return state


def _unusable(path: Path, why: str) -> AlteredVersion:
    return AlteredVersion(
        f"{path}: the recovery point cannot be used, {why}. Delete it to train from the beginning."
    )
