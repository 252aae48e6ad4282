"""What was removed does not come back: by a crawl, a folder, a list of ratings, or an import."""

import csv
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.labels.annotations import collect_annotations
from selfai_pipeline.labels.importing import import_folder
from selfai_pipeline.labels.left_out import list_path
from selfai_pipeline.labels.site.gold import gold_scores
from selfai_pipeline.lineage.registry import Registry
from selfai_pipeline.lineage.versions import Archive
from selfai_pipeline.removal.erase import carry_out
from selfai_pipeline.removal.plan import Plan, make_plan
from selfai_pipeline.removal.subjects import Known, Subjects
from selfai_pipeline.sources.crawl import crawl_day
from selfai_pipeline.sources.crawl_job import CrawlJob, judge_picture
from selfai_pipeline.sources.journal import open_journal
from selfai_pipeline.sources.outcomes import READ, Found, Links, Outcome
from selfai_pipeline.sources.recorder import Came, Fetched, Recorder
from selfai_pipeline.sources.settings import (
    CrawlSettings,
    PagesSource,
    RatingsFile,
    UrlListSource,
    load_sources,
    save_sources,
)
from selfai_pipeline.sources.tombstones import Tombstones, removal_key
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record

DAY = "2026-02-01"
Search = Callable[[Path, Iterable[bytes]], set[str]]


def drawn(number: int) -> np.ndarray:
    """A picture with detail of several sizes, as photographs have it."""
    generator = np.random.default_rng(number)
    layers = [
        cv2.resize(generator.normal(0, size, (side, side, 3)), (120, 160), interpolation=cv2.INTER_CUBIC)
        for side, size in ((4, 60), (8, 40), (20, 30))
    ]
    return np.clip(128 + sum(layers), 0, 255).astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        cv2.imwrite(str(folder / f"photo-{number}.png"), drawn(number))
    return folder


def ratings_in(folder: Path) -> Path:
    path = folder.parent / "ratings.csv"
    with path.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "annotator", "score"])
        writer.writerows(
            [f"photo-{number}.png", name, 3 + number] for number in range(4) for name in ("anna", "boris")
        )
    return path


def bring_in(folder: Path, store: Store) -> Any:
    return import_folder(folder, home=store.home, day=DAY, ratings=ratings_in(folder))


def crawl(store: Store) -> list[dict[str, Any]]:
    sources = load_sources(store.home.sources_file)
    ref = crawl_day(DAY, sources=sources, store=store, settings=CrawlSettings())
    store.tables.point(Record(ref, "2", {}, {}))
    snapshot = store.tables.snapshot("raw_crawl")
    ratings = collect_annotations(snapshot, sources=sources, store=store)
    store.tables.point(Record(ratings, "4", {}, {"raw_crawl": snapshot.hashes}))
    return store.tables.read(ref).to_pylist()


def annotators(store: Store) -> set[str]:
    ref = store.tables.current("annotations").ref  # type: ignore[union-attr]
    return set(store.tables.read(ref)["annotator"].to_pylist())  # type: ignore[arg-type]


def remove(store: Store, kind: str, value: str) -> list[str]:
    known = Known(Archive(store))
    plan = make_plan(kind, value, reason="letter 7", known=known, registry=Registry())
    plan.write(store.home)
    return carry_out(plan, store=store)


def test_a_file_that_still_lies_in_its_folder_is_passed_over_by_every_way_in(
    photos: Path, store: Store, search: Search
) -> None:
    bring_in(photos, store)
    rows = crawl(store)
    gone = next(row for row in rows if row["url"] == "file:photo-1.png")
    needles = [gone["image_id"].encode(), b"photo-1", (photos / "photo-1.png").read_bytes()]
    assert remove(store, "picture", gone["image_id"]) == [str(photos / "photo-1.png")]
    assert search(store.home.root, needles) == set()
    left = crawl(store)
    assert [row["url"] for row in left] == [f"file:photo-{number}.png" for number in (0, 2, 3)]
    summary = bring_in(photos, store)
    assert (summary.pictures, summary.ratings, summary.left_out) == (3, 6, {})
    crawl(store)
    assert search(store.home.root, needles) == set()


