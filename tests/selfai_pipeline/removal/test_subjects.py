"""What is meant by what was asked for, and what is refused."""

import json
from typing import Any

import cv2
import numpy as np
import pytest
import sqlalchemy as sa

from selfai_pipeline.errors import AlteredVersion, InputError
from selfai_pipeline.lineage.picture_history import picture_history
from selfai_pipeline.removal.marks import removed_inputs
from selfai_pipeline.sources.journal import open_journal
from selfai_pipeline.sources.journal_database import Transaction
from selfai_pipeline.sources.journal_table import fetches


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


def redirect(lived_in: Any, url: str, end: str) -> None:
    """Let the picture of an address have come from the end of a redirect."""
    with open_journal(lived_in.home) as journal, Transaction(journal.engine) as connection:
        change = sa.update(fetches).where(fetches.c.url == url).values(answered_url=end)
        assert connection.execute(change).rowcount


@pytest.mark.parametrize(
    ("kind", "value"),
    [("url", "https://cdn.example/x.png"), ("host", "cdn.example"), ("host", "two.example")],
)
def test_a_picture_is_found_by_the_end_of_a_redirect(
    lived_in: Any, search: Any, kind: str, value: str
) -> None:
    """The address that a complaint names; the table has the one that was asked for alone."""
    redirect(lived_in, "https://one.example/1.png", value if kind == "url" else f"https://{value}/x.png")
    gone = lived_in.needles(1)
    assert lived_in.world.image_id(2) not in lived_in.plan(kind, value).subjects.image_ids
    lived_in.remove(kind, value)
    assert search(lived_in.home.root, gone.values()) == set()


def test_a_copy_of_a_copy_goes_with_what_it_was_copied_from(lived_in: Any) -> None:
    """Looks tie the mirror image to the picture, and pruning ties a crop to the mirror image alone."""
    world, pictures, day = lived_in.world, lived_in.store.pictures, "2026-01-02"
    pixels = cv2.imdecode(np.frombuffer(pictures.get(world.image_id(1)), np.uint8), cv2.IMREAD_COLOR)
    mirrored = cv2.flip(pixels, 1)
    cropped = mirrored[4:-2, 5:-3].copy()
    cropped[cropped.shape[0] * 9 // 10 :] = 0
    copies = [pictures.put(cv2.imencode(".png", one)[1].tobytes()) for one in (mirrored, cropped)]
    rows = world.rows(world.current("raw_crawl", day))
    rows += [{**rows[0], "image_id": one, "url": f"https://two.example/{one}.png"} for one in copies]
    world.write(rows, "raw_crawl", day, ())
    world.prune(day)
    pruned = world.rows(world.current("pruned_set", day))
    for row in pruned:
        if row["image_id"] == copies[1]:
            row.update(kept=False, duplicate_of=copies[0])
    world.write(pruned, "pruned_set", day, ())
    assert lived_in.plan("picture", world.image_id(1)).subjects.image_ids == {world.image_id(1), *copies}


@pytest.mark.parametrize(
    ("reason", "message"), [(" ", "a removal needs a reason"), ("wants one.example out", "it names what is")]
)
def test_a_reason_is_needed_and_names_nobody(lived_in: Any, reason: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        lived_in.plan("host", "one.example", reason=reason)


def test_a_reason_names_a_picture_neither_by_the_beginning_of_its_id_nor_by_its_file(lived_in: Any) -> None:
    image_id = lived_in.world.image_id(1)
    for reason in (f"picture {image_id[:12]}", "the one called 1.png"):
        with pytest.raises(InputError, match="it names what is"):
            lived_in.plan("picture", image_id, reason=reason)
    for reason in ("letter 202611 about 11.png", f"letter {image_id[:5]}"):
        assert lived_in.plan("picture", image_id, reason=reason).reason == reason


def test_a_reason_names_nothing_else_that_is_kept(lived_in: Any) -> None:
    """It could have to go one day, and the record of the first removal would name it."""
    image_id, other = lived_in.world.image_id(1), lived_in.world.image_id(5)
    for named in ("https://two.example/5.png", other, other[:8], "5.png", "all of two.example"):
        with pytest.raises(InputError, match="it names a picture, an address or a host"):
            lived_in.plan("picture", image_id, reason=f"same as {named}")


def test_a_model_whose_label_table_is_lost_is_marked_since_nothing_tells_what_it_learnt(
    lived_in: Any,
) -> None:
    world, store = lived_in.world, lived_in.store
    scorer, labels = world.current("finetuned_scorer"), world.current("balanced_label_table")
    world.label({1: "train", 2: "test"})
    store.files.local_path(store.tables.path(labels)).unlink()
    lived_in.remove("picture", world.image_id(6))
    (mark, *_) = removed_inputs(store, scorer)
    assert "the label table that" in str(mark)
    assert "is lost: nothing tells whether" in str(mark)


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
