"""What a ratings file may look like, and what is said about one that cannot be used."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.ratings_file import Ratings, read_pictures, read_ratings
from selfai_pipeline.sources.settings import PicturesFile, RatingsFile

GOOD = "image,annotator,score\n1.jpg,ann,3\n1.jpg,bob,9\n2.jpg,ann,0\n"


def declared(home: Home, content: str | bytes, **options: object) -> RatingsFile:
    path = home.imports / "ratings.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return RatingsFile.model_validate({"path": "imports/ratings.csv", **options})


def test_each_row_is_a_rating(home: Home) -> None:
    ratings = read_ratings(declared(home, GOOD), home=home)
    assert ratings.names == ["1.jpg", "1.jpg", "2.jpg"]
    assert ratings.annotators == ["ann", "bob", "ann"]
    assert ratings.scores.tolist() == [3, 9, 0]
    assert ratings.counts.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode(),
        GOOD.rstrip("\n").encode(),
        GOOD.replace("\n", "\n\n").encode(),
        GOOD.replace(",", " , ").encode(),
        GOOD.replace("1.jpg", '"1.jpg"').encode(),
    ],
    ids=[
        "byte-order mark",
        "Windows line ends",
        "both",
        "no last line end",
        "blank lines",
        "spaces",
        "quotes",
    ],
)
def test_the_ways_of_spreadsheets_change_nothing(home: Home, content: bytes) -> None:
    ratings = read_ratings(declared(home, content), home=home)
    assert ratings.names == ["1.jpg", "1.jpg", "2.jpg"]
    assert ratings.annotators == ["ann", "bob", "ann"]
    assert ratings.scores.tolist() == [3, 9, 0]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    low=st.floats(-100, 100),
    width=st.floats(0.01, 1000),
    shares=st.lists(st.floats(0, 1), min_size=2, max_size=5),
)
def test_any_scale_maps_to_0_to_9_in_order(home: Home, low: float, width: float, shares: list[float]) -> None:
    values = sorted(min(low + width, max(low, low + width * share)) for share in shares)
    rows = "".join(f"{k}.jpg,ann,{value!r}\n" for k, value in enumerate(values))
    file = declared(home, f"image,annotator,score\n{rows}", minimum=low, maximum=low + width)
    scores = read_ratings(file, home=home).scores.tolist()
    assert scores == sorted(scores)
    assert min(scores) >= 0
    assert max(scores) <= 9


def test_the_ends_and_the_middle_of_a_scale_are_exact(home: Home) -> None:
    content = "image,annotator,score\n1.jpg,ann,1\n2.jpg,ann,4\n3.jpg,ann,7\n"
    ratings = read_ratings(declared(home, content, minimum=1, maximum=7), home=home)
    assert ratings.scores.tolist() == [0, 4.5, 9]
    assert ratings.original_scores.tolist() == [1, 4, 7]


def test_further_columns_are_kept_as_text_without_the_empty_ones(home: Home) -> None:
    content = "image,annotator,score,group,age\n1.jpg,ann,3,AF,24.0\n2.jpg,ann,4,,31\n"
    ratings = read_ratings(declared(home, content), home=home)
    assert [json.loads(one) for one in ratings.attributes] == [{"age": "24.0", "group": "AF"}, {"age": "31"}]
    only = read_ratings(declared(home, content, attribute_columns=["group"]), home=home)
    assert [json.loads(one) for one in only.attributes] == [{"group": "AF"}, {}]


def test_means_come_with_a_count_or_without(home: Home) -> None:
    content = "image,score,annotators\n1.jpg,3.25,60\n2.jpg,4.5,59.0\n"
    counted = read_ratings(declared(home, content, annotator_column="", count_column="annotators"), home=home)
    assert counted.annotators is None
    assert counted.counts.tolist() == [60, 59]
    assert counted.attributes == ["{}", "{}"]
    plain = read_ratings(declared(home, content, annotator_column=""), home=home)
    assert plain.counts.tolist() == [1, 1]


def test_moments_are_read_as_utc(home: Home) -> None:
    content = "image,annotator,score,at\n1,a,3,2026-01-02T03:04:05Z\n2,a,3,2026-01-02 03:04\n3,a,3,\n"
    ratings = read_ratings(declared(home, content, rated_at_column="at"), home=home)
    assert ratings.rated_at == [
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        None,
    ]


def test_a_rating_that_is_said_twice_counts_once(home: Home) -> None:
    content = GOOD + "1.jpg,ann,3\n1.jpg,ann,3.0\n"
    ratings = read_ratings(declared(home, content), home=home)
    assert len(ratings) == 3
    assert (ratings.repeated, ratings.superseded) == (2, 0)


def why(ratings: Ratings) -> list[tuple[int, str, str]]:
    return [(row.line, str(row.reason), row.detail) for row in ratings.left_out]


def test_two_different_ratings_by_one_annotator_are_both_left_out(home: Home) -> None:
    ratings = read_ratings(declared(home, GOOD + "1.jpg,ann,4\n1.jpg,ann,3\n"), home=home)
    assert list(zip(ratings.names, ratings.annotators or [], strict=True)) == [
        ("1.jpg", "bob"),
        ("2.jpg", "ann"),
    ]
    assert why(ratings) == [
        (2, "contradicts", "'1.jpg' is scored 3 by 'ann', but 4 on line 5"),
        (5, "contradicts", "'1.jpg' is scored 4 by 'ann', but 3 on line 2"),
        (6, "contradicts", "'1.jpg' is scored 3 by 'ann', but 4 on line 5"),
    ]
    assert (ratings.read, ratings.repeated, ratings.superseded) == (5, 0, 0)


def test_of_two_different_ratings_the_later_one_counts(home: Home) -> None:
    content = (
        "image,annotator,score,at\n1.jpg,ann,3,2026-01-03\n1.jpg,ann,5,2026-01-09\n1.jpg,ann,7,2026-01-05\n"
    )
    ratings = read_ratings(declared(home, content, rated_at_column="at"), home=home)
    assert ratings.scores.tolist() == [5]
    assert ratings.superseded == 2


def test_two_different_ratings_at_one_moment_are_left_out_with_those_before(home: Home) -> None:
    content = (
        "image,annotator,score,at\n1.jpg,ann,9,2026-01-01\n1.jpg,ann,3,2026-01-03\n1.jpg,ann,5,2026-01-03\n"
        "2.jpg,ann,1,\n"
    )
    ratings = read_ratings(declared(home, content, rated_at_column="at"), home=home)
    assert ratings.names == ["2.jpg"]
    assert [line for line, _, _ in why(ratings)] == [3, 4]
    assert ratings.superseded == 1


def test_two_different_means_of_one_picture_are_left_out(home: Home) -> None:
    file = declared(home, "image,score\n1.jpg,3\n1.jpg,4\n2.jpg,5\n", annotator_column="")
    ratings = read_ratings(file, home=home)
    assert ratings.names == ["2.jpg"]
    assert why(ratings)[0] == (2, "contradicts", "'1.jpg' is scored 3, but 4 on line 3")


@pytest.mark.parametrize(
    ("row", "options", "reason", "detail"),
    [
        ("1,a,10", {}, "out_of_range", "the score 10 is outside of 0..9"),
        ("1,a,-1", {}, "out_of_range", "the score -1 is outside of 0..9"),
        ("1,a,8", {"minimum": 1, "maximum": 7}, "out_of_range", "the score 8 is outside of 1..7"),
        ("1,a,nan", {}, "not_a_number", "the score 'nan' is not a number"),
        ("1,a,inf", {}, "not_a_number", "the score 'inf' is not a number"),
        ("1,a,good", {}, "not_a_number", "the score 'good' is not a number"),
        ('1,a,"3,5"', {}, "not_a_number", "the score '3,5' is not a number"),
        ("1,a,0_5", {}, "not_a_number", "the score '0_5' is not a number"),
        ("1,a,", {}, "not_a_number", "the score '' is not a number"),
        (",a,3", {}, "no_name", "'image' is empty"),
        ("1,,3", {}, "no_annotator", "'annotator' is empty"),
        ("1,a", {}, "cells", "it has 2 cells where the header has 3"),
        ("1,a,3,4", {}, "cells", "it has 4 cells where the header has 3"),
        (b"1,\xe4,3", {}, "not_utf8", "it is not UTF-8"),
        ("1,a\0,3", {}, "null_character", "it holds a null character"),
        ('1,"a"b,3', {}, "not_csv", "it is no row of a CSV"),
        (f"1,{'a' * 100_000},3", {}, "line_too_long", "it is longer than 100000 bytes"),
    ],
)
def test_a_row_that_cannot_be_used_is_left_out_with_its_reason(
    home: Home, row: str | bytes, options: dict[str, object], reason: str, detail: str
) -> None:
    row = row.encode() if isinstance(row, str) else row
    content = b"image,annotator,score\n8,a,3\n%b\n9,a,4\n" % row
    ratings = read_ratings(declared(home, content, **options), home=home)
    assert ratings.names == ["8", "9"]
    assert ratings.lines == [2, 4]
    assert why(ratings) == [(3, reason, detail)]
    assert ratings.read == 3


@pytest.mark.parametrize("count", ["0", "2.5", "1e30", "many"])
def test_a_mean_without_a_whole_count_is_left_out(home: Home, count: str) -> None:
    file = declared(home, f"image,score,n\n1,3,{count}\n2,4,60\n", annotator_column="", count_column="n")
    ratings = read_ratings(file, home=home)
    assert ratings.counts.tolist() == [60]
    assert why(ratings) == [(2, "no_count", f"the count {count!r} is not a whole number of 1 or more")]


@pytest.mark.parametrize("moment", ["noon", "1710010112345", "2026-13-01", "0001-01-01T00:00+09:00"])
def test_a_rating_at_no_moment_is_left_out(home: Home, moment: str) -> None:
    content = f"image,annotator,score,at\n1,a,3,{moment}\n2,a,3,2026-01-01\n"
    ratings = read_ratings(declared(home, content, rated_at_column="at"), home=home)
    assert why(ratings) == [(2, "no_moment", f"'{moment}' is not a moment")]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "ratings.csv: the file is empty"),
        (b"\xef\xbb\xbf\r\n", {}, "it has no rows"),
        (b"image,annotator,score\n", {}, "it has no rows"),
        (b"image,who,score\n1,a,3\n", {}, "line 1: there is no column 'annotator'.*--annotator-column"),
        (b"image,annotator,mark\n1,a,3\n", {}, "line 1: there is no column 'score'.*--score-column"),
        (b"image;annotator;score\n1;a;3\n", {}, "separated by semicolons: save it with commas"),
        (b"image,annotator,score,score\n1,a,3,4\n", {}, "line 1: two columns are called 'score'"),
        (
            b'image,annotator,score\n"1,a,3\n',
            {},
            "line 2: a quote that opens in this row is not closed. Close it",
        ),
        (b"image,annotator,score\n1,\xe4,3\n", {}, "line 2: it is not UTF-8; none of its 1 rows can"),
        (b"\xff\xfei\x00m\x00", {}, "line 1: it is no header of a CSV in UTF-8"),
        (b"image,annotator,score\n1,a\x00,3\n", {}, "line 2: it holds a null character; none of its 1 rows"),
        (b"image,annotator,score,n\n1,a,3,2\n", {"count_column": "n"}, "both an annotator and a count"),
        (
            b"image,annotator,score\n1,a,3\n",
            {"attribute_columns": ["x"]},
            "no column 'x'.*attribute_columns in",
        ),
        (b"image,annotator,score\n1,a,3\n", {"maximum": float("inf")}, "its scale has no end"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(
    home: Home, content: bytes, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_ratings(declared(home, content, **options), home=home)
    assert str(home.imports / "ratings.csv") in caught.value.where
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(home: Home) -> None:
    with pytest.raises(InputError, match=r"none\.csv: there is no such file"):
        read_ratings(RatingsFile(path="imports/none.csv"), home=home)


def test_the_line_of_a_row_counts_blank_lines_and_lines_inside_of_cells(home: Home) -> None:
    content = 'image,annotator,score,note\n\n1,a,3,"two\nlines"\n2,a,99,\n'
    assert why(read_ratings(declared(home, content), home=home)) == [
        (5, "out_of_range", "the score 99 is outside of 0..9")
    ]


def test_the_line_of_a_row_is_the_one_on_which_it_begins(home: Home) -> None:
    content = 'image,annotator,score,note\n1,a,99,"two\nlines"\n2,a,3,\n'
    ratings = read_ratings(declared(home, content), home=home)
    assert [line for line, _, _ in why(ratings)] == [2]
    assert ratings.lines == [4]


def test_a_column_without_a_name_is_passed_over_as_pandas_writes_its_index(home: Home) -> None:
    ratings = read_ratings(declared(home, ",image,annotator,score\n0,1,a,3\n"), home=home)
    assert (ratings.names, ratings.attributes) == (["1"], ["{}"])


def test_attributes_of_pictures(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "pictures.csv"
    path.write_text("file,person,age\n1.jpg,X1,\n2.jpg,X2,40\n2.jpg,X2,40\n")
    file = PicturesFile(path=str(path), picture_column="file")
    rows = read_pictures(file, home=home)
    assert (rows.names, rows.lines, rows.read) == (["1.jpg", "2.jpg"], [2, 3], 3)
    assert [json.loads(one) for one in rows.attributes] == [{"person": "X1"}, {"person": "X2", "age": "40"}]
    path.write_text("file,person\n1.jpg,X1\n1.jpg,X2\n,X3\n2.jpg,X4\n")
    rows = read_pictures(file, home=home)
    assert rows.names == ["2.jpg"]
    assert [(row.line, str(row.reason), row.detail) for row in rows.left_out] == [
        (2, "contradicts", "'1.jpg' is described differently on line 3"),
        (3, "contradicts", "'1.jpg' is described differently on line 2"),
        (4, "no_name", "'file' is empty"),
    ]
