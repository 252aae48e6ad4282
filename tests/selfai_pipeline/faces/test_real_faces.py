"""On photographs: exactly one face each, aligned. They stay outside of the project."""

import datetime
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from selfai_pipeline.faces.align import align_day
from selfai_pipeline.faces.alignment import Points, placed
from selfai_pipeline.faces.detector import Detection, Detector
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.pictures.decoding import decode_rgb
from selfai_pipeline.pictures.prune import prune_day
from selfai_pipeline.pictures.settings import PruneSettings
from selfai_pipeline.store import Store

Pixels = npt.NDArray[np.uint8]

DATA = Path(os.environ.get("SELFAI_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
FOLDERS = ["london/images", "london/smiling", "scut-fbp5500-train/images"]


def pictures_in(folder: str) -> list[Path]:
    """About a hundred pictures, spread over the folder."""
    files = sorted((DATA / folder).glob("*.jpg"))
    if not files:
        pytest.skip(f"no pictures in {DATA / folder}: set SELFAI_TEST_DATA to a folder that holds {folder}")
    return files[:: max(1, len(files) // 100)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_photographs_of_faces_pass_both_stages(folder: str, tmp_path: Path, detector: Detector) -> None:
    files = pictures_in(folder)[::5]
    store = Store.open(tmp_path)
    rows = [
        {
            "image_id": store.pictures.put(file.read_bytes()),
            "url": f"file:{file.name}",
            "source": "photographs",
            "fetched_at": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
            "status": "stored",
            **dict.fromkeys(
                [
                    "reason",
                    "unchanged_since",
                    "licence",
                    "format",
                    "bytes",
                    "width",
                    "height",
                    "fetched_sha256",
                ]
            ),
            "orientation": 1,
            "attributes": "{}",
        }
        for file in files
    ]
    crawl = store.tables.write(rows, asset="raw_crawl", partition="2026-01-02")
    pruned = prune_day(crawl, store=store, settings=PruneSettings())
    assert store.tables.facts(pruned)["counts"] == {"kept": len(files)}
    faces = store.tables.read(align_day(pruned, store=store, detector=detector, settings=FaceSettings()))
    assert set(faces["faces_found"].to_pylist()) == {1}
    assert faces["reason"].null_count == len(files)
    assert min(faces["detection_score"].to_pylist()) > 0.95
    assert np.median(faces["residual_px"].to_pylist()) < 4.5
    assert max(faces["residual_px"].to_pylist()) < 9


@pytest.mark.parametrize("folder", FOLDERS)
def test_turning_a_photograph_hardly_moves_its_aligned_eyes(
    folder: str,
    largest_face: Callable[..., Detection | None],
    transform: Callable[..., tuple[Pixels, Points]],
    moved_in_crop: Callable[[Points, Points], Points],
) -> None:
    files = pictures_in(folder)[::4]
    moved = []
    for file, angle in zip(files, np.linspace(-45, 45, len(files)), strict=True):
        picture = decode_rgb(file.read_bytes(), max_pixels=10**7)
        turned, matrix = transform(picture, angle=angle)
        before, after = largest_face(picture), largest_face(turned)
        assert before is not None
        assert after is not None
        moved.append(moved_in_crop(placed(before.landmarks, matrix), after.landmarks)[:2].mean())
    assert np.median(moved) < 1.5
    assert max(moved) < 4
