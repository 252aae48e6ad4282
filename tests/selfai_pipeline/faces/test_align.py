"""A day is aligned: every kept picture has one row, and a crop or a reason."""

import io
import tracemalloc
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from selfai_pipeline.faces import align
from selfai_pipeline.faces.align import align_day, outcomes_of
from selfai_pipeline.faces.alignment import template
from selfai_pipeline.faces.contact_sheet import write_contact_sheet
from selfai_pipeline.faces.detector import Detector
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.picture_store import PictureStore
from selfai_pipeline.pictures import limits
from selfai_pipeline.schemas import ALIGNED_FACES, PRUNED_SET
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

Pixels = npt.NDArray[np.uint8]
DrawFace = Callable[..., Pixels]

DAY = "2026-01-02"


def encoded(pixels: Pixels, kind: str = "PNG", **options: object) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, kind, **options)
    return sink.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path)


def pruned(store: Store, pictures: Sequence[tuple[str, bytes]], **columns: Any) -> TableRef:
    """A pruned set that kept every picture, each an (url, bytes)."""
    rows = []
    for url, content in pictures:
        row = {
            "image_id": store.pictures.put(content),
            "url": url,
            "source": "a-source",
            "kept": True,
            "reason": None,
            "duplicate_of": None,
            "orientation": 1,
            "perceptual_hash": bytes(range(32)),
            "thumbnail": bytes(4096),
            **dict.fromkeys(["width", "height"], 1),
            **dict.fromkeys(["brightness", "contrast", "blur", "entropy", "saturation"], 1.0),
            **dict.fromkeys(["border", "screenshot", "collage"], 0.0),
            **dict.fromkeys(["aspect", "bits_per_pixel"], 1.0),
        }
        rows.append(row | columns)
    return store.tables.write(rows, asset="pruned_set", partition=DAY)


def aligned(
    store: Store, detector: Detector, pictures: Sequence[tuple[str, bytes]], **settings: Any
) -> dict[str, dict[str, Any]]:
    """Rows of the aligned faces by URL."""
    ref = align_day(
        pruned(store, pictures), store=store, detector=detector, settings=FaceSettings(**settings)
    )
    return {row["url"]: row for row in store.tables.read(ref).to_pylist()}


def opened(store: Store, row: dict[str, Any]) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(store.crops.get(row["crop_sha256"]))))


def test_a_face_is_cut_out_upon_the_template(store: Store, detector: Detector, draw_face: DrawFace) -> None:
    row = aligned(store, detector, [("u", encoded(draw_face()))])["u"]
    assert (row["face"], row["reason"], row["faces_found"]) == (0, None, 1)
    assert row["residual_px"] < 8
    assert max(abs(row[f"{axis}_degrees"]) for axis in ("roll", "yaw", "pitch")) < 15
    assert abs(row["roll_degrees"]) < 5
    assert row["sharpness"] > 50
    assert row["thumbnail"] == bytes(4096)
    assert row["perceptual_hash"] == bytes(range(32))
    crop = opened(store, row)
    assert crop.shape == (224, 224, 3)
    ((again,),) = detector.detect([crop])
    target = template(crop_size=224, eye_distance=0.25, eye_height=0.46)
    assert np.abs(again.landmarks[:2] - target[:2]).max() < 8


def test_crops_are_in_colour_as_the_picture_is(store: Store, detector: Detector, draw_face: DrawFace) -> None:
    """The background is blue: red and blue are not exchanged on the way to the file."""
    crop = opened(store, aligned(store, detector, [("u", encoded(draw_face()))])["u"])
    red, _, blue = crop[:20, :20].reshape(-1, 3).mean(axis=0)
    assert blue > red + 20


# What EXIF's numbers mean: how a picture is changed before it is stored, to be upright again when shown.
STORED_AS: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: np.rot90,
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, 3),
}


@pytest.mark.parametrize("orientation", STORED_AS)
def test_orientation_is_applied(
    store: Store, detector: Detector, draw_face: DrawFace, orientation: int
) -> None:
    """Whatever EXIF says, the crop is that of the upright picture."""
    upright = draw_face()
    upright[:, :40] //= 2
    stored = np.ascontiguousarray(STORED_AS[orientation](upright))
    crops = []
    for pixels, number in ((upright, 1), (stored, orientation)):
        ref = align_day(
            pruned(store, [("u", encoded(pixels))], orientation=number),
            store=store,
            detector=detector,
            settings=FaceSettings(),
        )
        (row,) = store.tables.read(ref).to_pylist()
        assert row["reason"] is None
        crops.append(row["crop_sha256"])
    assert crops[0] == crops[1]


