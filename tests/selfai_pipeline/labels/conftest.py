"""Upstream tables of the label stage, made with the ground alone, and rated pictures to fill them with."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

DATA = Path(__file__).parents[3].parent / "shared" / "data"


def picture_id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture
def image_id() -> Callable[[str], str]:
    """The image_id of the picture of a name."""
    return picture_id


@pytest.fixture
def crawled(store: Store) -> Callable[..., TableRef]:
    """A day of raw_crawl with a stored picture for each name (or `name: bytes` for given bytes)."""

    def write(
        names: Sequence[str] | Mapping[str, str],
        *,
        source: str = "faces",
        day: str = "2026-01-01",
        status: str = "stored",
    ) -> TableRef:
        content = names if isinstance(names, Mapping) else {name: name for name in names}
        nothing = dict.fromkeys(
            ["reason", "unchanged_since", "licence", "format", "bytes", "width", "height", "orientation"]
        )
        rows = [
            {
                **nothing,
                "image_id": picture_id(same) if status == "stored" else None,
                "url": f"file:///photos/{name}",
                "source": source,
                "fetched_at": datetime(2026, 1, 1, tzinfo=UTC),
                "status": status,
                "fetched_sha256": None,
                "attributes": json.dumps({"name": name}),
            }
            for name, same in content.items()
        ]
        return store.tables.write(rows, asset="raw_crawl", partition=day)

    return write


@pytest.fixture
def aligned(store: Store) -> Callable[..., TableRef]:
    """A day of aligned_faces: one crop a name, or none where `reason` says why."""

    def write(
        names: Sequence[str],
        *,
        day: str = "2026-01-01",
        hashes: Mapping[str, bytes] | None = None,
        thumbnails: Mapping[str, bytes] | None = None,
        reason: str | None = None,
        faces: int = 1,
    ) -> TableRef:
        nothing = dict.fromkeys(
            [
                "box",
                "landmarks",
                "detection_score",
                "residual_px",
                "eye_distance_px",
                "roll_degrees",
                "yaw_degrees",
                "pitch_degrees",
                "sharpness",
                "border_fraction",
            ]
        )
        rows = [
            {
                **nothing,
                "image_id": picture_id(name),
                "face": face if reason is None else -1,
                "source": "faces",
                "url": f"file:///photos/{name}",
                "reason": reason,
                "faces_found": faces,
                "crop_sha256": None if reason else picture_id(f"crop {face} of {name} on {day}"),
                "perceptual_hash": (hashes or {}).get(name),
                "thumbnail": (thumbnails or {}).get(name),
            }
            for name in names
            for face in range(faces)
        ]
        return store.tables.write(rows, asset="aligned_faces", partition=day)

    return write


@pytest.fixture
def annotated(store: Store) -> Callable[..., TableRef]:
    """The table `annotations` from tuples (name, annotator or None, score), with further columns by name."""

    def write(
        rows: Sequence[tuple[str, str | None, float]],
        *,
        counts: Mapping[str, int] | None = None,
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
        origin: str = "faces:ratings.csv",
    ) -> TableRef:
        table = [
            {
                "image_id": picture_id(name),
                "annotator": None if who is None else f"faces/{who}",
                "score": score,
                "ratings": (counts or {}).get(name, 1) if who is None else 1,
                "rated_at": None,
                "origin": origin,
                "original_score": score,
                "attributes": json.dumps((attributes or {}).get(name, {})),
                "annotator_group": None,
            }
            for name, who, score in rows
        ]
        return store.tables.write(table, asset="annotations")

    return write


@pytest.fixture
def crowd() -> Callable[..., list[tuple[str, str | None, float]]]:
    """Ratings of pictures p000, p001 ... by annotators a0, a1 ..., with true scores spread over 1..8."""

    def rate(*, pictures: int = 60, annotators: int = 4, noise: float = 0.7, seed: int = 0) -> Any:
        generator = np.random.default_rng(seed)
        truth = np.linspace(1, 8, pictures)
        bias = generator.normal(0, 0.4, annotators)
        return [
            (
                f"p{j:03}",
                f"a{i}",
                float(np.clip(truth[j] + bias[i] + noise * generator.normal(), 0, 9)),
            )
            for j in range(pictures)
            for i in range(annotators)
        ]

    return rate


@pytest.fixture
def shared_data() -> Path:
    """Real rated faces beside the repository."""
    if not DATA.is_dir():
        pytest.skip(f"the folder of real rated faces is not there: {DATA}")
    return DATA
