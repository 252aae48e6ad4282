"""The table that training and evaluation read: one row a rated face, with score, class, split and weight."""

import json
import logging
from collections import Counter
from typing import Any

import numpy as np

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.agreement import ceiling_facts
from selfai_pipeline.labels.balance import class_balanced_weights, classes_of
from selfai_pipeline.labels.descriptions import PictureDescription, describe_pictures
from selfai_pipeline.labels.scores import score_pictures
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.labels.splits import Split, assign_splits, clusters_of
from selfai_pipeline.schemas import CLASSES, SCORE_MAXIMUM, SCORE_MINIMUM
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef

logger = logging.getLogger("selfai.labels")


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
    faces = _first_crops(aligned_faces, store)
    crops = Counter(face["image_id"] for face in faces)
    left_out = Counter(
        too_few_annotators=crowd.facts["too_few_annotators"],
        no_face=len(set(crowd.pictures) - set(crops)),
        several_faces=sum(crops[image_id] > 1 for image_id in crowd.pictures),
    )
    rows = [face for face in faces if face["image_id"] in crowd.pictures and crops[face["image_id"]] == 1]
    if not rows:
        raise InputError(
            f"no rated picture has one aligned face ({len(described)} pictures rated, {len(faces)} faces "
            f"with a crop, {left_out['several_faces']} rated pictures with several, "
            f"{left_out['too_few_annotators']} with fewer than {settings.least_annotators} annotators)",
            where="annotations and aligned_faces",
            mend="Materialize the days whose pictures are rated, lower least_annotators, or align one face a "
            "picture (which_face).",
        )
    # Faces without ratings count too: once they are rated, they find their group where it was.
    given = {image_id: described[image_id].given for image_id in crowd.pictures}
    sides = _split(faces, described, given, settings)
    left_out["across_given_splits"] = sum(
        sides[image_id][1] is None for image_id in {face["image_id"] for face in rows}
    )
    rows = [face for face in rows if sides[face["image_id"]][1] is not None]
    counts = Counter(sides[face["image_id"]][1] for face in rows)

    labels = [crowd.pictures[face["image_id"]] for face in rows]
    scores = np.clip([label.score for label in labels], SCORE_MINIMUM, SCORE_MAXIMUM)
    classes = classes_of(scores)
    splits = np.array([str(sides[face["image_id"]][1]) for face in rows])
    _check(classes, splits, counts, left_out=left_out, settings=settings)
    weights = np.zeros(len(rows))
    train = splits == Split.TRAIN
    weights[train] = class_balanced_weights(classes[train])
    facts = {
        **crowd.facts,
        **ceiling_facts(
            scores,
            [label.standard_error for label in labels],
            has_single_ratings=crowd.facts["ratings"] > 0,
        ),
        "counts": {str(side): counts[side] for side in Split},
        "class_counts": _class_counts(classes),
        "train_class_counts": _class_counts(classes[train]),
        "score_by_split": {
            str(side): {
                "mean": float(scores[splits == side].mean()),
                "standard_deviation": float(scores[splits == side].std()),
            }
            for side in Split
        },
        "duplicate_radius": settings.duplicate_radius,
        "duplicate_correlation": settings.duplicate_correlation,
        "clusters": len({sides[face["image_id"]][0] for face in rows}),
        "left_out": dict(sorted(left_out.items())),
        "differing_attributes": sum(len(one.conflicts) for one in described.values()),
    }
    table = [
        {
            "image_id": face["image_id"],
            "face": face["face"],
            "crop_sha256": face["crop_sha256"],
            "source": face["source"],
            "partition": face["partition"],
            "score": float(scores[k]),
            "standard_error": labels[k].standard_error,
            "mean_score": labels[k].mean_score,
            "annotators": labels[k].annotators,
            "class": int(classes[k]),
            "cluster": sides[face["image_id"]][0],
            "split": str(splits[k]),
            "weight": float(weights[k]),
            "group": described[face["image_id"]].attributes.get(settings.group_column),
            "attributes": json.dumps(
                described[face["image_id"]].attributes, sort_keys=True, ensure_ascii=False
            ),
            "perceptual_hash": face["perceptual_hash"],
            "thumbnail": face["thumbnail"],
        }
        for k, face in enumerate(rows)
    ]
    logger.info(
        "labelled %d faces: %s; left out: %s",
        len(table),
        ", ".join(f"{counts[side]} {side}" for side in Split),
        ", ".join(f"{n} {reason}" for reason, n in sorted(left_out.items()) if n) or "none",
    )
    return store.tables.write(table, asset="balanced_label_table", facts=facts)


