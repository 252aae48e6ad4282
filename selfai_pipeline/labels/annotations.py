"""Every rating of a crawled picture, with where it came from: the table `annotations`."""

import json
import logging
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.left_out import (
    LeftOut,
    count_files,
    count_reasons,
    list_path,
    match_names,
    write_list,
)
from selfai_pipeline.labels.overlaps import without_overlaps
from selfai_pipeline.labels.picture_names import PictureNames
from selfai_pipeline.labels.ratings_file import Ratings, read_pictures, read_ratings
from selfai_pipeline.labels.reasons import NO_RATINGS
from selfai_pipeline.labels.site.ratings import ORIGIN, SiteRating, site_origin
from selfai_pipeline.sources.fingerprints import hash_of, sha256_of_file
from selfai_pipeline.sources.settings import PicturesFile, RatingsFile, Source
from selfai_pipeline.sources.tombstones import Tombstones
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger("selfai.labels")


def collect_annotations(
    raw_crawl: Snapshot, *, sources: list[Source], store: Store, from_site: list[SiteRating] | None = None
) -> TableRef:
    """Join the ratings that the sources declare, and those of the annotation site, with the stored pictures.

    Rows are sorted by picture, annotator and origin. Their order in the files, and the format of a file that
    `selfai import` brought in, change nothing. Rows that cannot be used, or whose picture was not stored, or
    whose name means more than one picture, are left out. The facts count them by reason (`left_out`; of files
    about pictures, `left_out_descriptions`; of rows that nobody meant as ratings, `no_ratings`) and by file
    with the first line (`left_out_files`); `imports/<source>/left_out.csv` lists them, with what is wrong
    with each. Ratings by annotators who were removed, and rows about removed pictures, are passed over; of
    removed addresses in further columns nothing is kept.

    Raises:
        InputError: a file of ratings or of picture attributes cannot be used at all; see `read_ratings`.
        StorageError: the list or the table cannot be written.
    """
    import pyarrow as pa

    from selfai_pipeline.schemas import ANNOTATIONS

    names = stored_pictures(raw_crawl, store)
    removed = Tombstones.of(store)
    counts: Counter[str] = Counter()
    parts: list[pa.Table] = []
    lost: list[LeftOut] = []
    no_ratings: list[LeftOut] = []
    lost_descriptions: list[LeftOut] = []
    described: dict[str, dict[str, dict[str, str]]] = {}
    for source in sorted(sources, key=lambda one: one.name):
        known = PictureNames(names.get(source.name, []))
        is_removed = partial(removed.refuses_name, source.name, stored=known.addresses)
        attributes, undescribed = _attributes_of(
            source, known=known, home=store.home, is_removed=is_removed, scrubbed=removed.scrubbed
        )
        for image_id, values in attributes.items():
            described.setdefault(image_id, {})[source.name] = values
        unused: list[LeftOut] = []
        read: list[tuple[Ratings, list[str | None]]] = []
        for file in source.ratings:
            ratings = read_ratings(
                file, home=store.home, is_removed=partial(removed.refuses_annotator, source.name)
            )
            pictures, unmatched = match_names(
                ratings.names, ratings.lines, known=known, file=file.path, is_removed=is_removed
            )
            counts.update(repeated=ratings.repeated, superseded=ratings.superseded)
            unused += [*ratings.left_out, *unmatched]
            read.append((ratings, pictures))
        overlaps = without_overlaps(read)
        counts.update(repeated=overlaps.repeated, superseded=overlaps.superseded)
        unused += overlaps.left_out
        for file, (ratings, _), pictures in zip(source.ratings, read, overlaps.pictures, strict=True):
            origin = origin_of(source.name, file)
            part = _matched(
                ratings,
                pictures,
                source_name=source.name,
                origin=origin,
                attributes=attributes,
                scrubbed=removed.scrubbed,
            )
            logger.info(
                "ratings of %s: %d of %d rows are ratings of stored pictures (%d repeated, %d superseded)",
                source.name,
                part.num_rows,
                ratings.read,
                ratings.repeated,
                ratings.superseded,
            )
            parts.append(part)
        # What a removed picture was called is in no list any more.
        unused, undescribed = (
            [row for row in rows if not is_removed(row.name)] for rows in (unused, undescribed)
        )
        write_list([*unused, *undescribed], list_path(store.home, source.name))
        no_ratings += [one for one in unused if one.reason in NO_RATINGS]
        lost += [one for one in unused if one.reason not in NO_RATINGS]
        lost_descriptions += undescribed
    site = _site_table(from_site or [], names=names, attributes=described)
    parts.append(site)
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
        "site": {"ratings": site.num_rows, "not_stored": len(from_site or []) - site.num_rows},
        "left_out": count_reasons(lost),
        "no_ratings": count_reasons(no_ratings),
        "left_out_descriptions": count_reasons(lost_descriptions),
        "left_out_files": count_files([*lost, *lost_descriptions]),
        "state": "collected" if table.num_rows else "empty",
    }
    return store.tables.write(table, asset="annotations", facts=facts)


