"""A rating that several files of a source have counts once."""

from datetime import UTC, datetime

import numpy as np
import pytest

from selfai_pipeline.labels.overlaps import without_overlaps
from selfai_pipeline.labels.ratings_file import Ratings
from selfai_pipeline.sources.settings import RatingsFile

Said = tuple[str, str | None, float, int | None]


def ratings(path: str, *said: Said) -> tuple[Ratings, list[str | None]]:
    """A file of (picture, annotator, score, day of January or None), and the picture of each row."""
    scores = np.array([score for _, _, score, _ in said], dtype=np.float64)
    single = all(who is not None for _, who, _, _ in said)
    file = Ratings(
        file=RatingsFile(path=path),
        read=len(said),
        lines=list(range(2, len(said) + 2)),
        names=[name for name, _, _, _ in said],
        attributes=["{}"] * len(said),
        left_out=[],
        annotators=[who or "" for _, who, _, _ in said] if single else None,
        annotator_groups=[None] * len(said),
        scores=scores,
        original_scores=scores,
        counts=np.ones(len(said), dtype=np.int64),
        rated_at=[(day and datetime(2026, 1, day, tzinfo=UTC)) or None for _, _, _, day in said],
        repeated=0,
        superseded=0,
    )
    # Before a slash stands what tells two names of one picture apart.
    return file, [name.rpartition("/")[2] for name in file.names]


def test_a_rating_that_two_files_have_counts_once() -> None:
    one = ratings("one.csv", ("1", "ann", 3, None), ("2", "ann", 4, None))
    two = ratings("two.csv", ("2", "ann", 4, None), ("2", "bob", 5, None))
    found = without_overlaps([one, two])
    assert found.pictures == [["1", "2"], [None, "2"]]
    assert (found.repeated, found.superseded, found.left_out) == (1, 0, [])


@pytest.mark.parametrize(("first", "second"), [(1, 2), (None, 2)])
def test_the_later_rating_counts_whichever_file_has_it(first: int | None, second: int) -> None:
    older = ratings("older.csv", ("1", "ann", 3, first))
    newer = ratings("newer.csv", ("1", "ann", 5, second))
    assert without_overlaps([older, newer]).pictures == [[None], ["1"]]
    assert without_overlaps([newer, older]).pictures == [["1"], [None]]
    assert without_overlaps([newer, older]).superseded == 1


def test_ratings_that_contradict_each_other_are_all_left_out() -> None:
    one = ratings("one.csv", ("2", "ann", 4, None), ("1", "ann", 3, None))
    two = ratings("two.parquet", ("1", "ann", 5, None))
    found = without_overlaps([one, two])
    assert found.pictures == [["2", None], [None]]
    assert [(row.place, str(row.reason), row.detail) for row in found.left_out] == [
        ("one.csv, line 3", "contradicts", "'1' is scored by 'ann' as 3, but 5 in two.parquet, row 2"),
        ("two.parquet, row 2", "contradicts", "'1' is scored by 'ann' as 5, but 3 in one.csv, line 3"),
    ]


def test_means_of_two_files_are_of_different_people_and_are_kept() -> None:
    means = [ratings(path, ("1", None, 3, None)) for path in ("women.csv", "men.csv")]
    assert without_overlaps(means).pictures == [["1"], ["1"]]
    single = ratings("single.csv", ("1", "ann", 3, None))
    assert without_overlaps([*means, single]).pictures == [["1"], ["1"], ["1"]]


def test_two_names_of_one_picture_in_a_file_stay_two_ratings() -> None:
    one = ratings("one.csv", ("a/1", "ann", 3, None), ("b/1", "ann", 5, None))
    two = ratings("two.csv", ("b/1", "ann", 5, None), ("a/1", "ann", 3, None))
    assert without_overlaps([one]).pictures == [["1", "1"]]
    assert without_overlaps([one, two]).pictures == [["1", "1"], [None, None]]
    assert without_overlaps([one, two]).repeated == 2


def test_what_finds_no_picture_overlaps_with_nothing() -> None:
    file, _ = ratings("one.csv", ("1", "ann", 3, None))
    assert without_overlaps([(file, [None]), (file, [None])]).pictures == [[None], [None]]
