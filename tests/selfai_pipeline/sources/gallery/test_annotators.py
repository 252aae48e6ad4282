import csv
import io
from collections import defaultdict

import numpy as np

from selfai_pipeline.sources.gallery.annotators import (
    ANNOTATORS,
    COLUMNS,
    draw_annotators,
    ratings_csv,
    simulate_ratings,
)
from selfai_pipeline.sources.gallery.plan import plan_gallery
from selfai_pipeline.sources.gallery.settings import GallerySettings

SETTINGS = GallerySettings()
PLAN = plan_gallery(SETTINGS)
RATED = {item.name: item for items in PLAN.values() for item in items if item.rated}
RATINGS = simulate_ratings(PLAN, seed=SETTINGS.seed)


def test_every_portrait_has_two_to_six_ratings_by_different_annotators() -> None:
    annotators = defaultdict(list)
    for one in RATINGS:
        annotators[one.image].append(one.annotator)
    assert set(annotators) == set(RATED)
    counts = {len(names) for names in annotators.values()}
    assert counts == {2, 3, 4, 5, 6}
    assert all(len(set(names)) == len(names) for names in annotators.values())


def test_exactly_one_annotator_is_careless_and_gives_no_signal() -> None:
    crowd = draw_annotators(SETTINGS.seed)
    (careless,) = [one.name for one in crowd if one.careless]
    correlations = {}
    for annotator in crowd:
        pairs = [
            (one.score, RATED[one.image].portrait.appeal)  # type: ignore[union-attr]
            for one in RATINGS
            if one.annotator == annotator.name
        ]
        correlations[annotator.name] = np.corrcoef(np.array(pairs).T)[0, 1]
    assert len(correlations) == ANNOTATORS
    assert abs(correlations.pop(careless)) < 0.35
    assert min(correlations.values()) > 0.7


def test_means_follow_the_appeal_but_not_perfectly() -> None:
    scores = defaultdict(list)
    for one in RATINGS:
        scores[one.image].append(one.score)
    means = [np.mean(scores[name]) for name in RATED]
    appeals = [item.portrait.appeal for item in RATED.values() if item.portrait]
    assert 0.88 < np.corrcoef(means, appeals)[0, 1] < 0.98


def test_the_csv_reads_back() -> None:
    rows = list(csv.DictReader(io.StringIO(ratings_csv(RATINGS))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(RATINGS)
    assert {row["score"] for row in rows} <= {str(score) for score in range(10)}
    assert {row["group"] for row in rows} == {"studio", "outdoor"}
    assert all(row["rated_at"].endswith("Z") for row in rows)


def test_the_same_seed_gives_the_same_ratings() -> None:
    assert simulate_ratings(PLAN, seed=SETTINGS.seed) == RATINGS
    assert simulate_ratings(PLAN, seed=SETTINGS.seed + 1) != RATINGS