@pytest.mark.parametrize("change", ["encoded again", "mirrored", "turned", "smaller"])
def test_a_copy_under_another_name_is_refused(
    photos: Path, store: Store, change: str, search: Search
) -> None:
    bring_in(photos, store)
    gone = next(row for row in crawl(store) if row["url"] == "file:photo-1.png")
    remove(store, "picture", gone["image_id"])
    (photos / "photo-1.png").unlink()
    picture = {
        "encoded again": lambda one: one,
        "mirrored": lambda one: cv2.flip(one, 1),
        "turned": lambda one: cv2.rotate(one, cv2.ROTATE_90_CLOCKWISE),
        "smaller": lambda one: cv2.resize(one, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA),
    }[change](drawn(1))
    cv2.imwrite(str(photos / "other.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
    rows = crawl(store)
    (refused,) = [row for row in rows if row["url"] == "file:other.jpg"]
    assert (refused["status"], refused["reason"]) == ("refused", "removed")
    assert refused["image_id"] is refused["fetched_sha256"] is None
    assert [row["status"] for row in rows].count("stored") == 3
    assert search(store.home.root / "pictures", [(photos / "other.jpg").read_bytes()]) == set()
    assert crawl(store) == rows


def test_ratings_of_a_removed_annotator_are_passed_over_when_their_file_is_brought_in_again(
    photos: Path, store: Store, search: Search
) -> None:
    bring_in(photos, store)
    crawl(store)
    assert annotators(store) == {"photos/anna", "photos/boris"}
    assert remove(store, "annotator", "anna") == []
    assert search(store.home.root, [b"anna"]) == set()
    bring_in(photos, store)
    crawl(store)
    assert annotators(store) == {"photos/boris"}
    assert search(store.home.root, [b"anna"]) == set()


def test_a_file_of_ratings_outside_of_the_home_stays_and_is_named(
    photos: Path, store: Store, search: Search
) -> None:
    bring_in(photos, store)
    path = ratings_in(photos)
    path.write_text(path.read_text() + "photo-0.png,anna,9\n")
    text = store.home.sources_file.read_text()
    (copy,) = (store.home.imports / "photos").iterdir()
    store.home.sources_file.write_text(text.replace(f"imports/photos/{copy.name}", str(path)))
    crawl(store)
    # It says twice what anna said of a picture: that is listed by name.
    assert search(store.home.imports, [b"anna"])
    known = Known(Archive(store))
    plan = make_plan("annotator", "anna", reason="letter 7", known=known, registry=Registry())
    assert plan.outside == (str(path),)
    plan.write(store.home)
    carry_out(plan, store=store)
    assert b"anna" in path.read_bytes()
    crawl(store)
    assert annotators(store) == {"photos/boris"}
    assert search(store.home.root, [b"anna"]) == set()


def rated_outside(store: Store, folder: Path, *names: str) -> None:
    """Declare one rating of each name, in a file that is the user's own: the first is scored 0, then 1 ..."""
    path = folder.parent / "own.csv"
    lines = [f"{name},anna,{score}" for score, name in enumerate(names)]
    path.write_text("\n".join(["image,annotator,score", *lines]) + "\n")
    (source,) = load_sources(store.home.sources_file)
    save_sources(
        store.home.sources_file, [source.model_copy(update={"ratings": [RatingsFile(path=str(path))]})]
    )


def rated(store: Store) -> tuple[list[tuple[str, float]], list[str]]:
    """Path and score of each rating, and the names of the rows that are listed as left out."""
    urls = {row["image_id"]: row["url"].removeprefix("file:") for row in crawl(store)}
    rows = store.tables.read(store.tables.current("annotations").ref).to_pylist()  # type: ignore[union-attr, arg-type]
    path = list_path(store.home, "photos")
    listed = [row["picture"] for row in csv.DictReader(path.open())] if path.exists() else []
    return sorted((urls[row["image_id"]], row["score"]) for row in rows), listed


@pytest.fixture
def nested(photos: Path, store: Store) -> Path:
    """A folder with `1.png`, `b/1.png`, `c/2.png` and `d/2.png`."""
    for number, name in enumerate(("1.png", "b/1.png", "c/2.png", "d/2.png")):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / f"photo-{number}.png").rename(photos / name)
    import_folder(photos, home=store.home, day=DAY)
    return photos


def remove_file(store: Store, path: str) -> None:
    (row,) = [row for row in crawl(store) if row["url"] == f"file:{path}"]
    remove(store, "picture", row["image_id"])


def test_a_rating_of_a_removed_picture_does_not_move_to_another_of_a_like_name(
    nested: Path, store: Store
) -> None:
    names = ("1.png", "b/1.png", "2.png", "d/2.png", f"{nested}/1.png", f"{nested}/c/2.png")
    rated_outside(store, nested, *names)
    assert rated(store)[1] == ["2.png"], "it means two pictures"
    remove_file(store, "1.png")
    remove_file(store, "c/2.png")
    assert rated(store) == ([("b/1.png", 1), ("d/2.png", 3)], [])


def test_the_exact_path_of_a_stored_picture_means_that_picture_and_no_removed_one(
    nested: Path, store: Store
) -> None:
    rated_outside(store, nested, "1.png", "/elsewhere/b/1.png")
    remove_file(store, "b/1.png")
    assert rated(store) == ([("1.png", 0)], [])


def test_an_import_of_what_is_left_counts_no_rating_of_a_removed_picture(nested: Path, store: Store) -> None:
    remove_file(store, "1.png")
    (nested / "1.png").unlink()
    path = nested.parent / "own.csv"
    path.write_text("image,annotator,score\n1.png,anna,1\nb/1.png,anna,2\n")
    summary = import_folder(nested, home=store.home, day=DAY, ratings=path)
    assert (summary.ratings, summary.left_out) == (1, {})
    (copy,) = (store.home.imports / "photos").iterdir()
    assert copy.read_text() == "image,annotator,score\nb/1.png,anna,2\n"


def test_a_row_whose_name_only_ends_like_that_of_a_removed_picture_is_listed(
    nested: Path, store: Store
) -> None:
    names = ("other/1.png", "/elsewhere/other/2.png", "c/2.png", "/elsewhere/c/2.png")
    rated_outside(store, nested, *names)
    remove_file(store, "c/2.png")
    remove_file(store, "b/1.png")
    # The second of them means no picture; it never meant `c/2.png`.
    assert rated(store)[1] == ["other/1.png", "/elsewhere/other/2.png"]
    path = nested.parent / "own.csv"
    summary = import_folder(nested, home=store.home, day=DAY, ratings=path, strict=False)
    assert summary.left_out == {"unmatched": 2}


def test_the_names_of_a_removed_crawled_picture_are_those_that_could_mean_it(store: Store) -> None:
    key = removal_key(store.home)
    subjects = Subjects(
        urls=frozenset({"https://one.example/a/1%20.png"}),
        hosts=frozenset({"two.example"}),
        names=frozenset({"web/https://one.example/a/1%20.png", "web/1 .png"}),
    )
    stone = Plan("ab" * 6, "2026-02-02", "letter 7", "picture", subjects).tombstone(store.home)
    removed = Tombstones((stone,), key)
    stored = {"https://one.example/b/1%20.png"}

    def refuses(name: str, source: str = "web") -> bool:
        return removed.refuses_name(source, name, stored=stored)

    for name in ("https://one.example/a/1%20.png", "a/1%20.png", "1 .png", "https://two.example/9.png"):
        assert refuses(name)
    assert refuses("1%20.png"), "it is the end of both addresses"
    for name in ("https://one.example/b/1%20.png", "b/1%20.png", "https://one.example/1%20.png", "/1 .png"):
        assert not refuses(name)
    assert not refuses("1 .png", source="other")


def test_a_list_and_a_folder_outside_of_the_home_stay_and_are_named(
    photos: Path, store: Store, tmp_path: Path
) -> None:
    bring_in(photos, store)
    rows = crawl(store)
    addresses = tmp_path / "addresses.csv"
    addresses.write_text("url\nhttps://one.example/1.png\n")
    sources = load_sources(store.home.sources_file)
    save_sources(store.home.sources_file, [*sources, UrlListSource(name="listed", path=str(addresses))])
    picture = next(row for row in rows if row["url"] == "file:photo-0.png")
    plan = make_plan(
        "picture",
        picture["image_id"],
        reason="letter 7",
        known=Known(Archive(store)),
        registry=Registry(),
    )
    plan = replace(plan, subjects=plan.subjects | Subjects(urls=frozenset(["https://one.example/1.png"])))
    plan.write(store.home)
    assert carry_out(plan, store=store) == sorted([str(addresses), str(photos / "photo-0.png")])


def test_a_folder_of_which_everything_was_removed_is_not_brought_in(photos: Path, store: Store) -> None:
    bring_in(photos, store)
    for row in crawl(store):
        remove(store, "picture", row["image_id"])
    with pytest.raises(InputError, match="all pictures in it were removed"):
        bring_in(photos, store)


def recorder_of(store: Store) -> Recorder:
    source = PagesSource(name="web", start_urls=["https://site.example/"])
    job = CrawlJob(DAY, source, CrawlSettings(), str(store.home.root), store.files.url)
    return Recorder(job, open_journal(store.home))


def png(number: int) -> bytes:
    return cv2.imencode(".png", drawn(number))[1].tobytes()


def test_a_crawl_neither_asks_for_a_removed_address_nor_keeps_a_link_to_it(
    store: Store, search: Search
) -> None:
    page = Found("https://site.example/", "page")
    urls = [f"https://site.example/{name}.png" for name in ("gone", "stays")]
    links = Links(urls, []).to_json()
    came = Came(Outcome(page, READ, "r", links=links), [Found(url, "picture", 1) for url in urls])
    fetched = [
        Fetched(Found(url, "picture", 1), png(number), {}, url, None) for number, url in enumerate(urls)
    ]
    recorder = recorder_of(store)
    recorder.write([came])
    recorder.write(list(fetched))
    assert remove(store, "url", urls[0]) == []
    again = recorder_of(store)
    again.write([Came(Outcome(page, READ, "s", links=links), came.led_to)])
    # Another address that leads to the removed one, and one that gives its bytes.
    moved = Fetched(Found("https://site.example/moved.png", "picture", 1), png(7), {}, urls[0], None)
    copied = Fetched(Found("https://site.example/copied.png", "picture", 1), png(0), {}, "", None)
    again.write([moved, copied])
    with open_journal(store.home) as journal:
        said = {one.found.url: (one.status, one.reason) for one in journal.outcomes("web", DAY)}
        assert said == {
            page.url: ("read", None),
            "https://site.example/copied.png": ("refused", "removed"),
            "https://site.example/moved.png": ("refused", "removed"),
            urls[1]: ("stored", None),
        }
    assert search(store.home.root, [b"gone.png", png(0)]) == set()


def test_without_removals_no_picture_is_decoded_by_the_crawl(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selfai_pipeline.pictures import looks

    monkeypatch.setattr(looks, "thumbnail_in", lambda *_, **__: pytest.fail("it was decoded"))
    found = Found("https://site.example/1.png", "picture")
    settings = CrawlSettings()
    outcome, _ = judge_picture(
        png(1), found=found, settings=settings, rules="r", removed=Tombstones.of(store)
    )
    assert outcome.status == "stored"


def test_without_its_key_nothing_comes_in(photos: Path, store: Store) -> None:
    bring_in(photos, store)
    rows = crawl(store)
    remove(store, "picture", rows[0]["image_id"])
    key = store.home.removal_key.read_bytes()
    store.home.removal_key.unlink()
    with pytest.raises(StorageError, match="the key of the removals' records is not there"):
        crawl(store)
    store.home.removal_key.write_bytes(key[::-1])
    with pytest.raises(StorageError, match="this is not the key"):
        crawl(store)


def test_a_known_score_of_a_removed_picture_does_not_move_to_another_of_a_like_name(
    nested: Path, store: Store, tmp_path: Path
) -> None:
    rated_outside(store, nested, "b/1.png")
    rated(store)
    remove_file(store, "1.png")
    table = tmp_path / "gold.csv"
    table.write_text("image,score\n1.png,9\nb/1.png,3\n")
    known = gold_scores(
        table, store=store, picture_column="image", score_column="score", minimum=0, maximum=9
    )
    assert list(known.values()) == [3.0]
