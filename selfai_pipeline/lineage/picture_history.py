"""Where one picture came from, what was measured of it, who rated it, and which models learnt from it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion
from selfai_pipeline.lineage.columns import read_columns, readable_columns, row_at
from selfai_pipeline.lineage.derived import Derived, Selection, derived_from
from selfai_pipeline.lineage.registry import Registry
from selfai_pipeline.lineage.versions import Archive, VersionKey, is_hash_prefix
from selfai_pipeline.picture_store import SHA256_HEX
from selfai_pipeline.sources.tombstones import PICTURE, Tombstones, was_removed
from selfai_pipeline.training.provenance import HASHES_ALONE


@dataclass(frozen=True)
class Statement:
    """A row that some versions of a table hold, word for word; `in_current` where today's version does."""

    values: Mapping[str, Any]
    versions: tuple[VersionKey, ...]
    in_current: bool


@dataclass(frozen=True)
class PictureHistory:
    """What is known of the pictures that were asked for (one, as a rule; an address may have given several).

    `match` says in words how they were found; `statements` are rows by asset, in the order of the graph.
    """

    match: str
    derived: Derived
    statements: Mapping[str, tuple[Statement, ...]] = field(default_factory=dict)

    @property
    def image_ids(self) -> list[str]:
        return sorted(self.derived.selection.image_ids or self.derived.image_ids)


def picture_history(asked: str, *, archive: Archive, registry: Registry) -> PictureHistory:
    """The history of a picture.

    Args:
        asked: the path of a picture file, an address, or an image_id (its first characters are enough).

    Raises:
        InputError: no version knows such a picture, or several begin so.
    """
    selection, match = selected_pictures(asked, archive)
    derived = derived_from(selection, archive=archive, registry=registry)
    statements: dict[str, dict[str, list[Any]]] = {}
    for touched in derived.tables:
        key = touched.version.key
        if not touched.rows:
            continue
        table = read_columns(archive.table_ref(key), readable_columns(key.asset), store=archive.store)
        for number in touched.rows:
            row = row_at(table, number)
            day = {} if "partition" in row or key.partition == "all" else {"partition": key.partition}
            values = {**day, **row}
            text = json.dumps(values, sort_keys=True, default=str)
            known = statements.setdefault(key.asset, {}).setdefault(text, [values, [], False])
            known[1].append(key)
            known[2] |= touched.version.is_current
    return PictureHistory(
        match,
        derived,
        {
            asset: tuple(Statement(values, tuple(keys), now) for values, keys, now in found.values())
            for asset, found in statements.items()
        },
    )


def selected_pictures(asked: str, archive: Archive) -> tuple[Selection, str]:
    """What the picture is, and how it was found in words."""
    if is_hash_prefix(asked) and not Path(asked).is_file():
        image_id = asked if SHA256_HEX.fullmatch(asked) else _whole_id(asked, archive)
        return Selection("picture", asked, frozenset([image_id])), "by its id"
    if "://" in asked or asked.startswith("file:"):
        return Selection("url", asked), "by its address"
    path = Path(asked).expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"it is no file that can be read ({error.strerror}), no address and no image_id",
            where=asked,
            mend="Name a file, a whole address, or 6 or more first characters of an image_id.",
        ) from None
    return _selected_by_content(content, path, archive)


def _known_ids(archive: Archive) -> Iterator[str]:
    """The ids that any crawl or label table names, again and again."""
    for key in archive.keys:
        if key.asset in ("raw_crawl", "balanced_label_table"):
            try:
                table = read_columns(archive.table_ref(key), ["image_id"], store=archive.store)
            except (MissingVersion, AlteredVersion):
                continue
            yield from (image_id for image_id in table["image_id"].to_pylist() if image_id)


def _whole_id(prefix: str, archive: Archive) -> str:
    found = {image_id for image_id in _known_ids(archive) if image_id.startswith(prefix)}
    if len(found) == 1:
        return found.pop()
    if not found:
        raise InputError(
            "no picture has an id that begins so",
            where=prefix,
            mend="Name its address or a file. One that was removed is known by its whole id alone.",
        )
    raise InputError(
        f"{len(found)} pictures have ids that begin so: {', '.join(sorted(found)[:5])}",
        where=prefix,
        mend="Name more characters of the id.",
    )


def _selected_by_content(content: bytes, path: Path, archive: Archive) -> tuple[Selection, str]:
    """The stored picture with these bytes, metadata left out; else those that look the same."""
    from selfai_pipeline.sources.picture_files import PictureFileError, clean_picture

    try:
        facts, stripped = clean_picture(content)
    except PictureFileError as error:
        raise InputError(
            f"it is no picture that could have been crawled ({error})",
            where=str(path),
            mend="Name a whole JPEG, PNG, GIF, WebP or BMP file.",
        ) from None
    image_id = hashlib.sha256(stripped).hexdigest()
    if image_id in archive.store.pictures or image_id in _known_ids(archive):
        return Selection("picture", str(path), frozenset([image_id])), "by its bytes, metadata left out"
    removed = Tombstones.of(archive.store)
    stone = removed.find(PICTURE, image_id) or removed.looks_like(stripped, orientation=facts.orientation)
    if stone is not None:
        raise was_removed(stone, str(path))
    alike = _alike(stripped, facts.orientation, path, archive)
    if not alike:
        raise InputError(
            "no version knows these bytes or a picture that looks the same",
            where=str(path),
            mend="A picture that was refused or pruned before it was measured can be found by its address.",
        )
    return Selection("picture", str(path), frozenset(alike)), "by its looks: other bytes, a near-duplicate"


def _alike(content: bytes, orientation: int, path: Path, archive: Archive) -> set[str]:
    """The pictures that count as near-duplicates by the default rule of pruning.

    Thumbnails, which find cropped and captioned ones, are compared where no hash is near: for 30,000 pictures
    that takes longer than all the rest of an audit.
    """
    from selfai_pipeline.pictures.duplicates import have_copies
    from selfai_pipeline.pictures.examine import examine
    from selfai_pipeline.pictures.settings import PruneSettings

    settings = PruneSettings()
    seen = examine(content, image_id="", orientation=orientation, max_pixels=settings.max_pixels)
    if seen.reason is not None:
        raise InputError(
            f"no version knows its bytes, and it cannot be decoded ({seen.reason})",
            where=str(path),
            mend="Name its address or its image_id.",
        )
    for thumbnails, least_correlation in ([], HASHES_ALONE), (["thumbnail"], settings.duplicate_correlation):
        measured = _measured(archive, thumbnails)
        found = have_copies(
            [one[0] for one in measured.values()],
            [one[1] if thumbnails else None for one in measured.values()],
            of_hashes=[seen.perceptual_hash],
            of_thumbnails=[seen.thumbnail],
            radius=settings.duplicate_radius,
            least_correlation=least_correlation,
        )
        if found.any():
            return {image_id for image_id, one in zip(measured, found.tolist(), strict=True) if one}
    return set()


def _measured(archive: Archive, further: list[str]) -> dict[str, tuple[bytes, ...]]:
    """Image_id -> perceptual hash and `further` columns of each picture that any version has measured."""
    measured: dict[str, tuple[bytes, ...]] = {}
    columns = ["image_id", "perceptual_hash", *further]
    for key in archive.keys:
        if key.asset == "pruned_set":
            try:
                table = read_columns(archive.table_ref(key), columns, store=archive.store)
            except (MissingVersion, AlteredVersion):
                continue
            for image_id, *values in zip(*(table[name].to_pylist() for name in columns), strict=True):
                if values[0] is not None:
                    measured[image_id] = tuple(values)
    return measured
