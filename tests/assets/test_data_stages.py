"""The data stages, each materialized for real in a temporary folder, on pictures good and bad."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np
import pytest
from PIL import Image

from assets import policies
from assets.aligned_faces import WARNINGS, aligned_faces, face_warnings
from assets.common import judged
from assets.graph import is_current
from assets.pruned_set import pruned_set
from assets.raw_crawl import crawl_verdicts, raw_crawl
from selfai_pipeline import workers
from selfai_pipeline.faces import finding
from selfai_pipeline.faces.alignment import fit, placed, rms, template
from selfai_pipeline.sources.gallery.plan import Kind, plan_gallery
from selfai_pipeline.sources.gallery.portraits import render_portrait
from selfai_pipeline.sources.gallery.settings import GallerySettings
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.outcomes import STORED, Found, Outcome
from selfai_pipeline.sources.settings import PagesSource, UrlListSource
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CHECKS, Record, TableRef

Rows = list[dict[str, Any]]


def changed(rows: Rows, **values: Any) -> Rows:
    """The rows, the first of them with other values."""
    return [{**rows[0], **values}, *rows[1:]]


def without_first(rows: Rows) -> Rows:
    return rows[1:]


@pytest.fixture(scope="module")
def portraits() -> list[bytes]:
    """Three rendered portraits, as PNG files."""
    items = plan_gallery(GallerySettings(days=["2026-02-03"], portraits_per_day=12))["2026-02-03"]
    shown = [item.portrait for item in items if item.kind is Kind.PORTRAIT and item.portrait is not None]
    pictures = [render_portrait(portrait, typical_side=300).pixels for portrait in shown[:3]]
    return [cv2.imencode(".png", pixels[..., ::-1])[1].tobytes() for pixels in pictures]


def test_a_day_without_pictures_is_an_explicit_empty_table(work: Any, verdicts: Any, errors: Any) -> None:
    for asset in (raw_crawl, pruned_set, aligned_faces):
        result = work.materialize(asset, days=[work.day])
        assert result.success, errors(result)
        assert set(verdicts(result).values()) == {True}
        record = work.record(asset.key.to_user_string(), work.day)
        assert record.ref.rows == 0
        assert work.store.tables.facts(record.ref)["state"] == "empty"


def test_bad_pictures_become_rows_with_a_reason_and_good_ones_go_on(
    work: Any, picture: Callable[..., bytes]
) -> None:
    jpeg = picture(format="JPEG", quality=90)
    orientation = Image.Exif()
    orientation[0x0112] = 6
    files = {
        "good.png": picture(seed=1),
        "zero.jpg": b"",
        "text.jpg": b"<html>no picture</html>",
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "grey.png": picture("L", seed=2),
        "alpha.png": picture("RGBA", seed=3),
        "print.jpg": picture("CMYK", seed=4, format="JPEG", quality=91),
        "turned.jpg": picture(size=(320, 240), seed=5, format="JPEG", quality=92, exif=orientation),
        "again.png": picture(seed=1, size=(280, 280)),
        "same.png": picture(seed=1),
        "tiny.png": picture(size=(20, 20)),
        "huge.png": huge_png(),
    }
    for name, content in files.items():
        (work.folder / name).write_bytes(content)

    assert work.materialize(raw_crawl, pruned_set, days=[work.day]).success

    crawled = {name: row["reason"] for name, row in work.by_name("raw_crawl", work.day).items()}
    refused = {name: reason for name, reason in crawled.items() if reason}
    assert refused == {
        "zero.jpg": "empty_file",
        "text.jpg": "not_a_picture",
        "truncated.jpg": "truncated",
        "huge.png": "too_many_pixels",
    }
    pruned = work.by_name("pruned_set", work.day)
    assert {name: row["reason"] for name, row in pruned.items() if not row["kept"]} == {
        "tiny.png": "too_small",
        "same.png": "exact_duplicate",
        "again.png": "near_duplicate",
    }
    kept = {"good.png", "grey.png", "alpha.png", "print.jpg", "turned.jpg"}
    assert {name for name, row in pruned.items() if row["kept"]} == kept
    assert (pruned["turned.jpg"]["width"], pruned["turned.jpg"]["height"]) == (240, 320)


def huge_png() -> bytes:
    """The header of a picture of 100 megapixels; no pixel of it is ever decoded."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", b""), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_metadata_counts_rows_and_names_the_hash(work: Any, picture: Callable[..., bytes]) -> None:
    (work.folder / "good.png").write_bytes(picture())
    result = work.materialize(raw_crawl, days=[work.day])
    (event,) = result.get_asset_materialization_events()
    ref = work.record("raw_crawl", work.day).ref
    assert event.materialization.metadata["sha256"].value == ref.sha256
    assert event.materialization.metadata["dagster/row_count"].value == 1
    assert event.materialization.tags["dagster/data_version"] == ref.sha256