def test_a_picture_without_a_face_has_a_reason(store: Store, detector: Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    row = aligned(store, detector, [("u", encoded(noise))])["u"]
    assert (row["face"], row["reason"], row["faces_found"]) == (-1, "no_face", 0)
    assert row["box"] is None
    assert row["crop_sha256"] is None


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_yaw": 0}, "extreme_pose"),
        ({"max_pitch": 0}, "extreme_pose"),
        ({"max_roll": 0}, "extreme_pose"),
        ({"min_eye_distance": 60}, "too_small_face"),
        ({"max_residual": 0.001}, "bad_alignment"),
        ({"eye_distance": 0.1, "max_border": 0.1}, "too_much_border"),
        ({"min_sharpness": 50_000}, "blurred_face"),
    ],
)
def test_a_refused_face_keeps_its_figures(
    store: Store, detector: Detector, draw_face: DrawFace, settings: dict[str, float], reason: str
) -> None:
    row = aligned(store, detector, [("u", encoded(draw_face()))], **settings)["u"]
    assert (row["face"], row["reason"]) == (0, reason)
    assert row["crop_sha256"] is None
    assert row["eye_distance_px"] == pytest.approx(48, abs=6)
    assert len(row["landmarks"]) == 10


def test_what_cannot_be_decoded_has_a_reason_and_the_rest_goes_on(
    store: Store, detector: Detector, draw_face: DrawFace
) -> None:
    rows = aligned(
        store,
        detector,
        [("text", b"no picture"), ("face", encoded(draw_face())), ("large", encoded(draw_face(size=600)))],
        max_pixels=300_000,
    )
    reasons = {url: row["reason"] for url, row in rows.items()}
    assert reasons == {"text": "not_a_picture", "face": None, "large": "too_many_pixels"}


@pytest.mark.parametrize("is_face", [True, False])
def test_what_a_closer_look_shows_to_be_broken_off_has_a_reason_and_the_rest_goes_on(
    store: Store, detector: Detector, draw_face: DrawFace, monkeypatch: pytest.MonkeyPatch, is_face: bool
) -> None:
    """A JPEG too large to be decoded whole, whose last block lacks details that the first look leaves out."""
    monkeypatch.setattr(limits, "MOST_BYTES", 5_000_000)
    noise = np.clip(np.random.default_rng(0).normal(128, 12, (2100, 2100)), 0, 255).astype(np.uint8)
    if is_face:
        noise[400:1600, 400:1600] = draw_face(size=1200)[:, :, 1]
    late = encoded(noise, "JPEG", quality=80)[:-10] + b"\xff\xd9"
    rows = aligned(store, detector, [("late", late), ("face", encoded(draw_face()))], min_eye_distance=8)
    assert (rows["late"]["reason"], rows["late"]["faces_found"]) == ("truncated" if is_face else "no_face", 0)
    assert rows["face"]["reason"] is None


@pytest.fixture
def group(draw_face: DrawFace) -> bytes:
    """Three faces: a small one in the middle, the largest at the right, one at the left that is too small."""
    small = np.pad(draw_face(size=160), ((48, 48), (130, 48), (0, 0)), mode="edge")
    tiny = np.pad(draw_face(size=96), ((80, 80), (80, 80), (0, 0)), mode="edge")
    return encoded(np.hstack([tiny, small, draw_face()]))


def test_the_largest_of_several_faces_counts(store: Store, detector: Detector, group: bytes) -> None:
    row = aligned(store, detector, [("u", group)], detection_side=960)["u"]
    assert (row["face"], row["faces_found"], row["reason"]) == (0, 3, None)
    assert row["landmarks"][0] > 594
    refused = aligned(store, detector, [("u", group)], detection_side=960, most_faces=2)["u"]
    assert (refused["reason"], refused["crop_sha256"]) == ("several_faces", None)
    assert aligned(store, detector, [("u", group)], detection_side=960, most_faces=3)["u"]["reason"] is None


def test_the_most_central_of_several_faces_keeps_its_number(
    store: Store, detector: Detector, group: bytes
) -> None:
    row = aligned(store, detector, [("u", group)], detection_side=960, which_face="most_central")["u"]
    assert (row["face"], row["faces_found"], row["reason"]) == (1, 3, None)
    assert 256 < row["landmarks"][0] < 594


