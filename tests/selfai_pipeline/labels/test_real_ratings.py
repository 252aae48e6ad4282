"""Figures on real ratings, held where the folder of real rated faces lies beside the repository."""

from pathlib import Path

import numpy as np
import pytest

from selfai_pipeline.home import Home
from selfai_pipeline.labels.agreement import split_half_reliability, two_raters_correlation
from selfai_pipeline.labels.bias_equations import Codes, Numbers
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
    assert fit_rating_model(picture, annotator, score).converged


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
