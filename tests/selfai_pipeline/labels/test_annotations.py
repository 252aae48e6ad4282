"""Ratings are joined with what was stored; what finds no picture is counted."""

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.annotations import collect_annotations, ratings_fingerprint
from selfai_pipeline.labels.descriptions import describe_pictures
from selfai_pipeline.labels.left_out import describe_files, list_path
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.labels.site.ratings import SiteRating
from selfai_pipeline.sources.settings import FolderSource, PagesSource, PicturesFile, RatingsFile, Source
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef


def one_day(ref: TableRef) -> Snapshot:
    return Snapshot({ref.partition: ref})


def folder(home: Home, ratings: str = "", means: str = "", pictures: str = "", name: str = "faces") -> Source:
    place = home.imports / name
    place.mkdir(exist_ok=True)
    files = []
    if ratings:
        (place / "ratings.csv").write_text(ratings)
        files.append(RatingsFile(path=f"imports/{name}/ratings.csv"))
    if means:
        (place / "means.csv").write_text(means)
        files.append(RatingsFile(path=f"imports/{name}/means.csv", annotator_column="", count_column="n"))
    about = None
    if pictures:
        (place / "pictures.csv").write_text(pictures)
        about = PicturesFile(path=f"imports/{name}/pictures.csv")
    return FolderSource(name=name, path="/photos", day="2026-01-01", ratings=files, pictures=about)


def test_every_rating_of_a_stored_picture_becomes_a_row(
    home: Home, store: Store, crawled: Callable[..., TableRef], image_id: Callable[[str], str]
) -> None:
    source = folder(
        home,
        ratings="image,annotator,score,note\n2.jpg,bob,4,x\n1.jpg,ann,3,\n",
        means="image,score,n\n1.jpg,5,60\n",
        pictures="image,person\n1.jpg,X1\n",
    )
    ref = collect_annotations(one_day(crawled(["1.jpg", "2.jpg"])), sources=[source], store=store)
    rows = store.tables.read(ref).to_pylist()
    assert [row["image_id"] for row in rows] == sorted([image_id("1.jpg")] * 2 + [image_id("2.jpg")])
    by = {(row["image_id"], row["annotator"]): row for row in rows}
    ann = by[image_id("1.jpg"), "faces/ann"]
    assert (ann["score"], ann["original_score"], ann["ratings"]) == (3, 3, 1)
    assert ann["origin"] == "faces:imports/faces/ratings.csv"
    assert json.loads(ann["attributes"]) == {"person": "X1"}
    assert json.loads(by[image_id("2.jpg"), "faces/bob"]["attributes"]) == {"note": "x"}
    assert by[image_id("1.jpg"), None]["ratings"] == 60
    facts = store.tables.facts(ref)
    assert facts["counts"] == {
        "ratings": 2,
        "means": 1,
        "pictures": 2,
        "annotators": 2,
        "repeated": 0,
        "superseded": 0,
    }
    assert (facts["left_out"], facts["left_out_files"], facts["state"]) == ({}, [], "collected")
    assert not list_path(home, "faces").exists()


def test_the_group_of_an_annotator_goes_with_each_rating_and_is_no_attribute_of_the_picture(
    home: Home, store: Store, crawled: Callable[..., TableRef]
) -> None:
    source = folder(home, ratings="image,annotator,country,score\n1.jpg,ann,peru,3\n1.jpg,bob,,4\n")
    source = source.model_copy(
        update={"ratings": [source.ratings[0].model_copy(update={"annotator_group_column": "country"})]}
    )
    ref = collect_annotations(one_day(crawled(["1.jpg"])), sources=[source], store=store)
    rows = {row["annotator"]: row for row in store.tables.read(ref).to_pylist()}
    assert rows["faces/ann"]["annotator_group"] == "peru"
    assert rows["faces/bob"]["annotator_group"] is None
    assert json.loads(rows["faces/ann"]["attributes"]) == {}


def test_ratings_of_pictures_that_were_not_stored_are_counted_and_listed(
    home: Home, store: Store, crawled: Callable[..., TableRef]
) -> None:
    source = folder(home, ratings="image,annotator,score\n1.jpg,ann,3\n2.jpg,ann,4\n9.jpg,ann,4\n")
    refused = crawled(["2.jpg"], day="2026-01-02", status="refused")
    crawl = Snapshot({"2026-01-01": crawled(["1.jpg"]), "2026-01-02": refused})
    ref = collect_annotations(crawl, sources=[source], store=store)
    assert ref.rows == 1
    facts = store.tables.facts(ref)
    assert facts["left_out"] == {"unmatched": 2}
    assert facts["left_out_files"] == [
        {"file": "imports/faces/ratings.csv", "rows": 2, "first_line": 3, "first_reason": "unmatched"}
    ]
    assert list_path(home, "faces").read_text().splitlines() == [
        "file,line,picture,reason,detail",
        "imports/faces/ratings.csv,3,2.jpg,unmatched,'2.jpg' names no picture",
        "imports/faces/ratings.csv,4,9.jpg,unmatched,'9.jpg' names no picture",
    ]
    # Names of pictures may be those of people: the facts go into Dagster's metadata.
    assert "jpg" not in json.dumps(facts)


