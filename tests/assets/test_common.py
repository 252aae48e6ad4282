"""What the stages share: where a version came from, which checks it passed, figures."""

import pytest

from assets.common import judged, number, record_of, source_of, verdict
from selfai_pipeline.errors import MissingVersion, UndefinedMetric
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record, TableRef, differing

DAY = "2026-02-03"


def pointed(store: Store, sha256: str, *, made_from: str) -> TableRef:
    """A version of `pruned_set` that becomes the current one; returns its reference."""
    ref = TableRef("pruned_set", DAY, sha256, rows=1)
    inputs = {"raw_crawl": {DAY: made_from}}
    store.tables.point(Record(ref, code_version="1", settings={"min_side": len(made_from)}, inputs=inputs))
    return ref


def test_a_version_keeps_its_source_after_another_became_current(store: Store) -> None:
    first = pointed(store, "a" * 64, made_from="first")
    second = pointed(store, "b" * 64, made_from="second")
    assert source_of(store, first, "raw_crawl") == TableRef("raw_crawl", DAY, "first", rows=-1)
    assert source_of(store, second, "raw_crawl") == TableRef("raw_crawl", DAY, "second", rows=-1)
    assert record_of(store, first).settings == {"min_side": len("first")}


def test_a_version_made_twice_came_from_what_it_was_made_from_last(store: Store) -> None:
    for source in ("first", "third", "second"):
        ref = pointed(store, "a" * 64, made_from=source)
        assert source_of(store, ref, "raw_crawl").sha256 == source


def test_a_version_without_a_record_says_what_to_materialize(store: Store) -> None:
    pointed(store, "a" * 64, made_from="first")
    with pytest.raises(MissingVersion, match=f"pruned_set, {DAY}: no record .* Materialize pruned_set again"):
        source_of(store, TableRef("pruned_set", DAY, "c" * 64, rows=1), "raw_crawl")


def test_a_version_has_passed_once_every_family_of_checks_has_passed_it(store: Store) -> None:
    ref = TableRef("pruned_set", DAY, "a" * 64, rows=1)
    results = [verdict("pruned_set", name, True, "fine") for name in ("completeness", "sanity")]
    assert judged(store, ref, results) == results
    assert not store.tables.has_passed(ref)
    judged(store, ref, [verdict("pruned_set", "quality_floor", False, "too few")])
    assert not store.tables.has_passed(ref)
    judged(store, ref, [verdict("pruned_set", "quality_floor", True, "enough")])
    assert store.tables.has_passed(ref)
    assert not store.tables.has_passed(TableRef("pruned_set", DAY, "b" * 64, rows=1))


@pytest.mark.parametrize(
    ("wanted", "found", "count"),
    [
        ("", "", 0),
        ("abc", "cab", 0),
        ("abc", "ab", 1),
        ("ab", "aab", 1),
        ("abc", "abd", 2),
        ("aab", "abb", 2),
    ],
)
def test_differing_counts_what_is_in_one_of_two_lists_only(wanted: str, found: str, count: int) -> None:
    assert differing(wanted, found) == count


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_finite_number_is_no_figure(value: float) -> None:
    assert number("residual", 1) == 1.0
    with pytest.raises(UndefinedMetric, match="residual"):
        number("residual", value)
