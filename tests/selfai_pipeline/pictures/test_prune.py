"""A day is pruned: every stored picture has a row, a measure and, where it goes, a reason."""

import datetime
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from selfai_pipeline.errors import MissingVersion
from selfai_pipeline.picture_store import PictureStore
from selfai_pipeline.pictures.measures import Pixels
from selfai_pipeline.pictures.prune import prune_day
from selfai_pipeline.pictures.settings import PruneSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record, TableRef

DAY = "2026-01-02"


def scene(seed: int, *, height: int = 200, width: int = 240) -> Pixels:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (11, 11, 3), dtype=np.uint8)
    smooth = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def encoded(pixels: Pixels, kind: str = "PNG", **options: Any) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, kind, **options)
    return sink.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path)


def crawled(store: Store, pictures: Sequence[tuple[str, bytes]], **columns: Any) -> TableRef:
    """A raw_crawl of stored pictures, each an (url, bytes)."""
    rows = []
    for url, content in pictures:
        image_id = store.pictures.put(content)
        row = {
            "image_id": image_id,
            "url": url,
            "source": "a-source",
            "fetched_at": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
            "status": "stored",
            "reason": None,
            "unchanged_since": None,
            "licence": None,
            "format": None,
            "bytes": len(content),
            "width": None,
            "height": None,
            "orientation": 1,
            "fetched_sha256": image_id,
            "attributes": "{}",
        }
        rows.append(row | columns)
    return store.tables.write(rows, asset="raw_crawl", partition=DAY)


def pruned(store: Store, pictures: Sequence[tuple[str, bytes]], **settings: Any) -> dict[str, dict[str, Any]]:
    """Rows of the pruned set by URL."""
    ref = prune_day(crawled(store, pictures), store=store, settings=PruneSettings(**settings))
    return {row["url"]: row for row in store.tables.read(ref).to_pylist()}


def test_a_good_picture_is_kept_with_its_measures(store: Store) -> None:
    content = encoded(scene(0))
    row = pruned(store, [("u", content)])["u"]
    assert row["kept"]
    assert row["reason"] is None
    assert (row["width"], row["height"]) == (240, 200)
    assert row["aspect"] == pytest.approx(1.2)
    assert row["bits_per_pixel"] == pytest.approx(8 * len(content) / (200 * 240))
    assert len(row["perceptual_hash"]) == 32
    assert 0 < row["entropy"] <= 8


def test_each_rule_has_its_reason(store: Store) -> None:
    good = scene(1)
    blurred = np.asarray(cv2.GaussianBlur(good, (0, 0), 12), dtype=np.uint8)
    two_tone = np.full((200, 200, 3), 90, dtype=np.uint8)
    two_tone[::2] = 160
    bad = {
        "too_small": scene(2, height=60, width=80),
        "extreme_aspect": scene(3, height=100, width=600),
        "too_dark": good // 16,
        "too_bright": 255 - good // 32,
        "low_contrast": good // 32 + 100,
        "low_information": two_tone,
        "blurred": blurred,
    }
    rows = pruned(store, [(reason, encoded(pixels)) for reason, pixels in bad.items()])
    assert {url: row["reason"] for url, row in rows.items()} == {reason: reason for reason in bad}
    assert all(row["brightness"] is not None for row in rows.values())


def test_a_picture_of_few_bits_is_heavily_compressed(store: Store) -> None:
    content = encoded(scene(4), "JPEG", quality=5)
    assert pruned(store, [("u", content)], min_bits_per_pixel=3)["u"]["reason"] == "heavily_compressed"


