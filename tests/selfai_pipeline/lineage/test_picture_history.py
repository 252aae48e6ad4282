"""Where a picture came from, who rated it and what learnt from it, asked by id, address or file."""

import hashlib
import io
import json

import pytest
from PIL import Image

from selfai_pipeline.errors import InputError
from selfai_pipeline.lineage.columns import read_columns
from selfai_pipeline.lineage.documents import IN_WORDS, as_text, picture_document
from selfai_pipeline.lineage.picture_history import picture_history
from selfai_pipeline.lineage.values import picture_values


def history(world, asked):
    return picture_history(str(asked), archive=world.archive, registry=world.registry)


@pytest.fixture
def content(world):
    """The bytes of a training picture, as they are stored."""
    (row, *_) = world.rows(world.current("raw_crawl", "2026-01-01"))
    return world.store.pictures.get(row["image_id"])


def test_an_id_leads_to_all_that_is_known(world, content):
    image_id = hashlib.sha256(content).hexdigest()
    found = history(world, image_id)
    assert found.image_ids == [image_id]
    (crawled,) = found.statements["raw_crawl"]
    assert crawled.values["url"] == "https://one.example/1.png"
    assert crawled.values["partition"] == "2026-01-01"
    (measured,) = found.statements["pruned_set"]
    assert measured.values["brightness"] > 0
    assert "thumbnail" not in measured.values
    assert {one.values["annotator"] for one in found.statements["annotations"]} == {"site/ann", "site/bob"}
    (label,) = found.statements["balanced_label_table"]
    assert label.values["split"] == "train"
    assert [one.has_learnt for one in found.derived.models] == [True] * 3
    text = as_text(picture_document(found))
    assert "registered as selfai-scorer@1 (champion)" in text
    assert "3 checkpoints learnt from it" in text
    assert json.loads(json.dumps(picture_values(found), default=str))["pictures"] == [image_id]


def test_the_beginning_of_an_id_is_enough(world, content):
    image_id = hashlib.sha256(content).hexdigest()
    assert history(world, image_id[:10]).image_ids == [image_id]
    with pytest.raises(InputError, match="no picture has an id that begins so"):
        history(world, "0" * 10)


def test_an_address_leads_to_every_picture_that_it_gave(world):
    world.crawl("2026-01-02", {8: "https://one.example/1.png"})
    found = history(world, "https://one.example/1.png")
    assert len(found.image_ids) == 2
    assert as_text(picture_document(found)).startswith("Picture https://one.example/1.png\n")


def test_a_file_is_found_by_its_bytes_whatever_metadata_it_has(world, content, tmp_path):
    picture = Image.open(io.BytesIO(content))
    exif = Image.Exif()
    exif[0x010E] = "a note"
    path = tmp_path / "with_metadata.png"
    end = content.rindex(b"IEND") - 4
    note = b"tEXtComment\0somebody"
    import zlib

    chunk = (len(note) - 4).to_bytes(4, "big") + note + zlib.crc32(note).to_bytes(4, "big")
    path.write_bytes(content[:end] + chunk + content[end:])
    assert Image.open(path).size == picture.size
    found = history(world, path)
    assert found.image_ids == [hashlib.sha256(content).hexdigest()]
    assert "by its bytes" in found.match


def test_a_file_of_other_bytes_is_found_by_its_looks(world, content, tmp_path):
    path = tmp_path / "encoded_again.jpg"
    Image.open(io.BytesIO(content)).convert("RGB").save(path, quality=80)
    found = history(world, path)
    assert found.image_ids == [hashlib.sha256(content).hexdigest()]
    assert "by its looks" in found.match


def test_looks_are_compared_by_hash_first_and_by_thumbnails_where_no_hash_is_near(
    world, content, tmp_path, monkeypatch
):
    asked = []

    def read(ref, columns, *, store):
        asked.extend(columns)
        return read_columns(ref, columns, store=store)

    monkeypatch.setattr("selfai_pipeline.lineage.picture_history.read_columns", read)
    whole = Image.open(io.BytesIO(content)).convert("RGB")
    again, coarse = tmp_path / "encoded_again.png", tmp_path / "coarse.jpg"
    whole.save(again, compress_level=1)
    history(world, again)
    assert "perceptual_hash" in asked
    assert "thumbnail" not in asked, "thumbnails of a whole store take seconds"
    whole.save(coarse, quality=80)
    assert history(world, coarse).image_ids == [hashlib.sha256(content).hexdigest()]
    assert "thumbnail" in asked


def test_a_picture_that_nobody_knows_is_no_match(world, tmp_path):
    path = tmp_path / "other.png"
    Image.effect_noise((200, 200), 90).save(path)
    with pytest.raises(InputError, match="no version knows these bytes"):
        history(world, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no picture", "no picture that could have been crawled"), (None, "no file that can be read")],
)
def test_what_is_no_picture_is_said_to_be_none(world, tmp_path, content, message):
    path = tmp_path / "file.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        history(world, path)


def test_ratings_of_past_versions_are_told_from_those_of_today(world, content):
    world.rate([(1, "site/ann", 7.0)])
    found = history(world, hashlib.sha256(content).hexdigest())
    scores = {
        (one.values["annotator"], one.values["score"]): one.in_current
        for one in found.statements["annotations"]
    }
    assert scores == {("site/ann", 1.0): False, ("site/bob", 1.0): False, ("site/ann", 7.0): True}
    assert "past versions only" in as_text(picture_document(found))


def test_a_name_from_outside_cannot_steer_the_terminal(world):
    world.rate([(1, "site/\x1b[2Jann\nModels\u202e", 7.0)])
    text = as_text(picture_document(history(world, world.image_id(1))))
    assert r"site/\x1b[2Jann\nModels\u202e" in text
    assert {one for one in text if not one.isprintable()} == {"\n"}


def test_every_table_that_holds_a_row_of_the_picture_says_so(world, content):
    scorer, labels = world.current("finetuned_scorer"), world.current("balanced_label_table")
    evaluation = world.current("evaluation_report")
    rows = [row for row in world.rows(labels) if row["split"] == "test"]
    world.write(rows, "champion_comparison", "all", [scorer, labels, evaluation])
    found = history(world, rows[0]["image_id"])
    assert set(found.statements) == set(IN_WORDS)
    (compared,) = found.statements["champion_comparison"]
    assert compared.values["crop_sha256"] == rows[0]["crop_sha256"]
    assert "No version of a table says anything." not in as_text(picture_document(found))
