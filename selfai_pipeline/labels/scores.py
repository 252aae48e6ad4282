"""One score a picture from all that annotators said about it, single ratings and means alike."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from selfai_pipeline.labels.agreement_facts import agreement_facts
from selfai_pipeline.labels.bias_equations import Codes, Numbers
from selfai_pipeline.labels.rating_model import RatingModel, fit_rating_model
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.labels.signal import annotators_without_signal

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class PictureScore:
    """What the crowd said about a picture; scores 0..9.

    `standard_error` is None where it is not known; `annotators` counts different ones, or those behind a
    mean.
    """

    score: float
    standard_error: float | None
    mean_score: float
    annotators: int


@dataclass(frozen=True)
class CrowdScores:
    """Scores by image_id, and figures about the crowd as a whole."""

    pictures: dict[str, PictureScore]
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Rows:
    """Rows of `annotations` as columns; a source is the part of `origin` before the colon.

    `group` is -1 where the annotator's group is not known.
    """

    picture: Codes
    annotator: Codes
    group: Codes
    source: Codes
    score: Numbers
    ratings: Codes

    def take(self, chosen: npt.NDArray[Any]) -> "_Rows":
        return _Rows(
            self.picture[chosen],
            self.annotator[chosen],
            self.group[chosen],
            self.source[chosen],
            self.score[chosen],
            self.ratings[chosen],
        )

    def __len__(self) -> int:
        return len(self.score)


def score_pictures(annotations: "pa.Table", *, settings: LabelSettings) -> CrowdScores:
    """Score every picture that has enough ratings.

    Single ratings go through the rating model; where a picture has enough of them, means given for it do not
    count, as they may stand for the same ratings. A picture with means only gets their average, weighted by
    their counts. Its standard error is the spread of single ratings within a picture over the same source
    (biases included, as a mean does not take them out) over the square root of the count; None where the
    source has no pictures with two single ratings, or where the count is not known.

    Args:
        annotations: rows of the table `annotations`; at least the columns image_id, annotator, score,
            ratings, origin, annotator_group.
    """
    image_ids, picture = _coded(annotations.column("image_id").to_pylist())
    single = annotations.column("annotator").is_valid().to_numpy()
    _, annotator = _coded([name or "" for name in annotations.column("annotator").to_pylist()])
    _, source = _coded([text.partition(":")[0] for text in annotations.column("origin").to_pylist()])
    groups, group = _coded([name or "" for name in annotations.column("annotator_group").to_pylist()])
    # Where some are not known, the empty name comes first.
    named = [name for name in groups if name]
    rows = _Rows(
        picture,
        annotator,
        group - (len(groups) - len(named)),
        source,
        annotations.column("score").to_numpy(),
        annotations.column("ratings").to_numpy(),
    )
    singles = rows.take(single)
    rated = _with_enough(singles, settings.least_annotators)
    first = fit = _fit(rated, settings) if len(rated) else None
    flagged = np.zeros(0, dtype=np.int64) if first is None else first.flagged
    if settings.leave_out_flagged and len(flagged):
        rated = _with_enough(rated.take(~np.isin(rated.annotator, flagged)), settings.least_annotators)
        fit = _fit(rated, settings) if len(rated) else None
    scores = {} if fit is None else _single_scores(rated, fit.model)
    means = rows.take(~single & ~np.isin(rows.picture, np.array(sorted(scores), dtype=np.int64)))
    scores.update(_mean_scores(means, spread=_spread_by_source(singles)))
    everyone = len(np.unique(singles.annotator))
    facts: dict[str, Any] = {
        "annotators": everyone,
        "ratings": len(singles),
        "means": int((~single).sum()),
        "flagged": {
            "annotators": len(flagged),
            "tested": 0 if first is None else first.tested,
            "share": len(flagged) / everyone if everyone else 0.0,
            "left_out": bool(settings.leave_out_flagged and len(flagged)),
        },
        "too_few_annotators": len(np.setdiff1d(rows.picture, np.array(sorted(scores), dtype=np.int64))),
        "rating_graph_components": 0 if fit is None else fit.model.components,
        "rating_graph_largest_share": None if fit is None else fit.largest_share,
        "rating_model_converged": None if fit is None else fit.model.converged,
        **agreement_facts(
            _dense(rated.picture)[1], _dense(rated.annotator)[1], rated.score, group=rated.group, names=named
        ),
    }
    return CrowdScores({image_ids[code]: scores[code] for code in sorted(scores)}, facts)


def _coded(values: list[str]) -> tuple[list[str], Codes]:
    """The different values, sorted, and the number of each."""
    distinct = sorted(set(values))
    numbers = {value: number for number, value in enumerate(distinct)}
    return distinct, np.array([numbers[value] for value in values], dtype=np.int64)


def _dense(codes: Codes) -> tuple[Codes, Codes]:
    """The different codes, and each as its index among them."""
    distinct, index = np.unique(codes, return_inverse=True)
    return distinct, index.astype(np.int64)


def _annotators_a_picture(rows: _Rows) -> Codes:
    """How many different annotators rated the picture of code k."""
    voices = int(rows.annotator.max()) + 1
    return np.bincount(np.unique(rows.picture * voices + rows.annotator) // voices)


def _with_enough(rows: _Rows, least_annotators: int) -> _Rows:
    if not len(rows):
        return rows
    return rows.take(_annotators_a_picture(rows)[rows.picture] >= least_annotators)


@dataclass(frozen=True)
class _Fit:
    """A model of ratings, the annotators without signal, and how many were looked at.

    `largest_share` is the share of the ratings that are in the largest connected part of the rating graph.
    """

    model: RatingModel
    flagged: Codes
    tested: int
    largest_share: float


def _fit(rows: _Rows, settings: LabelSettings) -> _Fit:
    """Fit the rating model to one rating or more.

    The model's pictures are the different ones of `rows` in the order of their codes. Annotators with too few
    ratings for parameters of their own share those of one annotator a source.
    """
    _, picture = _dense(rows.picture)
    few = np.bincount(rows.annotator)[rows.annotator] < settings.own_model_ratings
    voices, voice = _dense(np.where(few, -1 - rows.source, rows.annotator))
    model = fit_rating_model(
        picture, voice, rows.score, restricted=settings.restricted, prior=settings.inconsistency_prior
    )
    silent = annotators_without_signal(
        picture,
        voice,
        rows.score,
        model,
        least_ratings=settings.flag_least_ratings,
        odds=settings.flag_odds,
    )
    own = voices >= 0
    tested = int((own & (np.bincount(voice) >= settings.flag_least_ratings)).sum())
    parts = np.bincount(model.component[voice])
    return _Fit(model, voices[silent & own], tested, float(parts.max() / len(rows)))


def _single_scores(rows: _Rows, model: RatingModel) -> dict[int, PictureScore]:
    codes, picture = _dense(rows.picture)
    annotators = _annotators_a_picture(rows)
    means = np.bincount(picture, rows.score) / np.bincount(picture)
    return {
        int(code): PictureScore(
            score=float(model.score[k]),
            standard_error=None if np.isnan(model.standard_error[k]) else float(model.standard_error[k]),
            mean_score=float(means[k]),
            annotators=int(annotators[code]),
        )
        for k, code in enumerate(codes)
    }


def _spread_by_source(singles: _Rows) -> dict[int, float]:
    """Source -> standard deviation of single ratings around their picture's mean, pooled over pictures."""
    spread = {}
    for source in np.unique(singles.source):
        rows = singles.take(singles.source == source)
        codes, picture = _dense(rows.picture)
        freedom = len(rows) - len(codes)
        if freedom > 0:
            means = np.bincount(picture, rows.score) / np.bincount(picture)
            spread[int(source)] = float(np.sqrt(np.square(rows.score - means[picture]).sum() / freedom))
    return spread


def _mean_scores(means: _Rows, *, spread: dict[int, float]) -> dict[int, PictureScore]:
    """Scores of pictures that have means only; `spread` by source, as `_spread_by_source` gives it."""
    if not len(means):
        return {}
    codes, picture = _dense(means.picture)
    total = np.bincount(picture, means.ratings)
    score = np.bincount(picture, means.score * means.ratings) / total
    spread_of = np.array([spread.get(int(source), np.nan) for source in means.source])
    # A count of 1 may also be one that is not known.
    variance = np.where(means.ratings > 1, spread_of**2, np.nan)
    error = np.sqrt(np.bincount(picture, means.ratings * variance)) / total
    return {
        int(code): PictureScore(
            score=float(score[k]),
            standard_error=None if np.isnan(error[k]) else float(error[k]),
            mean_score=float(score[k]),
            annotators=int(total[k]),
        )
        for k, code in enumerate(codes)
    }
