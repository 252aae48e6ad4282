"""The checks' own counts: rows against pictures, and a day beside earlier ones."""

from typing import Any

import pytest

from selfai_pipeline.faces.align import _OF_A_FACE
from selfai_pipeline.faces.settings import FaceRule
from selfai_pipeline.faces.soundness import beside_earlier_days, rows_amiss
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record, TableRef

LARGEST, ALL = FaceRule.LARGEST, FaceRule.ALL


def row(image_id: str, face: int, found: int) -> dict[str, Any]:
    return {"image_id": image_id, "face": face, "faces_found": found}


ONE_EACH = [row("a", 0, 3), row("b", -1, 0), row("c", 2, 3)]
EACH_FACE = [row("a", 0, 2), row("a", 1, 2), row("b", -1, 0)]


@pytest.mark.parametrize(
    ("rows", "kept", "rule", "amiss"),
    [
        (ONE_EACH, "abc", LARGEST, 0),
        (ONE_EACH, "abcd", LARGEST, 1),
        (ONE_EACH, "ab", LARGEST, 1),
        ([*ONE_EACH, row("a", 1, 3)], "abc", LARGEST, 1),
        ([row("a", 3, 3)], "a", LARGEST, 1),
        ([row("a", 0, 0)], "a", LARGEST, 1),
        (EACH_FACE, "ab", ALL, 0),
        (EACH_FACE[1:], "ab", ALL, 1),
        ([*EACH_FACE, row("a", 1, 2)], "ab", ALL, 1),
        (EACH_FACE[:2], "ab", ALL, 1),
    ],
    ids=[
        "one row a picture",
        "a picture without a row",
        "a row of another picture",
        "two rows of a picture",
        "a face that was not found",
        "a face where none was found",
        "one row a face",
        "a face without a row",
        "a face twice",
        "a picture without a row where all count",
    ],
)
def test_rows_lost_and_too_many_are_counted(
    rows: list[dict[str, Any]], kept: str, rule: FaceRule, amiss: int
) -> None:
    assert rows_amiss(rows, kept, rule=rule) == amiss


def day_of(
    store: Store, day: str, *, faces: int, pictures: int = 50, residual: float = 3.0, template: int = 0
) -> TableRef:
    """A day that is the current one of its partition."""
    rows = []
    for number in range(pictures):
        aligned = number < faces
        rows.append(
            {
                "image_id": f"{day} {number:03}",
                "face": 0 if aligned else -1,
                "source": "mine",
                "url": f"file:{number}.jpg",
                "reason": None if aligned else "no_face",
                "faces_found": int(aligned),
                **dict.fromkeys(_OF_A_FACE),
                "residual_px": residual + number / 100 if aligned else None,
                "crop_sha256": f"{day} crop {number}" if aligned else None,
                **dict.fromkeys(["perceptual_hash", "thumbnail"]),
            }
        )
    facts = {"template": template}
    ref = store.tables.write(rows, asset="aligned_faces", partition=day, facts=facts)
    store.tables.point(Record(ref=ref, code_version="1", settings={}, inputs={}))
    return ref


def test_a_day_is_compared_with_those_before_it(store: Store) -> None:
    for day in ("01", "02", "03"):
        day_of(store, f"2026-01-{day}", faces=48)
    bad = day_of(store, "2026-01-04", faces=25, residual=6.0)
    good = day_of(store, "2026-01-05", faces=48)
    found = beside_earlier_days(bad, store=store)
    assert (found["face_share"].unusual, found["residuals"].unusual) == (True, True)
    assert "3 earlier days" in found["face_share"].text
    found = beside_earlier_days(good, store=store)
    assert (found["face_share"].unusual, found["residuals"].unusual) == (False, False)


def test_the_first_day_has_nothing_to_be_compared_with(store: Store) -> None:
    found = beside_earlier_days(day_of(store, "2026-01-04", faces=0), store=store)
    assert "50 pictures, 0 on 0 earlier days: too few to compare" in found["face_share"].text
    assert not found["residuals"].unusual


def test_residuals_of_another_template_are_in_other_units(store: Store) -> None:
    day_of(store, "2026-01-01", faces=48, template=1)
    found = beside_earlier_days(day_of(store, "2026-01-02", faces=48, residual=9.0), store=store)
    assert "48 faces, 0 on earlier days" in found["residuals"].text
    assert found["face_share"].figures["earlier_face_share"] == pytest.approx(0.96)


def test_an_earlier_day_that_is_lost_is_left_out(store: Store) -> None:
    day_of(store, "2026-01-01", faces=48)
    lost = day_of(store, "2026-01-02", faces=48)
    store.files.delete(store.tables.path(lost))
    found = beside_earlier_days(day_of(store, "2026-01-03", faces=48), store=store)
    assert "1 earlier days" in found["face_share"].text


def test_an_earlier_day_with_a_damaged_pointer_is_left_out(store: Store) -> None:
    day_of(store, "2026-01-01", faces=48)
    damaged = day_of(store, "2026-01-02", faces=48)
    store.files.write(f"{store.tables.folder(damaged.asset, damaged.partition)}/current.json", b"{")
    found = beside_earlier_days(day_of(store, "2026-01-03", faces=48), store=store)
    assert "1 earlier days" in found["face_share"].text