def test_a_name_in_the_list_is_no_formula_of_a_spreadsheet(
    home: Home, store: Store, crawled: Callable[..., TableRef]
) -> None:
    source = folder(home, ratings="image,annotator,score\n=1+1.jpg,ann,3\n-1.jpg,ann,4\n1.jpg,ann,4\n")
    collect_annotations(one_day(crawled(["1.jpg"])), sources=[source], store=store)
    listed = csv.DictReader(list_path(home, "faces").read_text().splitlines())
    assert [row["picture"] for row in listed] == ["'=1+1.jpg", "'-1.jpg"]


def test_a_name_that_means_two_pictures_is_counted_and_not_guessed(
    home: Home, store: Store, crawled: Callable[..., TableRef]
) -> None:
    source = folder(home, ratings="image,annotator,score\n1.jpg,ann,3\n")
    ref = collect_annotations(one_day(crawled(["a/1.jpg", "b/1.jpg"])), sources=[source], store=store)
    assert ref.rows == 0
    facts = store.tables.facts(ref)
    assert (facts["left_out"], facts["state"]) == ({"ambiguous": 1}, "empty")


def test_what_is_said_about_a_picture_goes_to_no_other(
    home: Home, store: Store, crawled: Callable[..., TableRef], image_id: Callable[[str], str]
) -> None:
    source = folder(
        home,
        ratings="image,annotator,score\na/1.jpg,ann,3\nb/1.jpg,ann,4\n2.jpg,ann,5\n",
        pictures="image,person\n1.jpg,X1\n2.jpg,X2\nghost.jpg,X3\n",
    )
    crawl = one_day(crawled(["a/1.jpg", "b/1.jpg", "2.jpg"]))
    ref = collect_annotations(crawl, sources=[source], store=store)
    about = {row["image_id"]: row["attributes"] for row in store.tables.read(ref).to_pylist()}
    assert about == {
        image_id("a/1.jpg"): "{}",
        image_id("b/1.jpg"): "{}",
        image_id("2.jpg"): '{"person": "X2"}',
    }
    facts = store.tables.facts(ref)
    assert facts["left_out"] == {}
    assert facts["left_out_descriptions"] == {"ambiguous": 1, "unmatched": 1}
    assert facts["left_out_files"][0]["first_line"] == 2
    assert "ghost.jpg,unmatched" in list_path(home, "faces").read_text()


def test_the_list_goes_when_everything_is_mended(
    home: Home, store: Store, crawled: Callable[..., TableRef]
) -> None:
    crawl = one_day(crawled(["1.jpg"]))
    head = "image,annotator,score\n"
    for ratings, listed in ((f"{head}1.jpg,ann,3\n2.jpg,ann,3\n", True), (f"{head}1.jpg,ann,3\n", False)):
        collect_annotations(crawl, sources=[folder(home, ratings=ratings)], store=store)
        assert list_path(home, "faces").exists() is listed


def test_the_quality_floor_says_what_is_wrong_and_how_to_mend_it() -> None:
    files = [{"file": "imports/faces/ratings.csv", "rows": 2, "first_line": 3, "first_reason": "unmatched"}]
    assert describe_files(files).startswith(
        "2 rows of imports/faces/ratings.csv, first line 3 (unmatched). Mend the names"
    )
    assert describe_files([]) == ""


def test_a_source_does_not_rate_the_pictures_of_another(
    home: Home, store: Store, crawled: Callable[..., TableRef]
) -> None:
    source = folder(home, ratings="image,annotator,score\n1.jpg,ann,3\n", name="others")
    ref = collect_annotations(one_day(crawled(["1.jpg"])), sources=[source], store=store)
    assert (ref.rows, store.tables.facts(ref)["left_out"]) == (0, {"unmatched": 1})


def test_annotators_of_two_sources_are_different_people(
    home: Home, store: Store, crawled: Callable[..., TableRef]
) -> None:
    text = "image,annotator,score\n1.jpg,ann,3\n"
    sources = [folder(home, ratings=text, name=name) for name in ("one", "two")]
    crawl = Snapshot(
        {
            "2026-01-01": crawled(["1.jpg"], source="one"),
            "2026-01-02": crawled(["1.jpg"], source="two", day="2026-01-02"),
        }
    )
    ref = collect_annotations(crawl, sources=sources, store=store)
    assert store.tables.read(ref, ["annotator"]).column(0).to_pylist() == ["one/ann", "two/ann"]


def test_a_picture_can_be_named_by_its_address(
    home: Home, store: Store, crawled: Callable[..., TableRef]
) -> None:
    path = home.imports / "ratings.csv"
    path.write_text("image,annotator,score\nfile:///photos/1.jpg,ann,3\nphotos/2.jpg,ann,4\n")
    source = PagesSource(
        name="faces", start_urls=["http://127.0.0.1:1/"], ratings=[RatingsFile(path="imports/ratings.csv")]
    )
    ref = collect_annotations(one_day(crawled(["1.jpg", "2.jpg"])), sources=[source], store=store)
    assert ref.rows == 2