def test_the_crawl_shows_counts_hosts_bytes_and_thumbnails_and_no_address(
    work: Any, picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last try, after which the day is made without the source that does not answer.
    monkeypatch.setattr(policies, "RETRIES", policies.RETRIES._replace(max_retries=0))
    (work.folder / "good.png").write_bytes(picture())
    (work.folder / "text.png").write_bytes(b"no picture")
    rows = [f"http://127.0.0.1:1/secret-{number}.jpg,{work.day}" for number in range(3)]
    (work.home.root / "list.csv").write_text("\n".join(["url,date", *rows, rows[0], "http://127.0.0.1:1/,x"]))
    listed = UrlListSource(
        name="listed", path="list.csv", date_column="date", allowed_addresses=["127.0.0.1:1"]
    )
    work.declare(work.source(), listed)
    result = work.materialize(raw_crawl, days=[work.day])
    (event,) = result.get_asset_materialization_events()
    shown = {name: one.value for name, one in event.materialization.metadata.items()}
    assert shown["counts"] == {"connection_refused": 3, "not_a_picture": 1, "stored": 1}
    assert shown["hosts"] == {"127.0.0.1": 3}
    assert shown["bytes_stored"] == work.by_name("raw_crawl", work.day)["good.png"]["bytes"]
    assert shown["pictures_per_s"] > 0
    assert "it cannot be reached" in shown["unavailable"]["listed"]
    assert shown["left_out"] == {
        "listed": {"bad_date": {"rows": 1, "first_line": 6}, "duplicate": {"rows": 1}}
    }
    assert shown["thumbnails"].endswith(f"/previews/raw_crawl/{work.day}.jpg")
    with Image.open(work.home.previews / "raw_crawl" / f"{work.day}.jpg") as sheet:
        assert sheet.format == "JPEG"
    assert "secret" not in str(shown)


def test_a_stage_without_its_input_says_what_to_materialize_first(work: Any, errors: Any) -> None:
    result = work.materialize(pruned_set, days=[work.day])
    assert not result.success
    message = f"raw_crawl, {work.day}: nothing has been materialized here yet. Materialize raw_crawl first."
    assert message in errors(result)


@pytest.fixture
def crawled(work: Any, portraits: list[bytes]) -> Any:
    """The workplace after a crawl of three portraits."""
    for number, content in enumerate(portraits):
        (work.folder / f"{number}.png").write_bytes(content)
    assert work.materialize(raw_crawl, days=[work.day]).success
    return work


def test_a_lost_picture_fails_the_completeness_of_the_crawl(crawled: Any) -> None:
    ref = crawled.store.tables.current("raw_crawl", crawled.day).ref
    crawled.store.pictures.delete(crawled.rows("raw_crawl", crawled.day)[0]["image_id"])
    judged_again = {one.check_name: one.passed for one in crawl_verdicts(ref, crawled.store)}
    assert judged_again == {"completeness": False, "sanity": True, "quality_floor": True}


def test_the_next_crawl_brings_a_lost_picture_back(crawled: Any, verdicts: Any) -> None:
    before = crawled.rows("raw_crawl", crawled.day)
    crawled.store.pictures.delete(before[0]["image_id"])
    result = crawled.materialize(raw_crawl, days=[crawled.day])
    assert verdicts(result) == {"completeness": True, "sanity": True, "quality_floor": True}
    assert [row["image_id"] for row in crawled.rows("raw_crawl", crawled.day)] == [
        row["image_id"] for row in before
    ]


@pytest.mark.parametrize("days", [1, 2])
def test_a_source_that_cannot_be_reached_is_named_and_stops_nothing_behind_it(
    work: Any, portraits: list[bytes], verdicts: Any, errors: Any, days: int
) -> None:
    start = "http://127.0.0.1:1"
    down = PagesSource(
        name="down",
        start_urls=[f"{start}/a/{{day}}", f"{start}/b/{{day}}", f"{start}/c/{{day}}"],
        allowed_addresses=["127.0.0.1:1"],
    )
    both = [work.day, work.next_day][:days]
    for day in both:
        (work.folder / day).mkdir()
        (work.folder / day / "0.png").write_bytes(portraits[0])
    here = [work.source(name=f"mine-{day}", path=str(work.folder / day), day=day) for day in both]
    work.declare(down, *here)
    result = work.materialize(raw_crawl, pruned_set, days=both)
    assert result.success, errors(result)
    assert [row["kept"] for day in both for row in work.rows("pruned_set", day)] == [True] * days
    failed = [one for one in result.get_asset_check_evaluations() if not one.passed]
    assert {one.check_name for one in failed} == {"completeness"}
    assert f"source down, {both[-1]}: it cannot be reached" in failed[-1].description
    assert verdicts(result)["quality_floor"]
    assert not is_current(raw_crawl, work.day, store=work.store)


def test_a_stored_row_without_its_facts_fails_the_sanity_of_the_crawl(crawled: Any, verdicts: Any) -> None:
    image_id = crawled.rows("raw_crawl", crawled.day)[0]["image_id"]
    with Journal(crawled.home.journal_url) as journal:
        found = Found((crawled.folder / "vanished.png").as_uri(), "file")
        journal.record("mine", crawled.day, Outcome(found, STORED, "", image_id=image_id))
    result = crawled.materialize(raw_crawl, days=[crawled.day])
    assert verdicts(result) == {"completeness": True, "sanity": False, "quality_floor": True}


def test_a_crawl_of_which_half_failed_is_below_the_floor(crawled: Any, verdicts: Any) -> None:
    for number in range(3):
        (crawled.folder / f"link-{number}.png").symlink_to(crawled.folder / "nowhere")
    result = crawled.materialize(raw_crawl, days=[crawled.day])
    assert verdicts(result) == {"completeness": True, "sanity": True, "quality_floor": False}


PRUNING = ("selfai_pipeline.pictures.prune", "prune_day")
ALIGNING = ("selfai_pipeline.faces.align", "align_day")


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        (without_first, "completeness"),
        (lambda rows: [rows[1], *rows[1:]], "completeness"),
        (lambda rows: changed(rows, perceptual_hash=None), "sanity"),
        (lambda rows: changed(rows, kept=False), "sanity"),
    ],
    ids=["a row lost", "one row lost, another twice", "kept without values", "dropped without a reason"],
)
def test_a_wrong_pruned_set_fails_its_check(
    crawled: Any, verdicts: Any, spoil: Any, change: Callable[[Rows], Rows], failing: str
) -> None:
    spoil(*PRUNING, change)
    result = crawled.materialize(pruned_set, days=[crawled.day])
    assert not result.success
    assert [name for name, passed in verdicts(result).items() if not passed] == [failing]


