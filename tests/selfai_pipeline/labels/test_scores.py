"""Single ratings and means of the same pictures become one score each."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from selfai_pipeline.labels.scores import CrowdScores, score_pictures
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

Annotated = Callable[..., TableRef]
Named = Callable[[str], str]
Rating = tuple[str, str | None, float]


@pytest.fixture
def scored(store: Store, annotated: Annotated) -> Callable[..., CrowdScores]:
    def score(rows: list[Rating], *, counts: dict[str, int] | None = None, **options: Any) -> CrowdScores:
        table = store.tables.read(annotated(rows, counts=counts))
        return score_pictures(table, settings=LabelSettings(**options))

    return score


def test_the_mean_is_kept_beside_the_score(
    scored: Callable[..., CrowdScores], crowd: Callable[..., list[Rating]], image_id: Named
) -> None:
    rows = crowd()
    result = scored(rows)
    one = result.pictures[image_id("p007")]
    assert one.mean_score == pytest.approx(np.mean([score for name, _, score in rows if name == "p007"]))
    assert one.score == pytest.approx(one.mean_score, abs=0.5)
    assert one.annotators == 4
    assert one.standard_error is not None
    assert 0.2 < one.standard_error < 0.5
    assert result.facts["rating_model_converged"] is True


def test_single_ratings_win_over_a_mean_and_are_not_counted_twice(
    scored: Callable[..., CrowdScores], crowd: Callable[..., list[Rating]]
) -> None:
    rows = crowd()
    means: list[Rating] = [(name, None, 9.0) for name in {name for name, _, _ in rows}]
    counts = {name: 60 for name, _, _ in means}
    assert scored([*rows, *means], counts=counts).pictures == scored(rows).pictures


def test_a_mean_gets_its_error_from_the_single_ratings_of_its_source(
    scored: Callable[..., CrowdScores], crowd: Callable[..., list[Rating]], image_id: Named
) -> None:
    rows = crowd()
    result = scored([*rows, ("only-mean", None, 6.0), ("uncounted", None, 5.0)], counts={"only-mean": 25})
    within = [
        np.var([score for other, _, score in rows if other == name], ddof=1)
        for name in {name for name, _, _ in rows}
    ]
    one = result.pictures[image_id("only-mean")]
    assert (one.score, one.mean_score, one.annotators) == (6.0, 6.0, 25)
    assert one.standard_error == pytest.approx(np.sqrt(np.mean(within) / 25))
    assert result.pictures[image_id("uncounted")].standard_error is None


def test_without_single_ratings_the_error_of_a_mean_is_not_known(
    scored: Callable[..., CrowdScores], image_id: Named
) -> None:
    result = scored([("a", None, 6.0), ("b", None, 2.0)], counts={"a": 25, "b": 25})
    assert result.pictures[image_id("a")].standard_error is None
    assert result.facts["split_half_reliability"] is None
    assert result.facts["split_half_reliability_reason"] == "there are no single ratings"


def test_annotators_on_opposite_scales_give_no_reliability_but_a_reason(
    scored: Callable[..., CrowdScores],
) -> None:
    rows: list[Rating] = [(f"p{j}", who, abs(9 * k - j)) for j in range(10) for k, who in enumerate("ab")]
    facts = scored(rows).facts
    assert facts["split_half_reliability"] is None
    assert "may be reversed" in facts["split_half_reliability_reason"]
    assert facts["two_raters_correlation"] < 0
    assert facts["two_raters_correlation_reason"] is None


def test_two_means_of_one_picture_are_weighted_by_their_counts(
    scored: Callable[..., CrowdScores], store: Store, annotated: Annotated, image_id: Named
) -> None:
    ref = annotated([("a", None, 3.0), ("b", None, 5.0)], counts={"a": 10, "b": 30})
    rows = [{**row, "image_id": "a" * 64} for row in store.tables.read(ref).to_pylist()]
    table = store.tables.read(store.tables.write(rows, asset="annotations"))
    one = score_pictures(table, settings=LabelSettings()).pictures["a" * 64]
    assert (one.score, one.annotators) == (4.5, 40)


def test_a_picture_with_too_few_annotators_is_left_out_unless_allowed(
    scored: Callable[..., CrowdScores], crowd: Callable[..., list[Rating]], image_id: Named
) -> None:
    rows = [*crowd(), ("lonely", "a0", 4.0)]
    assert image_id("lonely") not in scored(rows).pictures
    assert scored(rows).facts["too_few_annotators"] == 1
    assert image_id("lonely") in scored(rows, least_annotators=1).pictures


def test_a_picture_with_too_few_annotators_falls_back_on_its_mean(
    scored: Callable[..., CrowdScores], crowd: Callable[..., list[Rating]], image_id: Named
) -> None:
    result = scored([*crowd(), ("lonely", "a0", 4.0), ("lonely", None, 6.0)], counts={"lonely": 30})
    assert result.pictures[image_id("lonely")].score == 6.0


def test_one_annotator_twice_is_one_annotator(scored: Callable[..., CrowdScores], image_id: Named) -> None:
    rows: list[Rating] = [("p", "a", 4.0), ("p", "a", 5.0), ("q", "a", 2.0), ("q", "b", 3.0)]
    assert list(scored(rows).pictures) == [image_id("q")]


def test_strangers_with_one_rating_each_still_give_scores_and_errors(
    scored: Callable[..., CrowdScores], image_id: Named
) -> None:
    generator = np.random.default_rng(0)
    rows: list[Rating] = [
        (f"p{j}", f"a{j}-{i}", float(np.clip(j / 10 + generator.normal(), 0, 9)))
        for j in range(90)
        for i in range(3)
    ]
    result = scored(rows)
    assert result.facts["rating_graph_components"] == 1
    errors = [one.standard_error for one in result.pictures.values()]
    assert errors == pytest.approx([1 / np.sqrt(3)] * 90, rel=0.15)
    assert result.pictures[image_id("p45")].score == pytest.approx(
        result.pictures[image_id("p45")].mean_score
    )


def careless(crowd: Callable[..., list[Rating]]) -> list[Rating]:
    generator = np.random.default_rng(1)
    return [*crowd(), *((f"p{j:03}", "careless", float(generator.uniform(0, 9))) for j in range(60))]


def test_a_careless_annotator_is_counted_and_by_option_left_out(
    scored: Callable[..., CrowdScores], crowd: Callable[..., list[Rating]]
) -> None:
    rows = careless(crowd)
    kept = scored(rows)
    assert kept.facts["flagged"] == {"annotators": 1, "tested": 5, "share": 0.2, "left_out": False}
    assert kept.pictures != scored(crowd()).pictures
    without = scored(rows, leave_out_flagged=True)
    assert without.facts["flagged"]["left_out"] is True
    assert without.pictures == scored(crowd()).pictures
    assert "careless" not in str(without.facts)


def test_nothing_rated_gives_no_scores(scored: Callable[..., CrowdScores]) -> None:
    result = scored([])
    assert result.pictures == {}
    assert result.facts["annotators"] == 0
