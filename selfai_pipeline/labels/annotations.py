"""Every rating of a crawled picture, with where it came from: the table `annotations`."""

import hashlib
import json
import logging
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.picture_names import PictureNames
from selfai_pipeline.labels.ratings_file import Ratings, read_picture_attributes, read_ratings
from selfai_pipeline.sources.settings import PicturesFile, RatingsFile, Source
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger("selfai.labels")


def collect_annotations(raw_crawl: Snapshot, *, sources: list[Source], store: Store) -> TableRef:
    """Join the ratings that the sources declare with the pictures that were stored.

    Rows are sorted by picture, annotator and origin. A rating whose picture was not stored, or whose name
    means more than one picture, is counted in the facts (`unmatched`, of them `ambiguous`) and left out.

    Raises:
        InputError: a file of ratings or of picture attributes cannot be used; see `read_ratings`.
    """
    import pyarrow as pa

    from selfai_pipeline.schemas import ANNOTATIONS

    names = _stored_pictures(raw_crawl, store)
    counts: Counter[str] = Counter()
    parts: list[pa.Table] = []
    for source in sorted(sources, key=lambda one: one.name):
        known = PictureNames(names.get(source.name, []))
        attributes: dict[str, dict[str, str]] = {}
        if source.pictures is not None:
            for name, values in read_picture_attributes(source.pictures, home=store.home).items():
                for image_id in known.find(name):
                    attributes.setdefault(image_id, {}).update(values)
        for file in source.ratings:
            ratings = read_ratings(file, home=store.home)
            part = _matched(
                ratings, source_name=source.name, known=known, attributes=attributes, counts=counts
            )
            logger.info(
                "ratings of %s: %d rows, %d of them of stored pictures (%d repeated, %d superseded)",
                source.name,
                len(ratings.table),
                part.num_rows,
                ratings.repeated,
                ratings.superseded,
            )
            parts.append(part)
    table = pa.concat_tables([ANNOTATIONS.empty_table().replace_schema_metadata(None), *parts])
    table = table.sort_by(
        [
            (name, "ascending")
            for name in ("image_id", "annotator", "origin", "rated_at", "score", "attributes")
        ]
    )
    single = table.column("annotator").is_valid().to_numpy()
    facts = {
        "counts": {
            "ratings": int(single.sum()),
            "means": int((~single).sum()),
            "pictures": len(table.column("image_id").unique()),
            "annotators": len(table.column("annotator").drop_null().unique()),
            "repeated": counts["repeated"],
            "superseded": counts["superseded"],
        },
        "unmatched": counts["unmatched"],
        "ambiguous": counts["ambiguous"],
        "state": "collected" if table.num_rows else "empty",
    }
    return store.tables.write(table, asset="annotations", facts=facts)


def ratings_fingerprint(sources: list[Source], home: Home) -> str:
    """SHA-256 over the bytes of every file of ratings and attributes that the sources declare.

    Raises:
        InputError: a declared file cannot be read.
    """
    hashes = []
    for source in sorted(sources, key=lambda one: one.name):
        files: list[RatingsFile | PicturesFile] = [*source.ratings]
        if source.pictures is not None:
            files.append(source.pictures)
        for declared in files:
            try:
                with declared.file(home).open("rb") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
            except OSError as error:
                raise InputError(
                    f"it cannot be read ({error.strerror})",
                    where=str(declared.file(home)),
                    mend=f"Put it back, or mend the source {source.name!r} in sources.yaml.",
                ) from None
            hashes.append((source.name, declared.path, digest))
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def _stored_pictures(raw_crawl: Snapshot, store: Store) -> dict[str, list[tuple[str, str]]]:
    """Source -> (name or address, image_id) of each stored picture."""
    names: dict[str, list[tuple[str, str]]] = {}
    for ref in raw_crawl.tables.values():
        columns = ["image_id", "url", "source", "status", "attributes"]
        for row in store.tables.read(ref, columns).to_pylist():
            if row["status"] != "stored":
                continue
            pictures = names.setdefault(row["source"], [])
            pictures.append((row["url"], row["image_id"]))
            name = json.loads(row["attributes"]).get("name")
            if isinstance(name, str):
                pictures.append((name, row["image_id"]))
    return names


def _matched(
    ratings: Ratings,
    *,
    source_name: str,
    known: PictureNames,
    attributes: dict[str, dict[str, str]],
    counts: Counter[str],
) -> "pa.Table":
    """The ratings of stored pictures as an Arrow table; adds to `counts` what was left out."""
    import pyarrow as pa

    from selfai_pipeline.schemas import ANNOTATIONS

    found = {name: known.find(name) for name in set(ratings.names)}
    hits = np.array([len(found[name]) for name in ratings.names], dtype=np.int64)
    counts["unmatched"] += int((hits != 1).sum())
    counts["ambiguous"] += int((hits > 1).sum())
    counts["repeated"] += ratings.repeated
    counts["superseded"] += ratings.superseded
    rows = np.flatnonzero(hits == 1)
    image_ids = [found[ratings.names[row]][0] for row in rows]
    merged: dict[tuple[str, str], str] = {}
    texts = []
    for image_id, row in zip(image_ids, rows, strict=True):
        own = ratings.attributes[row]
        key = (image_id, own)
        if key not in merged:
            values = {**attributes.get(image_id, {}), **json.loads(own)}
            merged[key] = json.dumps(values, sort_keys=True, ensure_ascii=False)
        texts.append(merged[key])
    annotators = ratings.annotators
    columns = {
        "image_id": image_ids,
        "annotator": [None if annotators is None else f"{source_name}/{annotators[row]}" for row in rows],
        "score": ratings.scores[rows],
        "ratings": ratings.counts[rows],
        "rated_at": [ratings.rated_at[row] for row in rows],
        "origin": [f"{source_name}:{ratings.file.path}"] * len(rows),
        "original_score": ratings.original_scores[rows],
        "attributes": texts,
    }
    bare = ANNOTATIONS.remove_metadata()
    return pa.table([pa.array(columns[field.name], type=field.type) for field in bare], schema=bare)
