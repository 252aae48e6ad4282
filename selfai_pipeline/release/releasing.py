"""The bundle of the champion under `releases/`, and what a home knows of the bundles that it released."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfai_pipeline.errors import InputError, SelfaiError
from selfai_pipeline.lineage.promotions import Champion, read_promotions
from selfai_pipeline.lineage.registry import MODEL, Registry
from selfai_pipeline.picture_store import SHA256_HEX
from selfai_pipeline.release.bundle import PARITY, SUMS, make_bundle, write_bundle
from selfai_pipeline.release.champion import champion_now
from selfai_pipeline.release.decision import RemovedInputs
from selfai_pipeline.release.examination import comparison_of
from selfai_pipeline.release.model_registry import SCORER, ModelRegistry
from selfai_pipeline.release.settings import ReleaseSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef, TableRef
from selfai_pipeline.training.checkpoint_records import load_record


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


def known_bundles(store: Store) -> set[str]:
    """The fingerprints of the bundles that the asset `release_bundle` made in this store."""
    tables = store.tables
    found: set[str] = set()
    for record in tables.records("release_bundle"):
        if isinstance(record.ref, TableRef):
            rows = tables.read(record.ref, ["name", "sha256"]).to_pylist()
            found.update(row["sha256"] for row in rows if row["name"] == SUMS)
    return found


def known_weights(checkpoint_sha256: str, *, store: Store) -> str | None:
    """The hash of the weights of a scorer in this store; None where it has no such scorer."""
    if not SHA256_HEX.fullmatch(checkpoint_sha256):
        return None
    try:
        record = load_record(CheckpointRef(SCORER, WHOLE, checkpoint_sha256, rows=0), store=store)
    except SelfaiError:
        return None
    return str(record.get("weights_sha256"))


def bundle_table(files: Mapping[str, bytes], *, store: Store, facts: Mapping[str, Any]) -> TableRef:
    """A row a file of a bundle, as the version that the asset hands out."""
    rows = [
        {"name": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in sorted(files.items())
    ]
    return store.tables.write(rows, asset="release_bundle", facts=facts)