def test_hints_and_colour_have_reasons_once_their_thresholds_are_set(store: Store) -> None:
    grey = np.repeat(scene(20)[:, :, :1], 3, axis=2)
    page = np.full((300, 400, 3), 240, dtype=np.uint8)
    for line in range(12):
        cv2.putText(
            page, "words and words", (10, 24 * line + 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (20, 90, 20)
        )
    pictures = {
        "letter_boxed": np.pad(scene(21), ((150, 150), (0, 0), (0, 0))),
        "colourless": grey,
        "screenshot": page,
        "collage": np.hstack([scene(22) // 2, scene(23) // 2 + 127]),
    }
    files = [(reason, encoded(pixels)) for reason, pixels in pictures.items()]
    careful = pruned(store, files, min_blur=0, min_entropy=0)
    assert {url: row["reason"] for url, row in careful.items() if not row["kept"]} == {
        "letter_boxed": "letter_boxed"
    }
    strict = {"min_saturation": 5, "max_screenshot": careful["screenshot"]["screenshot"] - 0.01}
    rows = pruned(store, files, min_blur=0, min_entropy=0, max_collage=0.9, **strict)
    assert {url: row["reason"] for url, row in rows.items()} == {reason: reason for reason in pictures}


def test_what_cannot_be_decoded_keeps_the_decoders_reason_and_the_rest_goes_on(store: Store) -> None:
    rows = pruned(
        store,
        [
            ("zero", b""),
            ("text", b"no picture at all"),
            ("cut", encoded(scene(5), "JPEG")[:-2000]),
            ("large", encoded(scene(6, height=400, width=400))),
            ("good", encoded(scene(7))),
        ],
        max_pixels=100_000,
    )
    reasons = {url: row["reason"] for url, row in rows.items()}
    assert reasons == {
        "zero": "empty_file",
        "text": "not_a_picture",
        "cut": "truncated",
        "large": "too_many_pixels",
        "good": None,
    }
    assert rows["text"]["width"] is None
    assert rows["text"]["perceptual_hash"] is None


def test_of_near_duplicates_the_one_with_the_most_pixels_stays(store: Store) -> None:
    large = scene(8, height=400, width=480)
    small = np.asarray(cv2.resize(large, (240, 200), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    rows = pruned(
        store,
        [
            ("small", encoded(small)),
            ("large", encoded(large)),
            ("again", encoded(small, "JPEG", quality=60)),
            ("other", encoded(scene(9))),
        ],
    )
    assert [url for url, row in rows.items() if row["kept"]] in (["large", "other"], ["other", "large"])
    for url in ("small", "again"):
        assert rows[url]["reason"] == "near_duplicate"
        assert rows[url]["duplicate_of"] == rows["large"]["image_id"]


def test_of_equally_large_near_duplicates_the_smallest_image_id_stays(store: Store) -> None:
    copies = [(str(quality), encoded(scene(10), "JPEG", quality=quality)) for quality in (70, 80, 90, 95)]
    rows = pruned(store, copies)
    (kept,) = [row for row in rows.values() if row["kept"]]
    assert kept["image_id"] == min(row["image_id"] for row in rows.values())


def test_one_picture_under_two_addresses_is_kept_once(store: Store) -> None:
    rows = pruned(store, [("b", encoded(scene(11))), ("a", encoded(scene(11)))])
    assert rows["a"]["kept"]
    assert rows["b"]["reason"] == "exact_duplicate"
    assert rows["b"]["duplicate_of"] == rows["a"]["image_id"]


def test_a_bad_picture_under_two_addresses_keeps_its_own_reason(store: Store) -> None:
    rows = pruned(store, [("b", b"text"), ("a", b"text")])
    assert {row["reason"] for row in rows.values()} == {"not_a_picture"}


def test_orientation_is_applied_before_measuring(store: Store) -> None:
    ref = prune_day(
        crawled(store, [("u", encoded(scene(12)))], orientation=6), store=store, settings=PruneSettings()
    )
    (row,) = store.tables.read(ref).to_pylist()
    assert (row["width"], row["height"], row["orientation"]) == (200, 240, 6)


@pytest.mark.parametrize("tagged_first", [True, False])
def test_of_one_picture_the_copy_that_knows_its_orientation_is_kept(store: Store, tagged_first: bool) -> None:
    """A file with EXIF and one that lost it are the same bytes in the store."""
    content = encoded(scene(16))
    orientations = {"a": 6, "b": 1} if tagged_first else {"a": 1, "b": 6}
    tables = [
        store.tables.read(crawled(store, [(url, content)], orientation=number))
        for url, number in orientations.items()
    ]
    ref = store.tables.write(
        [row for table in tables for row in table.to_pylist()], asset="raw_crawl", partition=DAY
    )
    rows = store.tables.read(prune_day(ref, store=store, settings=PruneSettings())).to_pylist()
    assert {row["url"]: row["orientation"] for row in rows} == orientations
    kept, other = sorted(rows, key=lambda row: not row["kept"])
    assert (kept["kept"], kept["orientation"]) == (True, 6)
    assert (kept["width"], kept["height"]) == (200, 240)
    assert (other["reason"], other["duplicate_of"]) == ("exact_duplicate", kept["image_id"])
    assert (other["width"], other["height"]) == (240, 200)


def test_without_a_count_of_usable_cores_all_of_the_machine_are_used(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert pruned(store, [("u", encoded(scene(17)))])["u"]["kept"]


def test_only_stored_pictures_have_a_row(store: Store) -> None:
    ref = prune_day(
        crawled(store, [("u", encoded(scene(13)))], status="refused", image_id=None),
        store=store,
        settings=PruneSettings(),
    )
    assert ref.rows == 0
    facts = store.tables.facts(ref)
    assert (facts["counts"], facts["state"], facts["crawled"]) == ({}, "empty", {"refused": 1})


def test_an_empty_day_gives_an_empty_table(store: Store) -> None:
    ref = prune_day(crawled(store, []), store=store, settings=PruneSettings())
    assert (ref.asset, ref.partition, ref.rows) == ("pruned_set", DAY, 0)
    assert store.tables.facts(ref)["state"] == "empty"


def test_facts_count_outcomes(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="selfai.pictures"):
        crawl = crawled(store, [("a", encoded(scene(14))), ("b", encoded(scene(14))), ("c", b"")])
        ref = prune_day(crawl, store=store, settings=PruneSettings())
    facts = store.tables.facts(ref)
    assert facts["counts"] == {"empty_file": 1, "exact_duplicate": 1, "kept": 1}
    assert (facts["state"], facts["crawled"]) == ("pruned", {"stored": 3})
    assert facts["measured_by"].startswith("measures ")
    assert f"pruned {DAY}: 1 kept of 3 (1 empty_file, 1 exact_duplicate)" in caplog.text


def test_the_same_crawl_gives_the_same_table_whatever_its_order_and_workers(store: Store) -> None:
    pictures = [(str(seed), encoded(scene(seed))) for seed in range(6)]
    pictures += [(f"copy {seed}", encoded(scene(seed), "JPEG")) for seed in range(6)]
    one = prune_day(crawled(store, pictures), store=store, settings=PruneSettings(workers=1))
    other = prune_day(crawled(store, pictures[::-1]), store=store, settings=PruneSettings(workers=3))
    assert one == other
    table = store.tables.read(one)
    assert table["image_id"].to_pylist() == sorted(table["image_id"].to_pylist())


def test_a_picture_that_left_the_store_is_an_error(store: Store) -> None:
    crawl = crawled(store, [("u", encoded(scene(15)))])
    (image_id,) = store.tables.read(crawl, ["image_id"])["image_id"].to_pylist()
    store.pictures.delete(image_id)
    with pytest.raises(MissingVersion):
        prune_day(crawl, store=store, settings=PruneSettings())


def test_a_cropped_or_mirrored_copy_is_a_near_duplicate(store: Store) -> None:
    original = scene(30, height=300, width=360)
    rows = pruned(
        store,
        [
            ("original", encoded(original)),
            ("cropped", encoded(original[15:, :342], "JPEG", quality=80)),
            ("mirrored", encoded(original[:, ::-1], "JPEG", quality=80)),
            ("other", encoded(scene(31))),
        ],
    )
    kept = {url for url, row in rows.items() if row["kept"]}
    assert kept - {"other"} <= {"original", "mirrored"}
    assert len(kept) == 2
    assert {row["reason"] for row in rows.values() if not row["kept"]} == {"near_duplicate"}
    rows = pruned(store, [("a", encoded(original)), ("b", encoded(original[15:]))], duplicate_correlation=1.1)
    assert all(row["kept"] for row in rows.values())


class CountingStore(Store):
    """A store that counts how often a picture's bytes are read."""

    reads = 0

    @property
    def pictures(self) -> PictureStore:
        store = self

        class Counting(PictureStore):
            def get(self, sha256: str) -> bytes:
                CountingStore.reads += 1
                return super().get(sha256)

        return Counting(store.files, "pictures")


@pytest.fixture
def counted(store: Store) -> CountingStore:
    CountingStore.reads = 0
    return CountingStore(store.home, store.files)


def made_current(store: Store, ref: TableRef) -> None:
    store.tables.point(Record(ref, code_version="", settings={}, inputs={}))


PICTURES = [
    *((str(seed), encoded(scene(seed))) for seed in range(4)),
    ("a copy", encoded(scene(0), "JPEG")),
    ("cut", encoded(scene(5), "JPEG")[:-2000]),
]


@pytest.mark.parametrize("settings", [{}, {"min_brightness": 130.0}, {"duplicate_radius": 0}])
def test_other_thresholds_are_applied_without_decoding_and_give_the_same_table(
    counted: CountingStore, settings: dict[str, Any]
) -> None:
    crawl = crawled(counted, PICTURES)
    made_current(counted, prune_day(crawl, store=counted, settings=PruneSettings()))
    CountingStore.reads = 0
    again = prune_day(crawl, store=counted, settings=PruneSettings(**settings))
    # What could not be decoded is tried again: another limit may let it pass.
    assert CountingStore.reads == 1
    made_current(counted, counted.tables.write([], asset="pruned_set", partition=DAY))
    assert prune_day(crawl, store=counted, settings=PruneSettings(**settings)) == again
    assert CountingStore.reads > len(PICTURES)


def test_values_of_other_code_or_of_a_damaged_version_are_measured_again(
    counted: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawl = crawled(counted, PICTURES)
    ref = prune_day(crawl, store=counted, settings=PruneSettings())
    made_current(counted, ref)
    CountingStore.reads = 0
    with monkeypatch.context() as patch:
        patch.setattr("selfai_pipeline.pictures.examine.MEASURES", "another")
        prune_day(crawl, store=counted, settings=PruneSettings())
    assert CountingStore.reads == len(PICTURES)
    counted.files.local_path(counted.tables.path(ref)).write_bytes(b"damaged")
    assert prune_day(crawl, store=counted, settings=PruneSettings()) == ref
    assert CountingStore.reads == 2 * len(PICTURES)


def test_a_smaller_limit_of_pixels_holds_for_what_was_measured_before(store: Store) -> None:
    crawl = crawled(store, PICTURES[:1])
    made_current(store, prune_day(crawl, store=store, settings=PruneSettings()))
    ref = prune_day(crawl, store=store, settings=PruneSettings(max_pixels=10_000))
    assert store.tables.read(ref)["reason"].to_pylist() == ["too_many_pixels"]


def test_a_picture_that_left_the_store_is_an_error_even_if_it_was_measured(store: Store) -> None:
    crawl = crawled(store, PICTURES[:1])
    made_current(store, prune_day(crawl, store=store, settings=PruneSettings()))
    store.pictures.delete(store.tables.read(crawl, ["image_id"])["image_id"][0].as_py())
    with pytest.raises(MissingVersion):
        prune_day(crawl, store=store, settings=PruneSettings())
