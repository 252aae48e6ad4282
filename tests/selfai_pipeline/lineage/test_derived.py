"""From a host, an address, an annotator or a source to every version and model that came of it."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from selfai_pipeline.cli import commands
from selfai_pipeline.errors import InputError
from selfai_pipeline.lineage.derived import Selection, derived_from
from selfai_pipeline.lineage.documents import as_text, derived_document
from selfai_pipeline.lineage.picture_history import picture_history
from selfai_pipeline.lineage.values import derived_values
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.outcomes import REFUSED, STORED, Found, Outcome


def derived(world, kind, value):
    return derived_from(Selection(kind, value), archive=world.archive, registry=world.registry)


def rows_of(found):
    counts = Counter()
    for touched in found.tables:
        counts[touched.version.key.asset] += len(touched.rows)
    return dict(counts)


@pytest.mark.parametrize(("kind", "value"), [("host", "TWO.example"), ("source", "two")])
def test_a_host_and_a_source_lead_to_rows_crops_and_models(world, kind, value):
    found = derived(world, kind, value)
    assert rows_of(found) == {
        "raw_crawl": 3,
        "pruned_set": 3,
        "aligned_faces": 3,
        "annotations": 6,
        "balanced_label_table": 3,
        "evaluation_report": 1,
    }
    assert len(found.crops) == 3
    assert [one.version.key.asset for one in found.models] == [
        "siamese_checkpoint",
        "widened_checkpoint",
        "finetuned_scorer",
    ]
    scorer = found.models[-1]
    assert scorer.pictures == {"train": 2, "test": 1}
    assert [str(one) for one in scorer.registered] == ["selfai-scorer@1 (champion)"]


def test_a_host_is_no_part_of_another_name(world):
    with pytest.raises(InputError, match="no version of any table has a row of it"):
        derived(world, "host", "wo.example")


@pytest.mark.parametrize(
    ("kind", "value", "column"),
    [
        ("picture", "0" * 64, "image_id"),
        ("url", "https://nobody.example/1.png", "url"),
        ("host", "nobody.example", "regexp_extract"),
        ("source", "nobody", "source"),
        ("annotator", "nobody", "annotator"),
    ],
)
def test_of_what_nobody_knows_the_message_has_a_query_that_shows_its_kind(world, kind, value, column):
    selection = Selection(kind, value, frozenset([value] if kind == "picture" else []))
    with pytest.raises(InputError) as raised:
        derived_from(selection, archive=world.archive, registry=world.registry)
    (query,) = re.findall(r'`selfai sql "(.+)"`', raised.value.mend)
    assert column in query
    found = CliRunner().invoke(commands, ["sql", query])
    assert found.exit_code == 0, found.output
    known = {"picture": world.image_id(1), "url": "https://one.example/1.png", "annotator": "site/bob"}
    assert known.get(kind, "one") in found.output


@pytest.fixture
def redirected(world):
    """Picture 1 came from where its address led on its day; on the next day that led elsewhere."""
    with Journal(world.store.home.journal_url) as journal:
        for day, answered in (
            ("2026-01-01", "https://cdn.example/a.png"),
            ("2026-01-02", "https://b.example/"),
        ):
            found = Found("https://one.example/1.png", "picture")
            journal.record("one", day, Outcome(found, STORED, "r", answered_url=answered))
    return world


@pytest.mark.parametrize(("kind", "value"), [("url", "https://cdn.example/a.png"), ("host", "CDN.example")])
def test_the_address_that_redirects_led_to_leads_to_the_picture(redirected, kind, value):
    found = derived(redirected, kind, value)
    assert found.image_ids == {redirected.image_id(1)}
    assert rows_of(found)["raw_crawl"] == 1
    history = picture_history(
        "https://cdn.example/a.png", archive=redirected.archive, registry=redirected.registry
    )
    assert history.image_ids == [redirected.image_id(1)]


@pytest.fixture
def folders(world):
    """Two folders with files of the same name; the picture of another name lies in one of them."""
    day = "2026-01-02"
    rows = world.rows(world.current("raw_crawl", day))
    for row, source, name in zip(rows, ("a", "b", "a"), ("1 é.jpg", "1 é.jpg", "x/1 é.jpg"), strict=True):
        row.update(source=source, url=f"file:{name}")
    rows.append({**rows[0], "image_id": None, "url": "file:broken.jpg", "status": "refused"})
    world.write(rows, "raw_crawl", day, ())
    with Journal(world.store.home.journal_url) as journal:
        for row in rows:
            url = Path("/photos", row["source"], row["url"].removeprefix("file:")).as_uri()
            status = STORED if row["image_id"] else REFUSED
            journal.record(
                row["source"], day, Outcome(Found(url, "picture"), status, "r", image_id=row["image_id"])
            )
    return world, [row["image_id"] for row in rows]


@pytest.mark.parametrize(("name", "number"), [("a/1", 0), ("b/1", 1), ("a/x/1", 2)])
def test_a_file_of_a_folder_is_found_by_the_address_that_the_journal_has(folders, name, number):
    """That is the one that `selfai remove --dry-run` prints; the tables have the path inside the folder."""
    world, image_ids = folders
    url = f"file:///photos/{name}%20%C3%A9.jpg"
    assert derived(world, "url", url).image_ids == {image_ids[number]}
    assert picture_history(url, archive=world.archive, registry=world.registry).image_ids == [
        image_ids[number]
    ]


def test_a_file_that_was_refused_is_found_by_its_address(folders):
    found = derived(folders[0], "url", "file:///photos/a/broken.jpg")
    assert (rows_of(found)["raw_crawl"], found.image_ids) == (1, set())
    with pytest.raises(InputError, match="no version of any table has a row of it"):
        derived(folders[0], "url", "file:///elsewhere/broken.jpg")


def test_an_address_that_led_elsewhere_on_another_day_is_not_meant(redirected):
    with pytest.raises(InputError, match="no version of any table has a row of it"):
        derived(redirected, "host", "b.example")


def test_a_journal_that_cannot_be_read_is_named_and_the_rest_found(world):
    world.store.home.own_journal.write_bytes(b"no database" * 100)
    found = derived(world, "host", "two.example")
    assert len(found.image_ids) == 3
    (problem,) = found.problems
    assert problem.startswith("what redirects led there is not known: ")
    with pytest.raises(InputError, match="what redirects led there is not known"):
        derived(world, "host", "cdn.example")


def test_a_question_about_an_address_makes_no_journal(world):
    derived(world, "host", "two.example")
    assert not world.store.home.own_journal.exists()


def test_a_picture_that_was_held_out_trained_no_model(world):
    found = derived(world, "url", "https://one.example/3.png")
    assert [one.has_learnt for one in found.models] == [False] * 3
    assert {tuple(one.pictures) for one in found.models} == {("test",)}


def test_a_picture_a_model_was_chosen_by_counts(world):
    found = derived(world, "url", "https://one.example/2.png")
    assert [one.has_learnt for one in found.models] == [True] * 3


def test_a_stage_before_counts_where_the_last_one_held_a_picture_out(world):
    world.label({1: "test", 2: "validation"})
    scorer = world.train("finetuned_scorer", "widened_checkpoint")
    found = derived(world, "url", "https://one.example/1.png")
    (model,) = [one for one in found.models if one.version.key.sha256 == scorer.sha256]
    assert model.pictures == {"train": 1}


@pytest.mark.parametrize("name", ["site/bob", "bob"])
def test_an_annotator_counts_in_the_labels_that_were_made_with_the_ratings(world, name):
    with_bob = world.current("balanced_label_table").sha256
    world.rate([(number, "site/ann", 9.0 - number) for number in range(1, 7)])
    world.label({3: "test"})
    without_bob = world.current("balanced_label_table").sha256
    found = derived(world, "annotator", name)
    labels = {
        touched.version.key.sha256
        for touched in found.tables
        if touched.version.key.asset == "balanced_label_table"
    }
    assert labels == {with_bob}
    assert without_bob != with_bob
    assert rows_of(found)["annotations"] == 6


def test_an_annotator_of_a_past_version_is_found(world):
    world.rate([(number, "site/ann", 2.0) for number in range(1, 7)])
    (touched, *_) = derived(world, "annotator", "bob").tables
    assert not touched.version.is_current


def test_pages_about_it_are_listed(world):
    report = world.store.home.reports / world.current("evaluation_report").sha256 / "report.html"
    report.parent.mkdir()
    report.write_text("<p>")
    path = report.relative_to(world.store.home.root).as_posix()
    assert derived(world, "host", "two.example").reports == (path,)
    # Number 1 is no test face, and no row of that report.
    assert derived(world, "url", "https://one.example/1.png").reports == ()


def test_text_and_values_name_every_version(world):
    found = derived(world, "host", "two.example")
    text, values = as_text(derived_document(found)), json.dumps(derived_values(found))
    for one in (*found.tables, *found.models):
        assert one.version.key.sha256 in text
        assert one.version.key.sha256 in values


def test_a_table_that_cannot_be_read_is_named(world):
    path = world.store.files.local_path(world.store.tables.path(world.current("raw_crawl", "2026-01-01")))
    path.write_bytes(b"PAR1 no more")
    found = derived(world, "host", "two.example")
    assert [problem for problem in found.problems if str(path) in problem]