def test_the_same_ratings_in_another_order_give_the_same_table(
    home: Home, store: Store, crawled: Callable[..., TableRef]
) -> None:
    crawl = one_day(crawled(["1.jpg", "2.jpg"]))
    rows = ["1.jpg,ann,3", "1.jpg,bob,4", "2.jpg,ann,5"]
    first = folder(home, ratings="\n".join(["image,annotator,score", *rows]))
    one = collect_annotations(crawl, sources=[first], store=store)
    second = folder(home, ratings="\n".join(["image,annotator,score", *reversed(rows)]))
    assert collect_annotations(crawl, sources=[second], store=store) == one


def test_nothing_crawled_and_nothing_rated_is_an_empty_table(home: Home, store: Store) -> None:
    ref = collect_annotations(Snapshot({}), sources=[], store=store)
    assert ref.rows == 0
    assert store.tables.facts(ref)["state"] == "empty"


def test_a_row_that_cannot_be_used_does_not_stop_the_others(
    home: Home, store: Store, crawled: Callable[..., TableRef]
) -> None:
    source = folder(home, ratings="image,annotator,score\n1.jpg,ann,33\n1.jpg,bob,3\n")
    ref = collect_annotations(one_day(crawled(["1.jpg"])), sources=[source], store=store)
    assert (ref.rows, store.tables.facts(ref)["left_out"]) == (1, {"out_of_range": 1})


def test_a_file_that_cannot_be_used_at_all_stops_the_collection(
    home: Home, store: Store, crawled: Callable[..., TableRef]
) -> None:
    source = folder(home, ratings="image,who,score\n1.jpg,ann,3\n")
    with pytest.raises(InputError, match=r"ratings\.csv, line 1: there is no column 'annotator'"):
        collect_annotations(one_day(crawled(["1.jpg"])), sources=[source], store=store)


def test_the_fingerprint_follows_the_bytes_of_every_declared_file(home: Home) -> None:
    source = folder(home, ratings="image,annotator,score\n1,a,3\n", pictures="image,person\n1,X\n")
    other = folder(home, ratings="image,annotator,score\n1,a,3\n", name="other")
    first = ratings_fingerprint([source, other], home)
    assert ratings_fingerprint([other, source], home) == first
    for file in ("ratings.csv", "pictures.csv"):
        path = Path(home.imports, "faces", file)
        before = path.read_text()
        path.write_text(before + "2,a,4\n")
        assert ratings_fingerprint([source, other], home) != first
        path.write_text(before)
    assert ratings_fingerprint([source, other], home) == first
    Path(home.imports, "faces", "ratings.csv").unlink()
    with pytest.raises(InputError, match=r"ratings\.csv: it cannot be read"):
        ratings_fingerprint([source], home)


def test_a_person_is_the_same_in_a_file_and_on_the_site_and_another_in_another_source(
    home: Home, store: Store, crawled: Callable[..., TableRef], image_id: Callable[[str], str]
) -> None:
    about = "image,person\n1.jpg,7\n2.jpg,7\n"
    mine = folder(home, ratings="image,annotator,score\n1.jpg,ann,3\n", pictures=about)
    others = folder(home, pictures="image,person\n3.jpg,7\n", name="others")
    elsewhere = crawled(["3.jpg", "4.jpg"], source="others", day="2026-01-02")
    crawl = Snapshot({"2026-01-01": crawled(["1.jpg", "2.jpg"]), "2026-01-02": elsewhere})
    moment = datetime(2026, 1, 3, tzinfo=UTC)
    said = [SiteRating(image_id(name), "ben", 5, moment, "") for name in ("2.jpg", "3.jpg", "4.jpg")]
    ref = collect_annotations(crawl, sources=[mine, others], store=store, from_site=said)
    described = describe_pictures(store.tables.read(ref), LabelSettings())
    assert {name: described[image_id(name)].persons for name in ("1.jpg", "2.jpg", "3.jpg", "4.jpg")} == {
        "1.jpg": ["faces/7"],
        "2.jpg": ["faces/7"],
        "3.jpg": ["others/7"],
        "4.jpg": [],
    }


def test_a_person_of_a_picture_that_two_sources_describe_is_one_of_each(
    home: Home, store: Store, crawled: Callable[..., TableRef], image_id: Callable[[str], str]
) -> None:
    sources = [folder(home, pictures="image,person\n1.jpg,7\n", name=name) for name in ("faces", "others")]
    twice = crawled(["1.jpg"], source="others", day="2026-01-02")
    crawl = Snapshot({"2026-01-01": crawled(["1.jpg"]), "2026-01-02": twice})
    said = [SiteRating(image_id("1.jpg"), "ben", 5, datetime(2026, 1, 3, tzinfo=UTC), "")]
    ref = collect_annotations(crawl, sources=sources, store=store, from_site=said)
    described = describe_pictures(store.tables.read(ref), LabelSettings())
    assert described[image_id("1.jpg")].persons == ["faces/7", "others/7"]