def test_a_day_of_junk_is_below_the_floor_of_pruning(work: Any, verdicts: Any, picture: Any) -> None:
    for number in range(19):
        (work.folder / f"{number}.png").write_bytes(picture(size=(20, 20), seed=number))
    assert work.materialize(raw_crawl, pruned_set, days=[work.day]).success, "too few to say anything"
    (work.folder / "good.png").write_bytes(picture())
    result = work.materialize(raw_crawl, pruned_set, days=[work.day])
    assert not result.success
    evaluations = [one for one in result.get_asset_check_evaluations() if not one.passed]
    (failed,) = evaluations
    assert failed.check_name == "quality_floor"
    assert failed.description == "1 of 20 pictures kept, where a tenth is needed"


@pytest.fixture
def pruned(crawled: Any) -> Any:
    """The workplace after three portraits were kept."""
    assert crawled.materialize(pruned_set, days=[crawled.day]).success
    return crawled


def test_portraits_give_a_face_each_with_its_crop(pruned: Any, verdicts: Any, errors: Any) -> None:
    result = pruned.materialize(aligned_faces, days=[pruned.day])
    assert result.success, errors(result)
    assert set(verdicts(result).values()) == {True}
    rows = pruned.rows("aligned_faces", pruned.day)
    assert len(rows) == 3
    for row in rows:
        crop = pruned.store.crops.get(row["crop_sha256"])
        assert struct.unpack(">II", crop[16:24]) == (224, 224)


def test_the_faces_say_what_they_were_found_on(pruned: Any, errors: Any) -> None:
    result = pruned.materialize(aligned_faces, days=[pruned.day])
    assert result.success, errors(result)
    (event,) = result.get_asset_materialization_events()
    ran_on = event.materialization.metadata["ran_on"].value
    assert ran_on["device"] == "cpu"
    assert ran_on["workers"] == 1, "three pictures do not pay for processes"
    ref = pruned.record("aligned_faces", pruned.day).ref
    assert pruned.store.tables.facts(ref)["found_by"] == ran_on["engine"]


