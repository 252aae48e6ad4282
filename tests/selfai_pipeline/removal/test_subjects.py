"""What is meant by what was asked for, and what is refused."""

import json
from typing import Any

import cv2
import numpy as np
import pytest

from selfai_pipeline.errors import AlteredVersion, InputError
from selfai_pipeline.lineage.picture_history import picture_history


def test_a_picture_is_found_by_its_id_its_beginning_its_file_and_its_address(
    lived_in: Any, tmp_path: Any
) -> None:
    image_id = lived_in.world.image_id(1)
    file = tmp_path / "picture.png"
    file.write_bytes(lived_in.store.pictures.get(image_id))
    found = [
        lived_in.plan("picture", value).subjects
        for value in (image_id, image_id[:8], str(file), "https://one.example/1.png")
    ]
    assert {one.image_ids for one in found} == {frozenset([image_id])}
    assert {one.urls for one in found} == {frozenset(["https://one.example/1.png"])}
    assert all(len(one.crops) == len(one.fetched) == len(one.looks) == 1 for one in found)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("picture", "ab" * 32, "nothing that is kept knows it"),
        ("picture", "abcdef0123", "no picture has an id that begins so"),
        ("picture", "/no/such/file.png", "it is no file that can be read"),
        ("picture", " ", "it is empty"),
        ("url", "https://one.example/nothing.png", "nothing that is kept knows it"),
        ("url", "file:nothing.png", "nothing that is kept knows it"),
        ("host", "three.example", "nothing that is kept knows it"),
        ("host", "https://one.example", "nothing that is kept knows it"),
        ("person", "nobody", "nothing that is kept knows it"),
        ("annotator", "nobody", "nothing that is kept knows it"),
    ],
)
def test_what_nobody_knows_is_refused(lived_in: Any, kind: str, value: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        lived_in.plan(kind, value)


def test_a_name_that_two_sources_have_is_not_clear(lived_in: Any) -> None:
    world = lived_in.world
    rows = world.rows(world.current("raw_crawl", "2026-01-01"))
    for row, source in zip(rows[:2], ("a", "b"), strict=True):
        row.update(url="file:1.png", source=source, attributes=json.dumps({"person": "p1"}))
    world.write(rows, "raw_crawl", "2026-01-01", ())
    with pytest.raises(InputError, match="2 sources have a picture of this name: a, b"):
        lived_in.plan("url", "file:1.png")
    with pytest.raises(InputError, match="2 sources name somebody so: a/p1, b/p1"):
        lived_in.plan("person", "p1")
    assert lived_in.plan("person", "a/p1").subjects.image_ids == {rows[0]["image_id"]}
    # The name inside one folder says nothing about the same name in another one.
    plan = lived_in.plan("picture", rows[0]["image_id"])
    assert plan.subjects.has_row("a", "file:1.png")
    assert not plan.subjects.has_row("b", "file:1.png")


def test_an_annotator_of_two_sources_has_to_be_named_with_one(lived_in: Any) -> None:
    with pytest.raises(InputError, match="annotation_site/ann, site/ann"):
        lived_in.plan("annotator", "ann")
    assert lived_in.plan("annotator", "site/ann").subjects.annotators == {"site/ann"}


@pytest.mark.parametrize(
    ("reason", "message"), [(" ", "a removal needs a reason"), ("wants one.example out", "it names what is")]
)
def test_a_reason_is_needed_and_names_nobody(lived_in: Any, reason: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        lived_in.plan("host", "one.example", reason=reason)


def test_a_version_that_was_altered_is_not_written_anew(lived_in: Any) -> None:
    """It would be called by a hash that proves it from then on."""
    world = lived_in.world
    path = lived_in.store.files.local_path(lived_in.store.tables.path(world.current("annotations")))
    content = path.read_bytes()
    # The checksum at the end: every row is read as before.
    path.write_bytes(content[:-12] + bytes([content[-12] ^ 1]) + content[-11:])
    with pytest.raises(AlteredVersion, match="Nothing was removed"):
        lived_in.plan("picture", world.image_id(1))


def test_an_audit_says_of_what_was_removed_when_and_why(lived_in: Any, tmp_path: Any) -> None:
    world = lived_in.world
    content = lived_in.store.pictures.get(world.image_id(1))
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    again = tmp_path / "encoded again.jpg"
    again.write_bytes(cv2.imencode(".jpg", cv2.flip(pixels, 1))[1].tobytes())
    lived_in.remove("picture", world.image_id(1))
    for asked in (world.image_id(1), "https://one.example/1.png", str(again)):
        with pytest.raises(InputError, match=r"it was removed on .*\(letter 7\)"):
            picture_history(asked, archive=world.archive, registry=world.registry)
