"""The data stages, each materialized for real in a temporary folder, on pictures good and bad."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from assets.aligned_faces import aligned_faces, aligned_faces_checks
from assets.annotations import annotations, annotations_checks
from assets.pruned_set import pruned_set, pruned_set_checks
from assets.raw_crawl import raw_crawl, raw_crawl_checks
from resources.environments import resources_for
from selfai_pipeline.environment import Environment
from selfai_pipeline.home import Home
from selfai_pipeline.sources.settings import FolderSource, RatingsFile, save_sources
from selfai_pipeline.store import Store

DAY = "2026-02-03"
Materialize = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pictures"
    place.mkdir()
    return place


@pytest.fixture
def materialize(home: Home, folder: Path) -> Materialize:
    ratings = RatingsFile(path=str(folder.parent / "ratings.csv"))
    save_sources(
        home.sources_file,
        [FolderSource(kind="folder", name="mine", path=str(folder), day=DAY, ratings=[ratings])],
    )

    def run(asset: dg.AssetsDefinition, checks: dg.AssetChecksDefinition, **more: Any) -> Any:
        return dg.materialize(
            [raw_crawl, pruned_set, aligned_faces, annotations, checks],
            selection=dg.AssetSelection.assets(asset),
            resources=resources_for(Environment.SAMPLE, home),
            raise_on_error=False,
            **more,
        )

    return run


def picture(mode: str = "RGB", size: tuple[int, int] = (300, 300), **options: Any) -> bytes:
    rng = np.random.default_rng(7)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    sharp = np.asarray(coarse.resize(size, Image.Resampling.NEAREST)) // 2 + rng.integers(
        0, 90, (*size[::-1], 3)
    )
    sink = io.BytesIO()
    Image.fromarray(sharp.astype(np.uint8)).convert(mode).save(sink, **{"format": "PNG", **options})
    return sink.getvalue()


def rows_of(store: Store, asset: str, partition: str = DAY) -> dict[str, dict[str, Any]]:
    table = store.tables.read_all(store.tables.snapshot(asset, [partition])).to_pylist()
    return {row.get("url", "").removeprefix("file:"): row for row in table}


def test_a_day_without_pictures_is_an_explicit_empty_table(
    materialize: Materialize, folder: Path, store: Store
) -> None:
    for asset, checks in (
        (raw_crawl, raw_crawl_checks),
        (pruned_set, pruned_set_checks),
        (aligned_faces, aligned_faces_checks),
    ):
        result = materialize(asset, checks, partition_key=DAY)
        assert result.success
        assert all(one.passed for one in result.get_asset_check_evaluations())
        record = store.tables.current(asset.key.to_user_string(), DAY)
        assert record is not None
        assert record.ref.rows == 0
        assert store.tables.facts(record.ref)["state"] == "empty"  # type: ignore[arg-type]


def test_bad_pictures_become_rows_with_a_reason_and_good_ones_go_on(
    materialize: Materialize, folder: Path, store: Store
) -> None:
    jpeg = picture(format="JPEG", quality=90)
    orientation = Image.Exif()
    orientation[0x0112] = 6
    files = {
        "good.png": picture(),
        "zero.jpg": b"",
        "text.jpg": b"<html>no picture</html>",
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "grey.png": picture("L"),
        "alpha.png": picture("RGBA"),
        "print.jpg": picture("CMYK", format="JPEG", quality=91),
        "turned.jpg": picture(size=(320, 240), format="JPEG", quality=92, exif=orientation),
        "tiny.png": picture(size=(20, 20)),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "huge.png").write_bytes(huge_png())

    assert materialize(raw_crawl, raw_crawl_checks, partition_key=DAY).success
    assert materialize(pruned_set, pruned_set_checks, partition_key=DAY).success

    crawled = {name: row["reason"] for name, row in rows_of(store, "raw_crawl").items() if row["reason"]}
    assert crawled == {
        "zero.jpg": "empty_file",
        "text.jpg": "not_a_picture",
        "truncated.jpg": "truncated",
        "huge.png": "too_many_pixels",
    }
    pruned = rows_of(store, "pruned_set")
    assert set(pruned) == set(files) - set(crawled)
    assert pruned["tiny.png"]["reason"] == "too_small"
    assert (pruned["turned.jpg"]["width"], pruned["turned.jpg"]["height"]) == (240, 320)
    assert all(row["reason"] in (None, "near_duplicate", "too_small") for row in pruned.values())


def huge_png() -> bytes:
    """The header of a picture of 100 megapixels; no pixel of it is ever decoded."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", b""), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_metadata_counts_rows_and_names_the_hash(
    materialize: Materialize, folder: Path, store: Store
) -> None:
    (folder / "good.png").write_bytes(picture())
    result = materialize(raw_crawl, raw_crawl_checks, partition_key=DAY)
    (event,) = result.get_asset_materialization_events()
    record = store.tables.current("raw_crawl", DAY)
    assert record is not None
    metadata = event.materialization.metadata
    assert metadata["sha256"].value == record.ref.sha256
    assert metadata["dagster/row_count"].value == 1
    assert event.materialization.tags["dagster/data_version"] == record.ref.sha256


def test_a_stage_without_its_input_says_what_to_materialize_first(materialize: Materialize) -> None:
    result = materialize(pruned_set, pruned_set_checks, partition_key=DAY)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    text = str(failure.step_failure_data.error)
    assert f"raw_crawl, {DAY}: nothing has been materialized here yet. Materialize raw_crawl first." in text


def test_a_lost_picture_fails_the_check_of_completeness(
    materialize: Materialize, folder: Path, store: Store
) -> None:
    (folder / "good.png").write_bytes(picture())
    assert materialize(raw_crawl, raw_crawl_checks, partition_key=DAY).success
    (row,) = rows_of(store, "raw_crawl").values()
    store.pictures.delete(row["image_id"])
    results = raw_crawl_checks(store.tables.snapshot("raw_crawl"), store=store)
    passed = {result.check_name: result.passed for result in results}
    assert passed == {"completeness": False, "sanity": True, "quality_floor": True}


def test_ratings_come_in_on_the_common_scale(materialize: Materialize, folder: Path, store: Store) -> None:
    (folder / "good.png").write_bytes(picture())
    (folder.parent / "ratings.csv").write_text("image,annotator,score\ngood.png,ann,7\ngood.png,ben,5\n")
    assert materialize(raw_crawl, raw_crawl_checks, partition_key=DAY).success
    result = materialize(annotations, annotations_checks)
    assert result.success, [str(e.step_failure_data.error) for e in result.all_events if e.is_step_failure]
    table = store.tables.read_all(store.tables.snapshot("annotations"))
    assert table.column("score").to_pylist() == [7.0, 5.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,score\ngood.png,7\n", "annotator"),
        ("image,annotator,score\ngood.png,ann,70\n", "70"),
        ("", "empty"),
    ],
)
def test_a_bad_ratings_file_fails_with_the_file_and_the_mend(
    materialize: Materialize, folder: Path, content: str, message: str
) -> None:
    (folder / "good.png").write_bytes(picture())
    (folder.parent / "ratings.csv").write_text(content)
    assert materialize(raw_crawl, raw_crawl_checks, partition_key=DAY).success
    result = materialize(annotations, annotations_checks)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    text = str(failure.step_failure_data.error)
    assert "ratings.csv" in text
    assert message in text
