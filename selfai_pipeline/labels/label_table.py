"""The table that training and evaluation read: one row a rated face, with score, class, split and weight."""

import json
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.agreement import ceiling_facts
from selfai_pipeline.labels.crops import first_crops
from selfai_pipeline.labels.descriptions import PictureDescription, describe_pictures
from selfai_pipeline.labels.known_copies import days_without_copies
from selfai_pipeline.labels.labelled import in_words, label_counts, labelled
from selfai_pipeline.labels.scores import score_pictures
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.labels.splits import Split, assign_splits, clusters_of
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger("selfai.labels")


@dataclass(frozen=True)
class _Sides:
    """Of each picture, by image_id: its cluster, and its side (None where it has to be left out)."""

    cluster: dict[str, str]
    side: dict[str, Split | None]


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
    pruned = days_without_copies(
        aligned_faces,
        store,
        radius=settings.duplicate_radius,
        least_correlation=settings.duplicate_correlation,
    )
    scored = set(crowd.pictures)
    # Faces without ratings count too: once they are rated, they find their group where it was.
    sides = _split(faces, described, scored, settings, pruned_days=pruned, cache=store.home.cache)
    rated = rows.num_rows
    rows = _chosen(rows, {image_id for image_id, side in sides.side.items() if side is not None})
    left_out["across_given_splits"] = rated - rows.num_rows

    image_ids = rows["image_id"].to_pylist()
    voices = [crowd.pictures[image_id] for image_id in image_ids]
    labels = labelled(voices, [sides.side[image_id] for image_id in image_ids], settings, left_out=left_out)
    clusters = [sides.cluster[image_id] for image_id in image_ids]
    facts = {
        **crowd.facts,
        **ceiling_facts(labels.scores, labels.standard_errors, has_single_ratings=crowd.facts["ratings"] > 0),
        **label_counts(labels),
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
        in_words(left_out),
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
