"""The table that training and evaluation read: one row a rated face, with score, class, split and weight."""

import json
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.agreement import ceiling_facts
from selfai_pipeline.labels.balance import class_counts, classes_of, draw_weights, draws_by_class
from selfai_pipeline.labels.crops import first_crops
from selfai_pipeline.labels.descriptions import PictureDescription, describe_pictures
from selfai_pipeline.labels.known_copies import days_without_copies
from selfai_pipeline.labels.scores import PictureScore, score_pictures
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.labels.splits import Split, assign_splits, clusters_of
from selfai_pipeline.schemas import SCORE_MAXIMUM, SCORE_MINIMUM
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger("selfai.labels")

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Texts = npt.NDArray[np.str_]


@dataclass(frozen=True)
class _Sides:
    """Of each picture, by image_id: its cluster, and its side (None where it has to be left out)."""

    cluster: dict[str, str]
    side: dict[str, Split | None]


@dataclass(frozen=True)
class _Labels:
    """What is known of the n rated faces, in the order of the table."""

    scores: Numbers
    standard_errors: list[float | None]
    classes: Codes
    splits: Texts
    weights: Numbers


def build_label_table(
    annotations: TableRef, aligned_faces: Snapshot, *, store: Store, settings: LabelSettings
) -> TableRef:
    """Join ratings with aligned faces; score, split and balance them.

    One row a face that has a crop and whose picture is rated, sorted by (image_id, face). A picture of
    several partitions counts once, in the first that has a crop of it. A picture with crops of several faces
    is left out: a rating is of the picture, and nobody knows which of them it means. The facts carry the
    noise ceiling (None with a reason where it cannot be known), figures of agreement, and counts by split,
    class and reason of leaving out.

    Raises:
        InputError: no rated face, all of one class, too few rows for a split, or a given split that is none
            or contradicts itself.
    """
    ratings = store.tables.read(annotations)
    crowd = score_pictures(ratings, settings=settings)
    described = describe_pictures(ratings, settings)
    faces = first_crops(aligned_faces, store)
    crops = Counter(faces["image_id"].to_pylist())
    left_out = Counter(
        too_few_annotators=crowd.facts["too_few_annotators"],
        no_face=len(set(crowd.pictures) - set(crops)),
        several_faces=sum(crops[image_id] > 1 for image_id in crowd.pictures),
    )
    rows = _chosen(faces, {one for one in crowd.pictures if crops[one] == 1})
    if not rows.num_rows:
        raise InputError(
            f"no rated picture has one aligned face ({len(described)} pictures rated, {faces.num_rows} faces "
            f"with a crop, {left_out['several_faces']} rated pictures with several, "
            f"{left_out['too_few_annotators']} with fewer than {settings.least_annotators} annotators)",
            where="annotations and aligned_faces",
            mend="Materialize the days whose pictures are rated, lower least_annotators, or align one face a "
            "picture (which_face).",
        )
    # Faces without ratings count too: once they are rated, they find their group where it was.
    pruned = days_without_copies(
        aligned_faces,
        store,
        radius=settings.duplicate_radius,
        least_correlation=settings.duplicate_correlation,
    )
    scored = set(crowd.pictures)
    sides = _split(faces, described, scored, settings, pruned_days=pruned, cache=store.home.cache)
    rated = rows.num_rows
    rows = _chosen(rows, {image_id for image_id, side in sides.side.items() if side is not None})
    left_out["across_given_splits"] = rated - rows.num_rows

    image_ids = rows["image_id"].to_pylist()
    voices = [crowd.pictures[image_id] for image_id in image_ids]
    labels = _labelled(voices, [sides.side[image_id] for image_id in image_ids], settings, left_out=left_out)
    clusters = [sides.cluster[image_id] for image_id in image_ids]
    facts = {
        **crowd.facts,
        **ceiling_facts(labels.scores, labels.standard_errors, has_single_ratings=crowd.facts["ratings"] > 0),
        **_counts(labels),
        "duplicate_radius": settings.duplicate_radius,
        "duplicate_correlation": settings.duplicate_correlation,
        "clusters": len(set(clusters)),
        "left_out": dict(sorted(left_out.items())),
        "differing_attributes": sum(len(one.conflicts) for one in described.values()),
    }
    descriptions = [described[image_id].attributes for image_id in image_ids]
    table = _table(
        rows,
        score=labels.scores,
        standard_error=labels.standard_errors,
        mean_score=[one.mean_score for one in voices],
        annotators=[one.annotators for one in voices],
        cluster=clusters,
        split=labels.splits.tolist(),
        weight=labels.weights,
        group=[one.get(settings.group_column) for one in descriptions],
        attributes=[json.dumps(one, sort_keys=True, ensure_ascii=False) for one in descriptions],
        **{"class": labels.classes},
    )
    logger.info(
        "labelled %d faces: %s; left out: %s",
        table.num_rows,
        ", ".join(f"{faces} {side}" for side, faces in facts["counts"].items()),
        _in_words(left_out),
    )
    return store.tables.write(table, asset="balanced_label_table", facts=facts)