def _first_crops(aligned_faces: Snapshot, store: Store) -> list[dict[str, Any]]:
    """Faces with a crop, each picture's from its first partition; sorted by (image_id, face)."""
    faces: dict[str, list[dict[str, Any]]] = {}
    columns = ["image_id", "face", "source", "crop_sha256", "perceptual_hash", "thumbnail"]
    for partition, ref in aligned_faces.tables.items():
        found: dict[str, list[dict[str, Any]]] = {}
        for row in store.tables.read(ref, columns).to_pylist():
            if row["face"] >= 0 and row["crop_sha256"] is not None and row["image_id"] not in faces:
                found.setdefault(row["image_id"], []).append({**row, "partition": partition})
        faces.update(found)
    return [
        face
        for image_id in sorted(faces)
        for face in sorted(faces[image_id], key=lambda row: int(row["face"]))
    ]


def _split(
    faces: list[dict[str, Any]],
    described: dict[str, PictureDescription],
    given: dict[str, Split | None],
    settings: LabelSettings,
) -> dict[str, tuple[str, Split | None]]:
    """image_id -> (cluster, side; None where it is left out)."""
    pictures = {face["image_id"]: face for face in faces}
    image_ids = sorted(pictures)
    persons = {image_id: one.persons for image_id, one in described.items()}
    clusters = clusters_of(
        image_ids,
        hashes=[pictures[image_id]["perceptual_hash"] for image_id in image_ids],
        thumbnails=[pictures[image_id]["thumbnail"] for image_id in image_ids],
        persons=[persons.get(image_id, []) for image_id in image_ids],
        days=[pictures[image_id]["partition"] for image_id in image_ids],
        radius=settings.duplicate_radius,
        least_correlation=settings.duplicate_correlation,
    )
    sides = assign_splits(
        clusters,
        given=[given.get(image_id) for image_id in image_ids],
        test_share=settings.test_share,
        validation_share=settings.validation_share,
        seed=settings.split_seed,
    )
    return dict(zip(image_ids, zip(clusters, sides, strict=True), strict=True))


def _check(
    classes: "np.ndarray[Any, np.dtype[np.int64]]",
    splits: "np.ndarray[Any, Any]",
    counts: Counter[Split | None],
    *,
    left_out: Counter[str],
    settings: LabelSettings,
) -> None:
    """Raises InputError where nothing could be trained or evaluated on the table."""
    why = ", ".join(f"{n} {reason}" for reason, n in sorted(left_out.items()) if n) or "none"
    if len(set(classes.tolist())) == 1:
        raise InputError(
            f"all {len(classes)} are of class {classes[0]}",
            where="classes of the rated faces",
            mend="Two classes at least are needed: check the scale of the ratings (minimum, maximum).",
        )
    for side in Split:
        if counts[side] < settings.least_rows:
            raise InputError(
                f"only {counts[side]} of {len(classes)} fall to {side}, where "
                f"{settings.least_rows} are needed (pictures left out: {why})",
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


def _class_counts(classes: "np.ndarray[Any, np.dtype[np.int64]]") -> dict[str, int]:
    return {str(number): int((classes == number).sum()) for number in range(CLASSES)}
