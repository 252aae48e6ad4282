"""The label stages, each materialized for real: rated portraits in a folder, and ratings good and bad."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from assets.annotations import annotations
from assets.balanced_label_table import WARNINGS, balanced_label_table, crowd_warnings
from assets.raw_crawl import raw_crawl
from selfai_pipeline.labels.known_copies import days_without_copies
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.sources.settings import RatingsFile
from selfai_pipeline.tables import WHOLE

Rows = list[dict[str, Any]]


@pytest.fixture
def rated(work: Any, picture: Callable[..., bytes]) -> Any:
    """The workplace after the crawl of two pictures, with a file of ratings declared beside them."""
    for number in range(2):
        (work.folder / f"{number}.png").write_bytes(picture(seed=number))
    work.declare(work.source(ratings=[RatingsFile(path=str(work.ratings))]))
    assert work.materialize(raw_crawl, days=[work.day]).success
    return work


def write_ratings(work: Any, *lines: str) -> None:
    text = "\n".join(["image,annotator,score", *lines, ""])
    work.ratings.write_text(text)


def test_ratings_come_in_on_the_common_scale(rated: Any, verdicts: Any, errors: Any) -> None:
    write_ratings(rated, "0.png,ann,7", "0.png,ben,5")
    result = rated.materialize(annotations)
    assert result.success, errors(result)
    assert set(verdicts(result).values()) == {True}
    assert [row["score"] for row in rated.rows("annotations")] == [7.0, 5.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,score\n0.png,7\n", "annotator"),
        ("", "empty"),
    ],
)
def test_a_bad_ratings_file_fails_with_the_file_and_the_mend(
    rated: Any, errors: Any, content: str, message: str
) -> None:
    rated.ratings.write_text(content)
    result = rated.materialize(annotations)
    assert not result.success
    assert "ratings.csv" in errors(result)
    assert message in errors(result)


def test_a_corrected_file_is_a_new_version_and_the_old_one_can_still_be_read(rated: Any, errors: Any) -> None:
    for score in (5, 5, 6):
        write_ratings(rated, "0.png,ann,7", f"0.png,ben,{score}")
        result = rated.materialize(annotations)
        assert result.success, errors(result)
    versions = [
        rated.store.tables.find("annotations", WHOLE, record.asset_materialization.metadata["sha256"].value)
        for record in reversed(rated.instance.fetch_materializations(annotations.key, limit=3).records)
    ]
    assert versions[0] == versions[1] != versions[2]
    scores = [sorted(rated.store.tables.read(ref, ["score"]).column(0).to_pylist()) for ref in versions]
    assert scores == [[5, 7], [5, 7], [6, 7]]


def test_rows_that_cannot_be_used_fail_the_floor_with_file_line_and_mend(rated: Any) -> None:
    write_ratings(rated, "0.png,ann,70", "0.png,ben,5", "ghost.png,ann,5")
    result = rated.materialize(annotations)
    assert not result.success
    floor = next(one for one in result.get_asset_check_evaluations() if one.check_name == "quality_floor")
    assert floor.description.startswith(
        "1 of 3 ratings could be used, where half is needed. Left out: 2 rows of "
    )
    assert "ratings.csv, first line 2 (out_of_range). Mend the score" in floor.description
    assert "ghost" not in floor.description


def test_sources_without_ratings_fail_the_completeness(rated: Any, verdicts: Any) -> None:
    rated.declare(rated.source())
    result = rated.materialize(annotations)
    assert not result.success
    assert verdicts(result)["completeness"] is False


@pytest.mark.parametrize("values", [{"score": 9.5}, {"score": float("nan")}, {"ratings": 0}])
def test_ratings_out_of_range_fail_the_sanity(
    rated: Any, verdicts: Any, spoil: Any, values: dict[str, Any]
) -> None:
    write_ratings(rated, "0.png,ann,7", "0.png,ben,5")
    change: Callable[[Rows], Rows] = lambda rows: [{**rows[0], **values}, *rows[1:]]  # noqa: E731
    spoil("selfai_pipeline.labels.annotations", "collect_annotations", change)
    result = rated.materialize(annotations)
    assert verdicts(result) == {"completeness": True, "sanity": False, "quality_floor": True}


def test_ratings_that_mostly_find_no_picture_are_below_the_floor(rated: Any, verdicts: Any) -> None:
    write_ratings(rated, "0.png,ann,7", "other.png,ann,5", "another.png,ann,5")
    result = rated.materialize(annotations)
    assert verdicts(result) == {"completeness": True, "sanity": True, "quality_floor": False}


def test_rated_portraits_become_labels(labelled: Any, verdicts: Any, errors: Any) -> None:
    result = labelled.materialize(balanced_label_table)
    assert result.success, errors(result)
    assert set(verdicts(result).values()) == {True}
    assert {row["split"] for row in labelled.rows("balanced_label_table")} == {
        "train",
        "validation",
        "test",
    }


def altered(which: int, **values: Any) -> Callable[[Rows], Rows]:
    """Gives the rows of which one has other values."""
    return lambda rows: [{**row, **values} if index == which else row for index, row in enumerate(rows)]


def across_splits(rows: Rows) -> Rows:
    """Two faces of different splits in one cluster."""
    other = next(row for row in rows if row["split"] != rows[0]["split"])
    return [{**row, "cluster": rows[0]["cluster"]} if row is other else row for row in rows]


def weight_on_a_test_face(rows: Rows) -> Rows:
    """All weight of a training face on one of the test split."""
    train = next(row for row in rows if row["split"] == "train")
    test = next(row for row in rows if row["split"] == "test")
    moved = {train["image_id"]: 0.0, test["image_id"]: train["weight"]}
    return [{**row, "weight": moved.get(row["image_id"], row["weight"])} for row in rows]


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        (lambda rows: [row for row in rows if row["split"] != "test"], "completeness"),
        (altered(0, crop_sha256="0" * 64), "completeness"),
        (altered(0, image_id="0" * 64), "completeness"),
        (across_splits, "sanity"),
        (weight_on_a_test_face, "sanity"),
        (lambda rows: [{**row, "weight": row["weight"] * 2} for row in rows], "sanity"),
        (altered(0, score=9.5), "sanity"),
        (altered(0, annotators=1), "quality_floor"),
    ],
    ids=[
        "no test",
        "a crop lost",
        "of no rating",
        "cluster in two splits",
        "weight outside",
        "weights of 2",
        "a score beyond the scale",
        "one annotator",
    ],
)
def test_a_wrong_label_table_fails_its_check(
    labelled: Any, verdicts: Any, spoil: Any, change: Callable[[Rows], Rows], failing: str
) -> None:
    spoil("selfai_pipeline.labels.label_table", "build_label_table", change)
    result = labelled.materialize(balanced_label_table)
    assert not result.success
    assert [name for name, passed in verdicts(result).items() if not passed] == [failing]


FINE = {
    "noise_ceiling": 0.9,
    "noise_ceiling_reason": "from the standard errors",
    "flagged": {"annotators": 1, "tested": 24, "share": 0.04, "left_out": False},
    "rating_graph_components": 1,
    "rating_graph_largest_share": 1.0,
}


def flagged(annotators: int, tested: int) -> dict[str, Any]:
    return {"flagged": {"annotators": annotators, "tested": tested, "share": 0.5, "left_out": False}}


@pytest.mark.parametrize(
    ("found", "known_errors", "unknown_counts", "warned"),
    [
        ({}, 500, 0, set()),
        ({"noise_ceiling": 0.6}, 500, 0, {"agreement"}),
        ({"noise_ceiling": 0.6}, 19, 0, set()),
        ({"noise_ceiling": None}, 0, 0, set()),
        (flagged(4, 24), 500, 0, {"flagged_annotators"}),
        (flagged(1, 2), 500, 0, set()),
        (flagged(0, 0), 500, 0, set()),
        ({"rating_graph_components": 2, "rating_graph_largest_share": 0.8}, 500, 0, {"rating_graph"}),
        ({"rating_graph_components": 0, "rating_graph_largest_share": None}, 500, 0, set()),
        ({}, 500, 7, {"counts"}),
    ],
)
def test_what_about_the_crowd_is_worth_a_look_is_a_warning(
    found: dict[str, Any], known_errors: int, unknown_counts: int, warned: set[str]
) -> None:
    results = list(
        crowd_warnings({**FINE, **found}, known_errors=known_errors, unknown_counts=unknown_counts)
    )
    assert {one.check_name for one in results if not one.passed} == warned
    assert {one.severity for one in results} == {dg.AssetCheckSeverity.WARN}
    assert {one.check_name for one in results} < set(WARNINGS)


def test_the_page_of_the_labels_shows_agreement_splits_and_a_plot_and_names_no_picture(
    labelled: Any, errors: Any
) -> None:
    result = labelled.materialize(balanced_label_table)
    assert result.success, errors(result)
    (event,) = result.asset_materializations_for_node("balanced_label_table")
    page = event.metadata
    assert 0 < page["noise_ceiling"].value <= 1
    figures = [record.data["figure"] for record in page["agreement"].records]
    assert {"icc_2_1", "icc_2_k", "krippendorff_alpha", "split_half_reliability"} <= set(figures)
    assert [record.data["split"] for record in page["splits"].records] == ["train", "validation", "test"]
    assert "agreement_by_group" not in page
    plot = labelled.home.previews / "balanced_label_table" / "all.png"
    assert page["distributions"].value.endswith("/previews/balanced_label_table/all.png")
    assert plot.read_bytes().startswith(b"\x89PNG")
    shown = str(page) + str([one.description for one in result.get_asset_check_evaluations()])
    for row in labelled.rows("balanced_label_table"):
        assert row["image_id"] not in shown


def test_faces_of_a_day_that_was_pruned_are_not_searched_for_copies_again(labelled: Any) -> None:
    faces, rule = labelled.store.tables.snapshot("aligned_faces"), LabelSettings()
    found = days_without_copies(
        faces,
        labelled.store,
        radius=rule.duplicate_radius,
        least_correlation=rule.duplicate_correlation,
    )
    assert found == {labelled.day}


def test_labels_that_drifted_since_the_last_time_warn_and_stop_nothing(
    labelled: Any, verdicts: Any, spoil: Any, errors: Any
) -> None:
    assert labelled.materialize(balanced_label_table).success
    lower: Callable[[Rows], Rows] = lambda rows: [  # noqa: E731
        {**row, "score": row["score"] / 4, "class": int(row["score"] / 4 + 0.5)} for row in rows
    ]
    spoil("selfai_pipeline.labels.label_table", "build_label_table", lower)
    result = labelled.materialize(balanced_label_table)
    assert result.success, errors(result)
    assert [name for name, passed in verdicts(result).items() if not passed] == ["score_drift"]
    drift = next(one for one in result.get_asset_check_evaluations() if one.check_name == "score_drift")
    assert drift.description.startswith("scores moved by ")