@pytest.mark.parametrize("kills", [1, 10])
def test_a_worker_that_the_system_kills_is_worth_another_try(
    pruned: Any, errors: Any, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    """As it does where memory runs out: with SIGKILL."""
    start, to_come = workers._start, iter(range(kills))

    def started() -> Any:
        process = start()
        if next(to_come, None) is not None:
            process.kill()
        return process

    monkeypatch.setattr(workers, "_start", started)
    result = pruned.materialize(aligned_faces, days=[pruned.day], config={"workers": 2})
    if kills == 1:
        assert result.success, errors(result)
        assert len(pruned.rows("aligned_faces", pruned.day)) == 3
    else:
        assert not result.success
        assert "a worker process ended before its work was done: signal 9" in errors(result)
        assert len(list(to_come)) == 10 - 1 - policies.RETRIES.max_retries


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        (without_first, "completeness"),
        (lambda rows: [*rows, rows[0]], "completeness"),
        (lambda rows: changed(rows, residual_px=57.0), "sanity"),
        (lambda rows: changed(rows, residual_px=float("nan")), "sanity"),
        (lambda rows: changed(rows, border_fraction=1.5), "sanity"),
    ],
    ids=["a row lost", "a row too many", "large residual", "no residual", "border above 1"],
)
def test_a_wrong_table_of_faces_fails_its_check(
    pruned: Any, verdicts: Any, spoil: Any, change: Callable[[Rows], Rows], failing: str
) -> None:
    spoil(*ALIGNING, change)
    result = pruned.materialize(aligned_faces, days=[pruned.day])
    assert not result.success
    assert [name for name, passed in verdicts(result).items() if not passed] == [failing]


def test_a_lost_crop_fails_the_completeness_of_the_faces(pruned: Any, verdicts: Any) -> None:
    assert pruned.materialize(aligned_faces, days=[pruned.day]).success
    pruned.store.crops.delete(pruned.rows("aligned_faces", pruned.day)[0]["crop_sha256"])
    result = pruned.check(aligned_faces, days=[pruned.day])
    assert not result.success
    assert [name for name, passed in verdicts(result).items() if not passed] == ["completeness"]


def test_the_faces_show_counts_figures_and_histograms_and_no_picture_by_name(pruned: Any) -> None:
    result = pruned.materialize(aligned_faces, days=[pruned.day])
    (event,) = result.get_asset_materialization_events()
    shown = event.materialization.metadata
    assert shown["counts"].value == {"aligned": 3}
    figures = {record.data["measure"]: record.data for record in shown["figures"].records}
    assert len(figures) == 8
    assert 0.9 < figures["detection score"]["least"] <= figures["detection score"]["greatest"] <= 1
    assert shown["histograms"].value.startswith("![plot](data:image/png;base64,")
    assert shown["contact_sheet"].value.endswith(f"/previews/aligned_faces/{pruned.day}.jpg")
    for row in pruned.rows("aligned_faces", pruned.day):
        assert row["image_id"] not in str(shown)
        assert row["url"] not in str(shown)


def test_each_face_of_a_picture_is_a_row_where_all_count(
    work: Any,
    portraits: list[bytes],
    verdicts: Any,
    errors: Any,
    spoil: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finding, "_FEW", 2)
    monkeypatch.setattr(finding, "usable_cores", lambda: 2)
    pixels = [cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) for one in portraits[:2]]
    side = min(min(one.shape[:2]) for one in pixels)
    beside = np.hstack([cv2.resize(one, (side, side), interpolation=cv2.INTER_AREA) for one in pixels])
    (work.folder / "both.png").write_bytes(cv2.imencode(".png", beside)[1].tobytes())
    assert work.materialize(raw_crawl, pruned_set, days=[work.day]).success
    result = work.materialize(aligned_faces, days=[work.day], config={"which_face": "ALL"})
    assert result.success, errors(result)
    rows = work.rows("aligned_faces", work.day)
    assert [(row["face"], row["faces_found"], row["reason"]) for row in rows] == [(0, 2, None), (1, 2, None)]
    (event,) = result.get_asset_materialization_events()
    ran_on = event.materialization.metadata["ran_on"].value
    assert ran_on["workers"] == 1, "one picture, however many faces it has"
    spoil(*ALIGNING, without_first)
    result = work.materialize(aligned_faces, days=[work.day], config={"which_face": "ALL"})
    assert not result.success
    assert [name for name, passed in verdicts(result).items() if not passed] == ["completeness"]


