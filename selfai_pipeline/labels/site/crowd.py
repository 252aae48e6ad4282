"""The site's ratings through the rating model: whose they are, and how well each face is known."""

from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from selfai_pipeline.labels.bias_equations import Codes, Numbers
from selfai_pipeline.labels.rating_model import RatingModel, fit_rating_model
from selfai_pipeline.labels.site.answering import FaceState
from selfai_pipeline.labels.site.assigning import Kind, all_have_the_wanted_number
from selfai_pipeline.labels.site.database import SiteDatabase, assignments, faces
from selfai_pipeline.labels.site.settings import SiteSettings

NORMAL_95_PERCENT = 1.96
USUAL_DISAGREEMENT = 4.0
"""How many ratings' worth of the usual disagreement are added to that about one face: two ratings alone may
agree by chance."""
LEAST_CHANGE = 0.05
"""Points by which an interval changes before it is written anew."""
AT_ONCE = 500


@dataclass(frozen=True)
class Crowd:
    """n scores that count, repeats left out, of P faces by I annotators, and the model of them.

    `picture` and `annotator` are codes int64 [n]; `faces` [P] and `people` [I] are their numbers in the
    database. `model` is None without ratings.
    """

    picture: Codes
    annotator: Codes
    rating: Numbers
    faces: Codes
    people: Codes
    model: RatingModel | None


def read_crowd(database: SiteDatabase) -> Crowd:
    """All scores of faces in circulation."""
    query = (
        sa.select(assignments.c.face, assignments.c.person, assignments.c.score)
        .join(faces, faces.c.id == assignments.c.face)
        .where(
            assignments.c.state == "rated",
            assignments.c.kind != Kind.REPEAT,
            faces.c.state == FaceState.OPEN,
        )
        .order_by(assignments.c.id)
    )
    with database.reading() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    said = np.array(rows, dtype=np.int64).reshape(-1, 3)
    numbers, picture = np.unique(said[:, 0], return_inverse=True)
    people, annotator = np.unique(said[:, 1], return_inverse=True)
    rating = said[:, 2].astype(np.float64)
    model = fit_rating_model(picture, annotator, rating) if len(rating) else None
    return Crowd(picture, annotator, rating, numbers, people, model)


def half_widths(crowd: Crowd) -> Numbers:
    """Half of the 95 % interval of each face's score, in points; NaN where it cannot be known.

    The model's standard error takes annotators for as inconsistent about each face as about all. Here a face
    about which they disagree more than that has a wider interval, with r = (x - psi - b) / v:

        SE_j^2 (k + sum_i r_ij^2) / (k + n_j - 1),   k = USUAL_DISAGREEMENT

    Returns:
        float64 [P].
    """
    model = crowd.model
    if model is None:
        return np.zeros(0)
    residual = crowd.rating - model.score[crowd.picture] - model.bias[crowd.annotator]
    residual = residual / model.inconsistency[crowd.annotator]
    count = np.bincount(crowd.picture)
    disagreement = USUAL_DISAGREEMENT + np.bincount(crowd.picture, np.square(residual))
    factor = disagreement / (USUAL_DISAGREEMENT + count - 1)
    return np.asarray(NORMAL_95_PERCENT * model.standard_error * np.sqrt(factor))


def renew_targets(database: SiteDatabase, *, settings: SiteSettings) -> int:
    """Give faces with a wide interval one more annotator than they have, once all have the wanted number.

    Returns:
        How many faces are to get one.
    """
    with database.reading() as connection:
        if not all_have_the_wanted_number(connection, settings.wanted_annotators):
            return 0
    crowd = read_crowd(database)
    widths = half_widths(crowd)
    with database.reading() as connection:
        columns = (faces.c.id, faces.c.half_width, faces.c.rated, faces.c.target)
        known = {
            row.id: row for row in connection.execute(sa.select(*columns).where(faces.c.gold_score.is_(None)))
        }
    changes, wide = [], 0
    for number, width in zip(crowd.faces.tolist(), widths.tolist(), strict=True):
        face = known.get(number)
        if face is None or not np.isfinite(width):
            continue
        is_wide = width > settings.wide_interval and face.rated < settings.most_annotators
        wide += is_wide
        # `rated` may grow until this is written; the target is then reached already, and raised next time.
        target = max(face.rated + 1, settings.wanted_annotators) if is_wide else settings.wanted_annotators
        moved = face.half_width is None or abs(face.half_width - width) > LEAST_CHANGE
        if moved or target != face.target:
            changes.append({"number": number, "width": width, "aim": target})
    change = (
        sa.update(faces)
        .where(faces.c.id == sa.bindparam("number"))
        .values(half_width=sa.bindparam("width"), target=sa.bindparam("aim"))
    )
    for first in range(0, len(changes), AT_ONCE):
        # Some at a time: whoever scores meanwhile waits for no more than these.
        with database.writing() as connection:
            connection.execute(change, changes[first : first + AT_ONCE])
    return wide
