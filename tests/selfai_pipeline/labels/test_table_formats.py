"""Ratings say the same in every format, and what is left out has its line, row or item."""

import csv
import datetime
import gzip
import io
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.ratings_file import Ratings, read_pictures, read_ratings
from selfai_pipeline.labels.text_table import read_table, text_of
from selfai_pipeline.sources.settings import PicturesFile, RatingsFile

Rows = Sequence[dict[str, Any]]


def as_csv(rows: Rows, path: Path) -> None:
    """As pandas writes it: nothing is an empty cell."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    sink = io.StringIO(newline="")
    writer = csv.DictWriter(sink, names, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(sink.getvalue(), encoding="utf-8", newline="")


def as_json_lines(rows: Rows, path: Path) -> None:
    path.write_text("\n".join(json.dumps(row) for row in rows))


def as_json(rows: Rows, path: Path) -> None:
    path.write_text(json.dumps(rows, indent=1))


def as_parquet(rows: Rows, path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


WRITERS: dict[str, Callable[[Rows, Path], None]] = {
    ".csv": as_csv,
    ".jsonl": as_json_lines,
    ".json": as_json,
    ".parquet": as_parquet,
}
ENDINGS = sorted(WRITERS)


def written(home: Home, rows: Rows, ending: str, **options: Any) -> RatingsFile:
    path = home.imports / f"ratings{ending}"
    WRITERS[ending](rows, path)
    return RatingsFile.model_validate({"path": f"imports/ratings{ending}", **options})


def said(ratings: Ratings) -> Any:
    """All that ratings say, without the file and the lines."""
    return (
        ratings.read,
        ratings.names,
        ratings.annotators,
        ratings.scores.tolist(),
        ratings.original_scores.tolist(),
        ratings.counts.tolist(),
        ratings.rated_at,
        ratings.attributes,
        (ratings.repeated, ratings.superseded),
        [(row.name, row.reason) for row in ratings.left_out],
    )


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
RATING = st.fixed_dictionaries(
    {
        "image": st.sampled_from(["1.jpg", "a b/2.jpg", "ü.jpg", " ", "3"]),
        "annotator": st.sampled_from(["ann", "bob", "", "7"]),
        "score": st.none() | st.floats(-1, 10) | st.floats(0, 9),
        "at": st.sampled_from([None, "2026-01-01", "2026-01-02T03:04:05+09:00", "noon"]),
        "note": st.none() | TEXT,
        "age": st.none() | st.integers(-(2**63), 2**63 - 1),
    }
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(rows=st.lists(RATING, min_size=1, max_size=8))
def test_the_same_rows_are_the_same_ratings(home: Home, rows: Rows) -> None:
    read = [
        said(read_ratings(written(home, rows, ending, rated_at_column="at"), home=home)) for ending in ENDINGS
    ]
    assert all(one == read[0] for one in read[1:])


@pytest.mark.parametrize("ending", ENDINGS)
def test_means_with_a_count_and_a_split(home: Home, ending: str) -> None:
    rows = [
        {"image": "1.jpg", "score": 3.25, "n": 60, "split": "train"},
        {"image": "2.jpg", "score": 4, "n": 59, "split": "Test"},
        {"image": "3.jpg", "score": 4, "n": 0, "split": None},
    ]
    file = written(home, rows, ending, annotator_column="", count_column="n", minimum=1, maximum=5)
    ratings = read_ratings(file, home=home)
    assert ratings.annotators is None
    assert ratings.counts.tolist() == [60, 59]
    assert ratings.attributes == ['{"split": "train"}', '{"split": "Test"}']
    assert [one.reason for one in ratings.left_out] == ["no_count"]


@pytest.mark.parametrize(
    ("ending", "place", "other"),
    [
        (".csv", "ratings.csv, line 4", "on line 2"),
        (".jsonl", "ratings.jsonl, line 3", "on line 1"),
        (".json", "ratings.json, item 3", "in item 1"),
        (".parquet", "ratings.parquet, row 3", "in row 1"),
    ],
)
def test_each_reason_has_its_file_and_row(home: Home, ending: str, place: str, other: str) -> None:
    rows = [
        {"image": "1.jpg", "annotator": "ann", "score": 3},
        {"image": "2.jpg", "annotator": "ann", "score": 3},
        {"image": "1.jpg", "annotator": "ann", "score": 5},
    ]
    left_out = read_ratings(written(home, rows, ending), home=home).left_out
    assert left_out[-1].place == f"imports/{place}"
    assert left_out[-1].detail == f"'1.jpg' is scored 5 by 'ann', but 3 {other}"
    pictures = [{"image": "1.jpg", "person": "X"}, {"image": "2.jpg"}, {"image": "1.jpg", "person": "Y"}]
    written(home, pictures, ending)
    found = read_pictures(PicturesFile(path=f"imports/ratings{ending}"), home=home).left_out
    assert found[-1].place == f"imports/{place}"
    assert found[-1].detail == f"'1.jpg' is described differently {other}"


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"score": True}, "not_a_number"),
        ({"score": None}, "not_a_number"),
        ({"score": [3]}, "not_a_number"),
        ({"score": {"value": 3}}, "not_a_number"),
        ({"score": "three"}, "not_a_number"),
        ({"annotator": ["ann"]}, "nested"),
        ({"annotator": None}, "no_annotator"),
        ({"image": {"name": "1.jpg"}}, "nested"),
        ({"image": None}, "no_name"),
    ],
)
def test_a_value_that_makes_no_sense_costs_its_row(
    home: Home, ending: str, bad: dict[str, Any], reason: str
) -> None:
    good = {"image": "1.jpg", "annotator": "ann", "score": 3}
    path = home.imports / f"ratings{ending}"
    # A column of Parquet has one type: the bad row has a file of its own.
    rows = [{**good, **bad}] if ending == ".parquet" else [good, {**good, "image": "2.jpg", **bad}]
    WRITERS[ending](rows, path)
    left_out = read_ratings(RatingsFile(path=str(path)), home=home).left_out
    assert [(row.line, str(row.reason)) for row in left_out] == [(len(rows), reason)]


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_a_null_character_in_a_cell_costs_its_row(home: Home, ending: str) -> None:
    rows = [{"image": name, "annotator": "ann", "score": 3, "note": "\0"} for name in ("1.jpg", "2.jpg")]
    file = written(home, [{**rows[0], "note": ""}, rows[1]], ending)
    (row,) = read_ratings(file, home=home).left_out
    assert str(row.reason) == "null_character"
    with pytest.raises(InputError, match=" 1: it holds a null character; none of its 2 rows can be used"):
        read_ratings(written(home, rows, ending), home=home)


def test_a_text_of_parquet_that_is_no_utf8_costs_its_row(home: Home) -> None:
    names = pa.array([b"\xff.jpg", b"1.jpg"]).view(pa.string())
    path = home.imports / "ratings.parquet"
    pq.write_table(pa.table({"image": names, "annotator": ["a", "a"], "score": [1, 2]}), path)
    ratings = read_ratings(RatingsFile(path=str(path)), home=home)
    assert ratings.names == ["1.jpg"]
    assert [(row.line, str(row.reason)) for row in ratings.left_out] == [(1, "not_utf8")]


def test_half_a_character_of_json_costs_its_row(home: Home) -> None:
    path = home.imports / "ratings.jsonl"
    good = '{"image": "1.jpg", "annotator": "ann", "score": 3}'
    path.write_text(good + "\n" + good.replace("ann", "\\ud800"))
    (row,) = read_ratings(RatingsFile(path=str(path)), home=home).left_out
    assert (row.line, str(row.reason)) == (2, "not_utf8")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" a ", "a"),
        (None, ""),
        (float("nan"), ""),
        (float("inf"), "inf"),
        (True, "true"),
        (3, "3"),
        (3.0, "3.0"),
        (0.1, "0.1"),
        (10**30, "1" + "0" * 30),
        (Decimal("3.50"), "3.50"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC), "2026-01-02T03:00:00+00:00"),
        (["ä", {"b": None}], '["ä", {"b": null}]'),
    ],
)
def test_a_value_is_the_text_that_a_csv_would_have(value: Any, text: str) -> None:
    assert text_of(value) == (text, isinstance(value, list))


def test_moments_and_categories_of_parquet(home: Home) -> None:
    moments = [datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), None]
    table = pa.table(
        {
            "image": pa.array(["1.jpg", "2.jpg"]).dictionary_encode(),
            "annotator": pa.array([12, 13], pa.uint64()),
            "score": pa.array([4.3, 1], pa.float32()),
            "at": pa.array(moments, pa.timestamp("ns", "Asia/Tokyo")),
            "split": ["train", "test"],
            "raw": [b"a", b"b"],
            "__index_level_0__": [5, 6],
        }
    )
    path = home.imports / "ratings.parquet"
    pq.write_table(table, path)
    ratings = read_ratings(RatingsFile(path=str(path), rated_at_column="at", maximum=4.3), home=home)
    assert ratings.names == ["1.jpg", "2.jpg"]
    assert ratings.annotators == ["12", "13"]
    assert ratings.original_scores.tolist() == [4.3, 1.0]
    assert ratings.rated_at == moments
    assert ratings.attributes == ['{"split": "train"}', '{"split": "test"}']


def test_rows_may_lack_keys_and_have_others(home: Home) -> None:
    path = home.imports / "about.jsonl"
    path.write_text('{"image": "1.jpg"}\n\n{"image": "2.jpg", "tags": ["x"], "age": 3}\n{"age": 4}\n')
    rows = read_pictures(PicturesFile(path=str(path)), home=home)
    assert rows.attributes == ["{}", json.dumps({"age": "3", "tags": '["x"]'})]
    assert [(row.line, str(row.reason)) for row in rows.left_out] == [(4, "no_name")]


def test_text_may_be_compressed(home: Home) -> None:
    path = home.imports / "ratings.csv.gz"
    path.write_bytes(gzip.compress(b"image,annotator,score\n1.jpg,ann,3\n"))
    assert read_ratings(RatingsFile(path=str(path)), home=home).names == ["1.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.txt", b"image,annotator,score\n1,a,3\n", "r.txt: its name does not tell its format"),
        (
            "r.jsonl",
            b"image,annotator,score\n1,a,3\n",
            "line 1: it is no JSON .Expecting value.; none of its 2",
        ),
        ("r.json", b'{"image": 1}\n{"image": 2}\n', "line 1: it does not begin with \\[.*as .jsonl"),
        ("r.json", b"[]", "r.json: it has no rows"),
        ("r.jsonl", b"\n\n", "r.jsonl: it has no rows"),
        (
            "r.jsonl",
            b'{"image": "1", "who": "a"}\n',
            "r.jsonl: there is no column 'annotator'; it has",
        ),
        ("r.csv", b"PAR1\x15\x04\x00", "line 1: it is no header of a CSV"),
        ("r.parquet", b"image,annotator,score\n1,a,3\n", "r.parquet: it is no Parquet file that can be read"),
        ("r.csv.gz", b"image,annotator,score\n1,a,3\n", "r.csv.gz: it is no whole gzip file"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_to_do(
    home: Home, name: str, content: bytes, message: str
) -> None:
    (home.imports / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_ratings(RatingsFile(path=f"imports/{name}"), home=home)
    assert "\n" not in str(caught.value)


def test_a_parquet_file_without_rows_or_cut_short_is_refused(home: Home) -> None:
    path = home.imports / "ratings.parquet"
    pq.write_table(pa.table({"image": pa.array([], pa.string())}), path)
    with pytest.raises(InputError, match="it has no rows"):
        read_table(path)
    as_parquet([{"image": "1.jpg"}] * 1000, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="it is no Parquet file that can be read"):
        read_table(path)


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MOST_ROWS", 2, "row 3: it has more than 2 rows"),
        ("MOST_CHARACTERS", 20, "row 3: its cells have more than 20 characters"),
    ],
)
def test_a_table_that_memory_cannot_hold_is_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, message: str
) -> None:
    path = home.imports / "ratings.parquet"
    as_parquet([{"image": "12345678"}] * 1000, path)
    monkeypatch.setattr(f"selfai_pipeline.labels.text_table.{limit}", value)
    with pytest.raises(InputError, match=message):
        read_table(path)


def test_a_file_of_rows_that_are_none_is_given_up(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home.imports / "ratings.jsonl.gz"
    path.write_bytes(gzip.compress(b"x\n" * 1000))
    monkeypatch.setattr("selfai_pipeline.labels.text_table.MOST_MISFITS", 10)
    with pytest.raises(InputError, match=r"line 11: it has more than 10 rows that are none \(it is no JSON"):
        read_table(path)


def test_rows_whose_keys_all_differ_are_refused(home: Home) -> None:
    path = home.imports / "ratings.jsonl"
    as_json_lines([{f"k{number}": number} for number in range(300)], path)
    with pytest.raises(InputError, match="line 201: its rows have more than 200 different columns"):
        read_table(path)