def faces_of(store: Store, day: str, *, faces: int, wider: float = 0.0) -> TableRef:
    """A day of 50 pictures, the current version; in the crops the eyes are `wider` pixels too far apart."""
    target = template(crop_size=224, eye_distance=0.25, eye_height=0.46)
    landmarks = target + np.array([[-wider, 0], [wider, 0], [0, 0], [0, 0], [0, 0]])
    residual = rms(placed(landmarks, fit(landmarks, target)), target)
    rows = []
    for number in range(50):
        found = {
            **dict.fromkeys(["detection_score", "eye_distance_px", "border_fraction", "sharpness"], 1.0),
            **dict.fromkeys(["roll_degrees", "yaw_degrees", "pitch_degrees"], 0.0),
            "residual_px": residual + number / 1000,
            "box": [0.0, 0.0, 1.0, 1.0],
            "landmarks": landmarks.ravel().tolist(),
            "crop_sha256": f"{number}",
        }
        aligned = number < faces
        rows.append(
            {
                "image_id": f"{number:03}",
                **dict.fromkeys(["source", "url"], "mine"),
                "face": 0 if aligned else -1,
                "reason": None if aligned else "no_face",
                "faces_found": int(aligned),
                **(found if aligned else dict.fromkeys(found)),
                **dict.fromkeys(["perceptual_hash", "thumbnail"]),
            }
        )
    facts = {"template": target.tolist()}
    ref = store.tables.write(rows, asset="aligned_faces", partition=day, facts=facts)
    store.tables.point(Record(ref=ref, code_version="1", settings={}, inputs={}))
    return ref


def test_a_day_unlike_those_before_it_warns_and_is_used_all_the_same(work: Any) -> None:
    store = work.store
    for number in range(1, 5):
        faces_of(store, f"2026-01-0{number}", faces=48)
    usual = list(face_warnings(faces_of(store, "2026-01-05", faces=47), store, crop_size=224))
    assert [(one.check_name, one.passed) for one in usual] == [(name, True) for name in WARNINGS]
    odd_day = faces_of(store, "2026-01-06", faces=25, wider=6)
    odd = list(face_warnings(odd_day, store, crop_size=224))
    assert [(one.check_name, one.passed) for one in odd] == [(name, False) for name in WARNINGS]
    assert {one.severity for one in odd} == {dg.AssetCheckSeverity.WARN}
    store.tables.judge(odd_day, dict.fromkeys(CHECKS, True))
    judged(store, odd_day, odd)
    assert store.tables.has_passed(odd_day), "labels read the day"


@pytest.mark.parametrize(("crop_size", "passes"), [(128, False), (256, True)])
def test_the_bound_of_the_residual_follows_the_size_of_the_crop(
    pruned: Any, verdicts: Any, spoil: Any, crop_size: int, passes: bool
) -> None:
    spoil(*ALIGNING, lambda rows: changed(rows, residual_px=40.0))
    result = pruned.materialize(aligned_faces, days=[pruned.day], config={"crop_size": crop_size})
    assert verdicts(result)["sanity"] is passes


def test_pictures_without_faces_are_below_the_floor(work: Any, verdicts: Any, picture: Any) -> None:
    for number in range(19):
        (work.folder / f"{number}.png").write_bytes(picture(seed=number))
    data = (raw_crawl, pruned_set, aligned_faces)
    assert work.materialize(*data, days=[work.day]).success, "too few to say anything"
    (work.folder / "19.png").write_bytes(picture(seed=19))
    result = work.materialize(*data, days=[work.day])
    assert not result.success
    (failed,) = [one for one in result.get_asset_check_evaluations() if not one.passed]
    assert failed.asset_key == aligned_faces.key
    assert failed.check_name == "quality_floor"
    assert failed.description == "0 of 20 pictures give a face, where half is needed"


def test_a_changed_file_is_read_again(work: Any, picture: Callable[..., bytes], tmp_path: Path) -> None:
    file = work.folder / "one.png"
    file.write_bytes(picture(seed=1))
    assert work.materialize(raw_crawl, days=[work.day]).success
    (before,) = work.rows("raw_crawl", work.day)
    stat = file.stat()
    file.write_bytes(picture(seed=2))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert work.materialize(raw_crawl, days=[work.day]).success
    (after,) = work.rows("raw_crawl", work.day)
    assert after["image_id"] != before["image_id"]
