"""What the administrator sees: progress, agreement, and each annotator's bias and consistency."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from selfai_pipeline.errors import UndefinedMetric
from selfai_pipeline.labels.agreement import split_half_reliability, two_raters_correlation
from selfai_pipeline.labels.bias_equations import Codes, Numbers
from selfai_pipeline.labels.group_agreement import group_agreement
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.labels.signal import annotators_without_signal
from selfai_pipeline.labels.site.answering import FaceState
from selfai_pipeline.labels.site.assigning import Kind
from selfai_pipeline.labels.site.crowd import Crowd, read_crowd
from selfai_pipeline.labels.site.database import CIRCULATES, SiteDatabase, assignments, faces, people
from selfai_pipeline.labels.site.people import Role
from selfai_pipeline.labels.site.settings import SiteSettings

if TYPE_CHECKING:
    from selfai_pipeline.labels.figures import Line


@dataclass(frozen=True)
class Progress:
    """Counts of faces: in circulation, of these with the wanted number of annotators, with a wide interval
    and a further annotator to come; and those that are not shown. `ratings` counts scores."""

    faces: int
    reached: int
    further: int
    gold: int
    set_aside: int
    reported: int
    kept_out: int
    ratings: int


@dataclass(frozen=True)
class Annotator:
    """One annotator in figures; None where there is not enough to tell.

    `bias` and `inconsistency` are the rating model's, in points. `repeat_difference` is the mean absolute
    difference between first and second score of a face, over `repeats` faces; `gold_difference` that between
    score and known score, over `gold` faces. `is_flagged`: the ratings carry no signal.
    """

    name: str
    group: str
    is_revoked: bool
    ratings: int
    skips: int
    bias: float | None
    inconsistency: float | None
    repeats: int
    repeat_difference: float | None
    gold: int
    gold_difference: float | None
    is_flagged: bool


@dataclass(frozen=True)
class Figures:
    """Everything on the administrator's page.

    Figures of agreement are a number, or the reason for none; `groups` has a line a group of annotators and a
    line two of them (see `group_lines`).
    """

    progress: Progress
    agreement: dict[str, float | str]
    groups: "list[Line]"
    annotators: list[Annotator]


def site_figures(database: SiteDatabase, *, settings: SiteSettings) -> Figures:
    crowd = read_crowd(database)
    agreement = {
        "two random annotators": _measured(two_raters_correlation, crowd),
        "split half": _measured(split_half_reliability, crowd),
    }
    return Figures(
        _progress(database, settings), agreement, _groups(database, crowd), _annotators(database, crowd)
    )


def _measured(measure: Callable[[Codes, Numbers], float], crowd: Crowd) -> float | str:
    if not len(crowd.rating):
        return "nothing has been scored"
    try:
        return measure(crowd.picture, crowd.rating)
    except UndefinedMetric as undefined:
        return str(undefined)


def _groups(database: SiteDatabase, crowd: Crowd) -> "list[Line]":
    """Agreement within and between groups of annotators; nothing where no group is known."""
    from selfai_pipeline.labels.figures import group_lines

    with database.reading() as connection:
        group_of = {row.id: row.group for row in connection.execute(sa.select(people.c.id, people.c.group))}
    groups = [group_of[number] for number in crowd.people.tolist()]
    names = sorted(set(groups) - {""})
    if not names:
        return []
    code = np.array([names.index(group) if group else -1 for group in groups], dtype=np.int64)
    found = group_agreement(
        crowd.picture, crowd.annotator, crowd.rating, group=code[crowd.annotator], names=names
    )
    large = {one["group"] for one in found["groups"] if one["annotators"] > 1}
    # Every annotator may be a group of their own: the pairs of those would be many, and say nothing.
    found["pairs"] = [one for one in found["pairs"] if large.issuperset(one["groups"])]
    return group_lines({"agreement_by_group": found})


def _progress(database: SiteDatabase, settings: SiteSettings) -> Progress:
    def count(*conditions: "sa.ColumnElement[bool] | sa.TextClause") -> "sa.ScalarSelect[int]":
        return sa.select(sa.func.count()).select_from(faces).where(*conditions).scalar_subquery()

    ordinary = (CIRCULATES, faces.c.gold_score.is_(None))
    query = sa.select(
        count(*ordinary).label("faces"),
        count(*ordinary, faces.c.rated >= settings.wanted_annotators).label("reached"),
        count(*ordinary, faces.c.target > settings.wanted_annotators, faces.c.rated < faces.c.target).label(
            "further"
        ),
        count(CIRCULATES, faces.c.gold_score.is_not(None)).label("gold"),
        *(
            count(faces.c.present == 1, faces.c.state == state).label(state.value)
            for state in (FaceState.SET_ASIDE, FaceState.REPORTED, FaceState.KEPT_OUT)
        ),
        sa.select(sa.func.count())
        .select_from(assignments)
        .where(assignments.c.state == "rated")
        .scalar_subquery()
        .label("ratings"),
    )
    with database.reading() as connection:
        return Progress(**connection.execute(query).mappings().one())


def _annotators(database: SiteDatabase, crowd: Crowd) -> list[Annotator]:
    first = assignments.alias("first")
    difference = sa.func.abs(assignments.c.score - first.c.score)
    both = (
        (first.c.person == assignments.c.person)
        & (first.c.face == assignments.c.face)
        & (first.c.kind != Kind.REPEAT)
        & (first.c.state == "rated")
    )
    rated = assignments.c.state == "rated"
    repeats = (
        sa.select(assignments.c.person, sa.func.count().label("n"), sa.func.avg(difference).label("mean"))
        .join(first, both)
        .where(rated, assignments.c.kind == Kind.REPEAT)
        .group_by(assignments.c.person)
    )
    gold = (
        sa.select(
            assignments.c.person,
            sa.func.count().label("n"),
            sa.func.avg(sa.func.abs(assignments.c.score - faces.c.gold_score)).label("mean"),
        )
        .join(faces, faces.c.id == assignments.c.face)
        .where(rated, assignments.c.kind != Kind.REPEAT, faces.c.gold_score.is_not(None))
        .group_by(assignments.c.person)
    )
    said = sa.select(
        assignments.c.person,
        sa.func.sum(sa.case((rated, 1), else_=0)).label("ratings"),
        sa.func.sum(sa.case((assignments.c.state == "skipped", 1), else_=0)).label("skips"),
    ).group_by(assignments.c.person)
    with database.reading() as connection:
        everyone = connection.execute(
            sa.select(people).where(people.c.role == Role.ANNOTATOR).order_by(people.c.name)
        ).all()
        repeated = {row.person: row for row in connection.execute(repeats)}
        known = {row.person: row for row in connection.execute(gold)}
        counts = {row.person: row for row in connection.execute(said)}
    code = {number: index for index, number in enumerate(crowd.people.tolist())}
    flagged = _flagged(crowd)
    found = []
    for person in everyone:
        own, again, gold_row = counts.get(person.id), repeated.get(person.id), known.get(person.id)
        index = code.get(person.id)
        found.append(
            Annotator(
                name=person.name,
                group=person.group,
                is_revoked=person.revoked_at is not None,
                ratings=int(own.ratings) if own else 0,
                skips=int(own.skips) if own else 0,
                bias=_figure(crowd, "bias", index),
                inconsistency=_figure(crowd, "inconsistency", index),
                repeats=again.n if again else 0,
                repeat_difference=float(again.mean) if again else None,
                gold=gold_row.n if gold_row else 0,
                gold_difference=float(gold_row.mean) if gold_row else None,
                is_flagged=index is not None and bool(flagged[index]),
            )
        )
    return found


def _figure(crowd: Crowd, name: str, index: int | None) -> float | None:
    if crowd.model is None or index is None:
        return None
    value = float(getattr(crowd.model, name)[index])
    return value if np.isfinite(value) else None


def _flagged(crowd: Crowd) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Whose ratings carry no signal, by the measures of the label table."""
    if crowd.model is None:
        return np.zeros(0, dtype=bool)
    labels = LabelSettings()
    return annotators_without_signal(
        crowd.picture,
        crowd.annotator,
        crowd.rating,
        crowd.model,
        least_ratings=labels.flag_least_ratings,
        odds=labels.flag_odds,
    )