def test_each_of_several_faces_has_a_row_where_all_count(
    store: Store, detector: Detector, group: bytes, tmp_path: Path
) -> None:
    flat = np.full((100, 100, 3), 90, dtype=np.uint8)
    ref = align_day(
        pruned(store, [("u", group), ("flat", encoded(flat))]),
        store=store,
        detector=detector,
        settings=FaceSettings(detection_side=960, which_face="all"),
    )
    rows = store.tables.read(ref).to_pylist()
    found = [(row["face"], row["reason"]) for row in rows if row["url"] == "u"]
    assert found == [(0, None), (1, None), (2, "too_small_face")]
    assert [row["reason"] for row in rows if row["url"] == "flat"] == ["no_face"]
    assert len({row["crop_sha256"] for row in rows}) == 3
    facts = store.tables.facts(ref)
    assert facts["counts"] == {"aligned": 2, "no_face": 1, "too_small_face": 1}
    assert (facts["funnel"]["faces"], facts["funnel"]["no_crop"]) == (1, {"no_face": 1}), "pictures"
    assert write_contact_sheet(ref, store=store, path=tmp_path / "sheet.png") == 2


def test_crops_of_a_crowd_are_stored_before_they_fill_the_memory(
    store: Store, detector: Detector, group: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    put_all = PictureStore.put_all

    def counted(self: PictureStore, contents: Mapping[str, bytes]) -> None:
        written.append(len(contents))
        put_all(self, contents)

    pictures = [("a", group), ("b", group + b"another")]
    settings = {"detection_side": 960, "which_face": "all", "min_eye_distance": 0}
    ref = pruned(store, pictures)
    monkeypatch.setattr(PictureStore, "put_all", counted)
    for most, expected in ((2_000_000, [3]), (0, [1] * 6 + [0])):
        monkeypatch.setattr(align, "_BYTES_AT_ONCE", most)
        written.clear()
        faces = align_day(ref, store=store, detector=detector, settings=FaceSettings(**settings))
        assert written == expected, "the crops of both pictures are the same"
        assert all(row in store.crops for row in store.tables.read(faces)["crop_sha256"].to_pylist())


def test_a_picture_is_no_crop_for_the_reason_of_its_first_face() -> None:
    rows = [
        *({"image_id": "a", "reason": reason} for reason in ("extreme_pose", None)),
        *({"image_id": "b", "reason": reason} for reason in ("too_much_border", "too_small_face")),
        {"image_id": "c", "reason": "no_face"},
    ]
    assert outcomes_of(rows) == {"aligned": 1, "too_much_border": 1, "no_face": 1}


def test_a_small_face_in_a_large_picture_is_found_at_a_second_look(
    store: Store, detector: Detector, draw_face: DrawFace
) -> None:
    wide = np.full((900, 4000, 3), (150, 170, 190), dtype=np.uint8)
    wide[400:656, 2000:2256] = draw_face()
    found = {
        side: aligned(store, detector, [("u", encoded(wide))], second_side=side, detection_side=96)["u"]
        for side in (0, 960)
    }
    assert found[0]["reason"] == "no_face"
    assert found[960]["reason"] is None
    assert found[960]["eye_distance_px"] == pytest.approx(48, abs=10)


def test_pictures_that_were_dropped_have_no_row(
    store: Store, detector: Detector, draw_face: DrawFace
) -> None:
    ref = align_day(
        pruned(store, [("u", encoded(draw_face()))], kept=False, reason="blurred"),
        store=store,
        detector=detector,
        settings=FaceSettings(),
    )
    assert ref.rows == 0
    assert store.tables.facts(ref)["state"] == "empty"


def test_an_empty_day_gives_an_empty_table(store: Store, detector: Detector, tmp_path: Path) -> None:
    ref = align_day(pruned(store, []), store=store, detector=detector, settings=FaceSettings())
    assert (ref.asset, ref.partition, ref.rows) == ("aligned_faces", DAY, 0)
    assert store.tables.facts(ref)["counts"] == {}
    assert write_contact_sheet(ref, store=store, path=tmp_path / "sheet.png") == 0


def test_the_same_pictures_give_the_same_table_whatever_their_order_and_batches(
    store: Store, detector: Detector, draw_face: DrawFace
) -> None:
    pictures = [(str(size), encoded(draw_face(size=size))) for size in (256, 200, 320, 400, 256)]
    one = align_day(pruned(store, pictures), store=store, detector=detector, settings=FaceSettings())
    other = align_day(pruned(store, pictures[::-1]), store=store, detector=detector, settings=FaceSettings())
    assert one == other
    ids = store.tables.read(one)["image_id"].to_pylist()
    assert ids == sorted(ids)


def test_memory_does_not_grow_by_what_only_the_table_has(
    store: Store, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thumbnail alone has 4 kB, and a row of 20 columns more than that again."""
    nothing = {**dict.fromkeys(PRUNED_SET.names), "url": "u", "source": "s", "kept": True, "orientation": 1}
    rows = (nothing | {"image_id": f"{number:064x}", "thumbnail": bytes(4096)} for number in range(6000))
    ref = store.tables.write(rows, asset="pruned_set", partition=DAY)
    found = {name: None for name in ALIGNED_FACES.names if name not in PRUNED_SET.names}
    face = found | {"face": 0, "faces_found": 1, "reason": "blurred_face", "landmarks": [1.0] * 10}

    def over_pictures(
        kept: Sequence[dict[str, Any]], *_: object, **__: object
    ) -> Generator[list[Any], None, None]:
        yield from ([dict(face)] for _ in kept)

    monkeypatch.setattr(align, "over_pictures", over_pictures)
    tracemalloc.start()
    faces = align_day(ref, store=store, detector=detector, settings=FaceSettings())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert faces.rows == 6000
    assert peak < 6000 * 1500


def test_facts_and_log_count_outcomes(
    store: Store, detector: Detector, draw_face: DrawFace, caplog: pytest.LogCaptureFixture
) -> None:
    flat = np.full((100, 100, 3), 90, dtype=np.uint8)
    with caplog.at_level("INFO", logger="selfai.faces"):
        ref = align_day(
            pruned(store, [("a", encoded(draw_face())), ("b", encoded(flat))]),
            store=store,
            detector=detector,
            settings=FaceSettings(),
        )
    facts = store.tables.facts(ref)
    assert facts["counts"] == {"aligned": 1, "no_face": 1}
    assert facts["state"] == "aligned"
    assert np.array(facts["template"]).shape == (5, 2)
    assert f"aligned {DAY}: 1 aligned of 2 (1 no_face)" in caplog.text


def test_the_funnel_sums_up_crawl_pruning_and_faces(
    store: Store, detector: Detector, draw_face: DrawFace, caplog: pytest.LogCaptureFixture
) -> None:
    flat = np.full((100, 100, 3), 90, dtype=np.uint8)
    kept = pruned(store, [("a", encoded(draw_face())), ("b", encoded(flat))])
    known = {"crawled": {"stored": 3, "robots_txt": 4}, "counts": {"kept": 2, "blurred": 1}}
    ref = store.tables.write(store.tables.read(kept), asset="pruned_set", partition=DAY, facts=known)
    with caplog.at_level("INFO", logger="selfai.faces"):
        faces = align_day(ref, store=store, detector=detector, settings=FaceSettings())
    assert store.tables.facts(faces)["funnel"] == {
        "crawled": 7,
        "not_stored": {"robots_txt": 4},
        "stored": 3,
        "dropped": {"blurred": 1},
        "kept": 2,
        "no_crop": {"no_face": 1},
        "faces": 1,
    }
    assert f"of the crawl of {DAY}: 7 crawled, 3 stored, 2 kept, 1 faces" in caplog.text


def test_the_contact_sheet_shows_crops_with_their_landmarks(
    store: Store, detector: Detector, draw_face: DrawFace, tmp_path: Path
) -> None:
    pictures = [(str(shade), encoded(draw_face(shade=shade))) for shade in (1.0, 0.9, 0.8)]
    ref = align_day(pruned(store, pictures), store=store, detector=detector, settings=FaceSettings())
    path = tmp_path / "previews" / "sheet.png"
    assert write_contact_sheet(ref, store=store, path=path, most=2) == 2
    sheet = np.asarray(Image.open(path)).astype(int)
    red_dots = (sheet[:, :, 0] > 240) & (sheet[:, :, 1] < 90) & (sheet[:, :, 2] < 90)
    assert red_dots.sum() >= 2