def ratings_fingerprint(sources: list[Source], home: Home) -> str:
    """SHA-256 over the bytes of every file of ratings and attributes that the sources declare.

    Raises:
        InputError: a declared file cannot be read.
    """
    return hash_of(file_hashes(sources, home))


def file_hashes(sources: list[Source], home: Home) -> list[tuple[str, str, str]]:
    """(source, path, SHA-256 of the bytes) of every file of ratings and attributes, by source.

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
                digest = sha256_of_file(declared.file(home))
            except OSError as error:
                raise InputError(
                    f"it cannot be read ({error.strerror})",
                    where=str(declared.file(home)),
                    mend=f"Put it back, or mend the source {source.name!r} in sources.yaml.",
                ) from None
            hashes.append((source.name, declared.path, digest))
    return hashes


def stored_pictures(raw_crawl: Snapshot, store: Store) -> dict[str, list[tuple[str, str]]]:
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


def _attributes_of(
    source: Source,
    *,
    known: PictureNames,
    home: Home,
    is_removed: Callable[[str], bool],
    scrubbed: Callable[[str], str],
) -> tuple[dict[str, dict[str, str]], list[LeftOut]]:
    """What the file about pictures says, by image_id, and its rows that are left out."""
    if source.pictures is None:
        return {}, []
    rows = read_pictures(source.pictures, home=home)
    pictures, unmatched = match_names(
        rows.names, rows.lines, known=known, file=source.pictures.path, is_removed=is_removed
    )
    attributes: dict[str, dict[str, str]] = {}
    for image_id, values in zip(pictures, rows.attributes, strict=True):
        if image_id is not None:
            attributes.setdefault(image_id, {}).update(json.loads(scrubbed(values)))
    return attributes, [*rows.left_out, *unmatched]


def _matched(
    ratings: Ratings,
    pictures: list[str | None],
    *,
    source_name: str,
    origin: str,
    attributes: dict[str, dict[str, str]],
    scrubbed: Callable[[str], str],
) -> "pa.Table":
    """The ratings of stored pictures (one each, None: none) as an Arrow table."""
    import pyarrow as pa

    from selfai_pipeline.schemas import ANNOTATIONS

    matched = [(row, image_id) for row, image_id in enumerate(pictures) if image_id is not None]
    rows = np.array([row for row, _ in matched], dtype=np.int64)
    merged: dict[tuple[str, str], str] = {}
    texts = []
    for row, image_id in matched:
        own = ratings.attributes[row]
        key = (image_id, own)
        if key not in merged:
            values = {**attributes.get(image_id, {}), **json.loads(scrubbed(own))}
            merged[key] = json.dumps(values, sort_keys=True, ensure_ascii=False)
        texts.append(merged[key])
    annotators = ratings.annotators
    columns = {
        "image_id": [image_id for _, image_id in matched],
        "annotator": [None if annotators is None else f"{source_name}/{annotators[row]}" for row in rows],
        "score": ratings.scores[rows],
        "ratings": ratings.counts[rows],
        "rated_at": [ratings.rated_at[row] for row in rows],
        "origin": [origin] * len(rows),
        "original_score": ratings.original_scores[rows],
        "attributes": texts,
        "annotator_group": [ratings.annotator_groups[row] for row in rows],
    }
    bare = ANNOTATIONS.remove_metadata()
    return pa.table([pa.array(columns[field.name], type=field.type) for field in bare], schema=bare)


def origin_of(source_name: str, file: RatingsFile) -> str:
    """Source and file that a rating comes from.

    Of a copy that `selfai import` made only what it holds: its hash and its ending say nothing about the
    rating, and change with the order of the rows. The materialization has the hash of each file.
    """
    copied = re.fullmatch(rf"(imports/{source_name}/(?:ratings|scores))-[0-9a-f]{{12}}\.[a-z.]+", file.path)
    return f"{source_name}:{copied[1] if copied else file.path}"


def _site_table(
    ratings: list[SiteRating],
    *,
    names: dict[str, list[tuple[str, str]]],
    attributes: dict[str, dict[str, dict[str, str]]],
) -> "pa.Table":
    """The ratings of the annotation site as rows; those of pictures that are stored no more are left out.

    `attributes` are by image_id and source. The origin names the sources: a person is one of a source.
    """
    import pyarrow as pa

    from selfai_pipeline.schemas import ANNOTATIONS

    stored = {image_id for pictures in names.values() for _, image_id in pictures}
    about = {}
    for image_id in {one.image_id for one in ratings}:
        said = attributes.get(image_id, {})
        merged = {name: value for values in said.values() for name, value in values.items()}
        about[image_id] = site_origin(said), json.dumps(merged, sort_keys=True, ensure_ascii=False)
    rows = [
        {
            "image_id": one.image_id,
            "annotator": f"{ORIGIN}/{one.annotator}",
            "score": float(one.score),
            "ratings": 1,
            "rated_at": one.rated_at,
            "origin": about[one.image_id][0],
            "original_score": float(one.score),
            "attributes": about[one.image_id][1],
            "annotator_group": one.group or None,
        }
        for one in ratings
        if one.image_id in stored
    ]
    return pa.Table.from_pylist(rows, schema=ANNOTATIONS.remove_metadata())
