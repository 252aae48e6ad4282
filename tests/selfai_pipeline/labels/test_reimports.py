"""The same ratings are the same table, however often, in which order and in which format they come in."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.annotations import collect_annotations, origin_of
from selfai_pipeline.labels.importing import import_folder
from selfai_pipeline.labels.left_out import list_path
from selfai_pipeline.sources.settings import FolderSource, RatingsFile, load_sources
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef

Rows = Sequence[dict[str, Any]]

RATINGS: Rows = [
    {"image": "1.jpg", "annotator": "ann", "score": 3.5, "at": "2026-01-01T10:00:00Z", "split": "train"},
    {"image": "1.jpg", "annotator": "bob", "score": 4, "at": None, "split": None},
    {"image": "2.jpg", "annotator": "ann", "score": 0.1, "at": "2026-01-02T10:00:00Z", "split": "test"},
]
MEANS: Rows = [
    {"image": "1.jpg", "score": 3.25, "annotators": 60},
    {"image": "2.jpg", "score": 1.5, "annotators": 59},
]
ABOUT: Rows = [
    {"image": "1.jpg", "person": "X", "age": 30, "height": 1.75},
    {"image": "2.jpg", "person": "Y", "age": 40, "height": 1.5},
]
ENDINGS = [".csv", ".jsonl", ".ndjson", ".json", ".parquet"]


def write(path: Path, rows: Rows) -> Path:
    if path.suffix == ".csv":
        sink = io.StringIO()
        writer = csv.DictWriter(sink, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(sink.getvalue())
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(list(rows)))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("1.jpg", "2.jpg"):
        (folder / name).write_bytes(b"bytes")
    return folder


@pytest.fixture
def collect(photos: Path, home: Home, store: Store, crawled: Callable[..., TableRef]) -> Callable[..., Any]:
    """Imports files of this ending and gives the version of `annotations` that they make."""

    def bring_in(
        ending: str, *, ratings: Rows = RATINGS, scores: Rows = MEANS, pictures: Rows = ABOUT
    ) -> TableRef:
        files = {
            kind: write(photos.parent / f"{kind}{ending}", rows)
            for kind, rows in {"ratings": ratings, "scores": scores, "pictures": pictures}.items()
        }
        import_folder(photos, home=home, name="faces", day="2026-01-01", rated_at_column="at", **files)
        sources = load_sources(home.sources_file)
        return collect_annotations(
            Snapshot({"2026-01-01": crawled(["1.jpg", "2.jpg"])}), sources=sources, store=store
        )

    return bring_in


def test_every_format_and_every_order_gives_the_same_bytes(
    collect: Callable[..., TableRef], store: Store
) -> None:
    first = collect(".csv")
    assert first.rows == 5
    assert collect(".csv") == first
    for ending in ENDINGS:
        turned = {"ratings": RATINGS[::-1], "scores": MEANS[::-1], "pictures": ABOUT[::-1]}
        assert collect(ending, **turned) == first, ending
    origins = store.tables.read(first, ["origin"]).column(0).unique().to_pylist()
    assert sorted(origins) == ["faces:imports/faces/ratings", "faces:imports/faces/scores"]


def test_only_the_copies_of_the_last_import_are_kept_with_their_endings(
    collect: Callable[..., TableRef], home: Home
) -> None:
    for ending in (".csv", ".parquet"):
        collect(ending)
        kept = sorted(path.name for path in (home.imports / "faces").iterdir())
        assert [name.partition("-")[0] for name in kept] == ["pictures", "ratings", "scores"]
        assert all(name.endswith(ending) for name in kept)


def test_a_correction_is_a_new_version_and_the_old_one_stays(
    collect: Callable[..., TableRef], store: Store
) -> None:
    old = collect(".csv")
    new = collect(".jsonl", ratings=[{**RATINGS[0], "score": 9}, *RATINGS[1:]])
    assert new != old
    scores = {
        ref.sha256: max(row["score"] for row in store.tables.read(ref).to_pylist()) for ref in (old, new)
    }
    assert scores == {old.sha256: 4, new.sha256: 9}
    assert collect(".parquet") == old


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_split_is_on_one_side_in_every_format(
    collect: Callable[..., TableRef], store: Store, ending: str
) -> None:
    ref = collect(ending)
    splits = {json.loads(text).get("split") for text in store.tables.read(ref)["attributes"].to_pylist()}
    assert splits == {"train", "test", None}
    with pytest.raises(InputError, match=r"'2\.jpg\' is given as validation, but as test in .*ratings"):
        collect(ending, pictures=[{**ABOUT[1], "split": "val"}])
    with pytest.raises(InputError, match=r"'1\.jpg\' is given as test, but as train in .*ratings"):
        collect(ending, scores=[{**MEANS[0], "split": "test"}, {**MEANS[1], "split": "test"}])
    with pytest.raises(InputError, match=r"'3' is no split.*Write train, validation or test"):
        collect(ending, ratings=[*RATINGS[:2], {**RATINGS[2], "split": "3"}])


def test_the_origin_of_a_file_that_was_not_imported_is_its_path() -> None:
    assert origin_of("faces", RatingsFile(path="/data/ratings-0123456789ab.csv")) == (
        "faces:/data/ratings-0123456789ab.csv"
    )
    assert (
        origin_of("faces", RatingsFile(path="imports/faces/ratings.csv")) == "faces:imports/faces/ratings.csv"
    )


def test_a_rating_in_two_files_of_a_source_counts_once(
    home: Home, store: Store, crawled: Callable[..., TableRef]
) -> None:
    changed = [
        RATINGS[0],
        {**RATINGS[1], "score": 8},
        {**RATINGS[2], "score": 9, "at": "2026-02-01T10:00:00Z"},
    ]
    write(home.imports / "january.csv", RATINGS)
    write(home.imports / "all.jsonl", changed)
    files = [
        RatingsFile(path=f"imports/{name}", rated_at_column="at") for name in ("january.csv", "all.jsonl")
    ]
    source = FolderSource(name="faces", path="/photos", day="2026-01-01", ratings=files)
    crawl = Snapshot({"2026-01-01": crawled(["1.jpg", "2.jpg"])})
    ref = collect_annotations(crawl, sources=[source], store=store)
    rows = store.tables.read(ref).to_pylist()
    assert sorted((row["annotator"], row["score"]) for row in rows) == [("faces/ann", 3.5), ("faces/ann", 9)]
    facts = store.tables.facts(ref)
    assert (facts["counts"]["repeated"], facts["counts"]["superseded"]) == (1, 1)
    assert facts["left_out"] == {"contradicts": 2}
    assert "'1.jpg' is scored by 'bob' as 4, but 8 in imports/all.jsonl, line 2" in (
        list_path(home, "faces").read_text()
    )


def test_what_nobody_meant_as_a_rating_is_listed_and_counts_against_nothing(
    home: Home, store: Store, crawled: Callable[..., TableRef]
) -> None:
    result = {"from_name": "score", "type": "rating", "value": {"rating": 4}}
    task = {
        "data": {"image": "1.jpg"},
        "annotations": [
            {"id": 1, "completed_by": 7, "result": [result]},
            {"id": 2, "completed_by": 8, "result": [], "was_cancelled": True},
        ],
        "predictions": [{"id": 3}],
    }
    (home.imports / "export.json").write_text(json.dumps([task]))
    files = [RatingsFile(path="imports/export.json")]
    source = FolderSource(name="faces", path="/photos", day="2026-01-01", ratings=files)
    ref = collect_annotations(Snapshot({"2026-01-01": crawled(["1.jpg"])}), sources=[source], store=store)
    facts = store.tables.facts(ref)
    assert (ref.rows, facts["left_out"], facts["left_out_files"]) == (1, {}, [])
    assert facts["no_ratings"] == {"cancelled": 1, "prediction": 1}
    assert len(list_path(home, "faces").read_text().splitlines()) == 3