def _chosen(faces: "pa.Table", pictures: set[str]) -> "pa.Table":
    """The faces of some pictures, by image_id."""
    import pyarrow as pa

    return faces.filter(pa.array([one in pictures for one in faces["image_id"].to_pylist()], pa.bool_()))


def _table(rows: "pa.Table", **columns: Any) -> "pa.Table":
    """The columns of the label table: those of the faces, and others by name."""
    import pyarrow as pa

    from selfai_pipeline.schemas import BALANCED_LABEL_TABLE

    found = {
        field.name: pa.array(columns[field.name], type=field.type)
        if field.name in columns
        else rows[field.name]
        for field in BALANCED_LABEL_TABLE
    }
    return pa.table(found, schema=BALANCED_LABEL_TABLE.remove_metadata())


def _split(
    faces: "pa.Table",
    described: dict[str, PictureDescription],
    scored: set[str],
    settings: LabelSettings,
    *,
    pruned_days: set[str],
    cache: Path,
) -> _Sides:
    """Clusters and sides of all pictures with a crop; given splits count where a picture is scored."""
    ids = np.asarray(faces["image_id"].to_pylist(), dtype=np.str_)
    pictures = faces.take(np.unique(ids, return_index=True)[1])
    image_ids = pictures["image_id"].to_pylist()
    clusters = clusters_of(
        image_ids,
        hashes=pictures["perceptual_hash"].to_pylist(),
        thumbnails=pictures["thumbnail"].to_pylist(),
        persons=[described[one].persons if one in described else [] for one in image_ids],
        days=pictures["partition"].to_pylist(),
        radius=settings.duplicate_radius,
        least_correlation=settings.duplicate_correlation,
        pruned_days=pruned_days,
        cache=cache / "copies",
    )
    sides = assign_splits(
        clusters,
        given=[described[one].given if one in scored else None for one in image_ids],
        test_share=settings.test_share,
        validation_share=settings.validation_share,
        seed=settings.split_seed,
    )
    return _Sides(dict(zip(image_ids, clusters, strict=True)), dict(zip(image_ids, sides, strict=True)))


def _labelled(
    voices: list[PictureScore],
    sides: list[Split | None],
    settings: LabelSettings,
    *,
    left_out: Counter[str],
) -> _Labels:
    """Scores on the scale, classes, sides and weights.

    Raises:
        InputError: nothing could be trained or evaluated on them.
    """
    scores = np.clip([one.score for one in voices], SCORE_MINIMUM, SCORE_MAXIMUM).astype(np.float64)
    classes = classes_of(scores)
    splits = np.array([str(side) for side in sides], dtype=np.str_)
    _check(classes, splits, left_out=left_out, settings=settings)
    weights, train = np.zeros(len(scores)), splits == Split.TRAIN
    weights[train] = draw_weights(scores[train], settings)
    return _Labels(scores, [one.standard_error for one in voices], classes, splits, weights)


def _check(classes: Codes, splits: Texts, *, left_out: Counter[str], settings: LabelSettings) -> None:
    """Raises InputError where nothing could be trained or evaluated on the table."""
    if len(set(classes.tolist())) == 1:
        raise InputError(
            f"all {len(classes)} are of class {classes[0]}",
            where="classes of the rated faces",
            mend="Two classes at least are needed: check the scale of the ratings (minimum, maximum).",
        )
    for side in Split:
        count = int((splits == side).sum())
        if count < settings.least_rows:
            raise InputError(
                f"only {count} of {len(classes)} fall to {side}, where {settings.least_rows} are needed "
                f"(pictures left out: {_in_words(left_out)})",
                where="splits of the rated faces",
                mend="Add rated pictures, or change the shares of the splits.",
            )
    trained = set(classes[splits == Split.TRAIN].tolist())
    if len(trained) == 1:
        raise InputError(
            f"all of the training split are of class {min(trained)}",
            where="classes of the rated faces",
            mend="Add rated pictures of other classes, or change the shares of the splits.",
        )


def _counts(labels: _Labels) -> dict[str, Any]:
    """How many faces fall to each split and class, and how often training draws each class."""
    of = {str(side): labels.splits == side for side in Split}
    train = of[Split.TRAIN]
    return {
        "counts": {side: int(mine.sum()) for side, mine in of.items()},
        "class_counts": class_counts(labels.classes),
        "train_class_counts": class_counts(labels.classes[train]),
        "train_class_draws": draws_by_class(labels.classes[train], labels.weights[train]),
        "score_by_split": {
            side: {
                "mean": float(labels.scores[mine].mean()),
                "standard_deviation": float(labels.scores[mine].std()),
            }
            for side, mine in of.items()
        },
    }


def _in_words(left_out: Counter[str]) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in sorted(left_out.items()) if n) or "none"
