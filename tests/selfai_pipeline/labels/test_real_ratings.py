"""Figures on real ratings, held where the folder of real rated faces lies beside the repository."""

from pathlib import Path

import numpy as np
import pytest

from selfai_pipeline.home import Home
from selfai_pipeline.labels.agreement import split_half_reliability, two_raters_correlation
from selfai_pipeline.labels.annotators_agreement import (
    krippendorff_alpha,
    rater_against_rest,
    two_way_components,
)
from selfai_pipeline.labels.bias_equations import Codes, Numbers
from selfai_pipeline.labels.group_agreement import group_agreement
from selfai_pipeline.labels.importing import import_folder
from selfai_pipeline.labels.rating_model import fit_rating_model
from selfai_pipeline.labels.ratings_file import Ratings, read_ratings
from selfai_pipeline.sources.settings import RatingsFile, load_sources


def read(path: Path, home: Home, *, maximum: float) -> tuple[Ratings, Codes, Codes, Numbers]:
    ratings = read_ratings(RatingsFile(path=str(path), minimum=1, maximum=maximum), home=home)
    _, picture = np.unique(ratings.names, return_inverse=True)
    _, annotator = np.unique(ratings.annotators or [], return_inverse=True)
    return ratings, picture, annotator, ratings.scores


def test_london(shared_data: Path, home: Home) -> None:
    ratings, picture, annotator, score = read(shared_data / "london" / "ratings.csv", home, maximum=7)
    assert (len(ratings), picture.max() + 1, annotator.max() + 1) == (256_326, 102, 2513)
    assert split_half_reliability(picture, score) == pytest.approx(0.999, abs=0.001)
    assert two_raters_correlation(picture, score) == pytest.approx(0.22, abs=0.03)
    parts = two_way_components(picture, annotator, score)
    assert (parts.single, parts.average) == (pytest.approx(0.240, abs=0.001), pytest.approx(0.999, abs=0.001))
    assert krippendorff_alpha(picture, score) == pytest.approx(0.238, abs=0.001)
    rest = rater_against_rest(picture, annotator, score, least_ratings=10)
    # Twelve of them give every face the same score.
    assert (len(rest), np.median(rest)) == (2501, pytest.approx(0.62, abs=0.01))
    model = fit_rating_model(picture, annotator, score)
    assert model.converged
    assert model.components == 1
    assert np.corrcoef(model.score, np.bincount(picture, score))[0, 1] > 0.99
    assert model.standard_error.max() < 0.05


def test_the_cm_faces(shared_data: Path, home: Home) -> None:
    path = shared_data / "scut-fbp5500-train" / "ratings.csv"
    ratings, picture, annotator, score = read(path, home, maximum=5)
    assert (len(ratings), picture.max() + 1, annotator.max() + 1) == (26_280, 438, 60)
    assert split_half_reliability(picture, score) == pytest.approx(0.98, abs=0.005)
    assert two_raters_correlation(picture, score) == pytest.approx(0.49, abs=0.02)
    parts = two_way_components(picture, annotator, score)
    assert (parts.single, parts.average) == (pytest.approx(0.481, abs=0.001), pytest.approx(0.982, abs=0.001))
    assert krippendorff_alpha(picture, score) == pytest.approx(0.480, abs=0.001)
    rest = rater_against_rest(picture, annotator, score, least_ratings=10)
    assert (len(rest), np.median(rest)) == (60, pytest.approx(0.76, abs=0.01))
    assert fit_rating_model(picture, annotator, score).converged


def test_two_halves_of_the_crowd_see_the_same_in_the_cm_faces(shared_data: Path, home: Home) -> None:
    """Groups drawn at random differ by noise alone: what is left when it is taken out is one."""
    path = shared_data / "scut-fbp5500-train" / "ratings.csv"
    _, picture, annotator, score = read(path, home, maximum=5)
    half = (np.random.default_rng(0).permutation(60) < 30).astype(np.int64)
    found = group_agreement(picture, annotator, score, group=half[annotator], names=["one", "other"])
    (pair,) = found["pairs"]
    assert pair["correlation_of_true_scores"] == pytest.approx(1, abs=0.02)
    assert pair["two_raters_correlation"] == pytest.approx(0.48, abs=0.02)


def test_both_folders_can_be_imported(shared_data: Path, home: Home) -> None:
    london = shared_data / "london"
    summary = import_folder(
        london,
        home=home,
        name="london",
        day="2026-02-01",
        ratings=london / "ratings.csv",
        pictures=london / "pictures.csv",
        minimum=1,
        maximum=7,
    )
    assert (summary.pictures, summary.rated, summary.ratings) == (204, 102, 256_326)
    scut = shared_data / "scut-fbp5500-train"
    summary = import_folder(
        scut,
        home=home,
        name="scut",
        day="2026-02-02",
        scores=scut / "scores.csv",
        ratings=scut / "ratings.csv",
        minimum=1,
        maximum=5,
    )
    assert (summary.pictures, summary.rated, summary.means) == (3300, 3300, 3300)
    assert [source.name for source in load_sources(home.sources_file)] == ["london", "scut"]
