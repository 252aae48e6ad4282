"""What current versions were made from outside of the graph, compared with what is there now.

Of a past version nothing is said: nobody keeps what was there then. What came later is no change: a source
that was added, a file that was laid into a folder, a rating on the annotation site.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, combinations, islice
from pathlib import Path
from typing import Any

from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion, StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.lineage.columns import read_columns
from selfai_pipeline.lineage.findings import Finding, State
from selfai_pipeline.lineage.versions import Archive, Version, VersionKey
from selfai_pipeline.sources.fingerprints import (
    crawl_declarations,
    earlier_list_states,
    hash_of,
    list_states,
    may_give,
    rating_declarations,
    sha256_of_file,
)
from selfai_pipeline.sources.settings import FolderSource, Source, UrlListSource, load_sources
from selfai_pipeline.sources.source_kinds import is_in_object_store
from selfai_pipeline.sources.tombstones import read_tombstones
from selfai_pipeline.store import Store

MOST_TRIED = 4096
"""How many choices of sources a fingerprint is compared with, those first that leave out few."""

DECLARATIONS = "sources.yaml"
AGAIN = "materialize {asset} again to have a version that is made from it, or put back what was there"

Recorded = Mapping[str, set[str]]
"""Fingerprints by name: one, or several where a version was made more than once."""


def outside_of(versions: Sequence[Version], *, archive: Archive) -> Iterator[Finding]:
    """Compare every fingerprint that the current ones of `versions` recorded.

    A file of a folder is compared by its bytes, and so are a list and each rating of the site. Of a list, a
    record from before there was a hash has but its size and the moment when it was written.
    """
    made = {
        version.key: recorded
        for version in versions
        if _is_current(version, archive) and (recorded := _recorded(version))
    }
    crawls = {key: recorded for key, recorded in made.items() if key.asset == "raw_crawl"}
    ratings = {key: recorded for key, recorded in made.items() if key.asset == "annotations"}
    for key, recorded in ratings.items():
        if "site" in recorded:
            yield from _site(key, archive)
    if not (crawls or any(recorded.keys() & {"ratings", "declarations"} for recorded in ratings.values())):
        return
    home = archive.store.home
    try:
        sources = load_sources(home.sources_file)
    except InputError as error:
        state = State.CHANGED if home.sources_file.exists() else State.MISSING
        yield Finding(state, DECLARATIONS, str(home.sources_file), str(error))
        return
    for recorded in ratings.values():
        yield from _files_of_ratings(recorded, sources, archive.store)
    yield from _declared_crawls(crawls, sources, home)
    yield from _folders(crawls, sources, archive)


def _is_current(version: Version, archive: Archive) -> bool:
    """Whether a version, or what removals have left of it, is the current one."""
    left = replace(version.key, sha256=version.left_as or version.key.sha256)
    return version.is_current or archive.version(left).is_current


def _recorded(version: Version) -> Recorded:
    recorded: dict[str, set[str]] = {}
    for making in version.makings:
        for name, fingerprint in making.external.items():
            recorded.setdefault(name, set()).add(fingerprint)
    return recorded


def _is_of(
    recorded: Collection[str], parts: Mapping[str, Any], whole: Callable[[dict[str, Any]], Any] = dict
) -> bool:
    """Whether a recorded fingerprint is of `parts`, which are by source; those that came later left out."""
    names = sorted(parts)
    choices = chain.from_iterable(combinations(names, count) for count in range(len(names), -1, -1))
    return any(
        hash_of(whole({name: parts[name] for name in some})) in recorded
        for some in islice(choices, MOST_TRIED)
    )


def _finding(is_same: bool, kind: str, files: Sequence[str], *, home: Home, asset: str) -> Finding:
    """What is found of files with one fingerprint together, which does not tell which of them was changed."""
    path = files[0] if len(files) == 1 else str(home.sources_file)
    if is_same:
        return Finding(State.INTACT, kind, path)
    which = f"one of {', '.join(files)}: " if len(files) > 1 else ""
    return Finding(State.CHANGED, kind, path, which + AGAIN.format(asset=asset))


def _files_of_ratings(recorded: Recorded, sources: list[Source], store: Store) -> Iterator[Finding]:
    from selfai_pipeline.labels.annotations import file_hashes

    home = store.home
    if declarations := recorded.get("declarations"):
        is_same = _is_of(declarations, rating_declarations(sources))
        kind = f"{DECLARATIONS}, how files of ratings are to be read"
        yield _finding(is_same, kind, [str(home.sources_file)], home=home, asset="annotations")
    fingerprints = recorded.get("ratings")
    if not fingerprints:
        return
    kind = "declared files of ratings"
    try:
        hashes = file_hashes(sources, home)
    except InputError as error:
        yield Finding(State.MISSING, kind, error.where)
        return
    by_source: dict[str, list[Any]] = {}
    for one in hashes:
        by_source.setdefault(one[0], []).append(one)
    is_same = _is_of(fingerprints, by_source, _together)
    files = [str(home.root / Path(path).expanduser()) for _, path, _ in hashes]
    found = _finding(is_same, kind, files, home=home, asset="annotations")
    if not is_same and _is_of(_left_of(fingerprints, store), by_source, _together):
        found = replace(found, state=State.REDACTED, reason="")
    yield found


def _together(by_source: Mapping[str, list[Any]]) -> list[Any]:
    return [one for several in by_source.values() for one in several]


def _left_of(fingerprints: Collection[str], store: Store) -> set[str]:
    """The fingerprints of what removals have left of files of ratings, one after the other."""
    known = set(fingerprints)
    try:
        stones = read_tombstones(store)
    except AlteredVersion:
        # Named already.
        return known
    for stone in stones:
        known.update(after for before, after in stone.ratings.items() if before in known)
    return known


def _site(key: VersionKey, archive: Archive) -> Iterator[Finding]:
    """The ratings of the site that a version has: whether the site still says each of them."""
    from selfai_pipeline.labels.site.ratings import ORIGIN, site_ratings

    home = archive.store.home
    is_own = home.annotations_url == home.own_annotations_url
    kind, path = "annotation site", str(home.own_annotations) if is_own else "SELFAI_ANNOTATIONS_URL"
    try:
        said = site_ratings(home)
    except (InputError, StorageError) as error:
        yield Finding(State.MISSING, kind, path, str(error))
        return
    if said is None:
        yield Finding(State.MISSING, kind, path)
        return
    said_now = {
        (f"{ORIGIN}/{one.annotator}", one.image_id, float(one.score), one.rated_at, one.group or None)
        for one in said
    }
    rows = _rows(key, ("annotator", "image_id", "score", "rated_at", "annotator_group"), archive)
    if rows is None:
        return
    lost = sum(row not in said_now for row in rows if (row[0] or "").startswith(f"{ORIGIN}/"))
    reason = f"{lost} of the ratings that it gave are others or gone: {AGAIN.format(asset='annotations')}"
    yield Finding(State.CHANGED, kind, path, reason) if lost else Finding(State.INTACT, kind, path)


def _rows(key: VersionKey, names: Sequence[str], archive: Archive) -> list[tuple[Any, ...]] | None:
    """Some columns, null where an earlier schema has none; None of a damaged table."""
    try:
        table = read_columns(archive.table_ref(key), names, store=archive.store)
    except (MissingVersion, AlteredVersion):
        # It is named already, as a table.
        return None
    nulls = [None] * table.num_rows
    columns = (table[name].to_pylist() if name in table.column_names else nulls for name in names)
    return list(zip(*columns, strict=True))


def _declared_crawls(
    crawls: Mapping[VersionKey, Recorded], sources: list[Source], home: Home
) -> Iterator[Finding]:
    """How the sources of each day were declared, and its lists; days with the same record share a finding."""
    days: dict[tuple[str, frozenset[str], tuple[str, ...]], list[str]] = defaultdict(list)
    for key, recorded in crawls.items():
        day = key.partition
        giving = tuple(source.name for source in sources if may_give(source, day))
        for name in ("sources", "lists"):
            if name in recorded:
                days[name, frozenset(recorded[name]), giving].append(day)
    for (name, fingerprints, giving), of_days in days.items():
        some = [source for source in sources if source.name in giving]
        when = of_days[0] if len(of_days) == 1 else f"{of_days[0]} and {len(of_days) - 1} more days"
        if name == "sources":
            is_same = _is_of(fingerprints, crawl_declarations(some), lambda parts: list(parts.values()))
            kind, files = f"{DECLARATIONS}, sources of {when}", [str(home.sources_file)]
        else:
            states = list_states(some, home), earlier_list_states(some, home)
            is_same = any(_is_of(fingerprints, one) for one in states)
            kind = f"lists of {when}"
            files = [
                one.path if is_in_object_store(one.path) else str(one.file(home))
                for one in some
                if isinstance(one, UrlListSource)
            ]
        yield _finding(is_same, kind, files, home=home, asset="raw_crawl")


def _folders(
    crawls: Mapping[VersionKey, Recorded], sources: list[Source], archive: Archive
) -> Iterator[Finding]:
    """The files that came from folders of this machine, as their rows have them."""
    home, kind = archive.store.home, "file of a folder"
    declared = {
        source.name: source
        for source in sources
        if isinstance(source, FolderSource) and not is_in_object_store(source.path)
    }
    expected: dict[Path, dict[Path, set[str]]] = {}
    for key in crawls if declared else ():
        for name, url, sha256 in _rows(key, ("source", "url", "fetched_sha256"), archive) or ():
            # Of a name that is no UTF-8 the row has but a part.
            if name in declared and sha256 and url.startswith("file:") and "\ufffd" not in url:
                folder = declared[name].folder(home, key.partition)
                files = expected.setdefault(folder, {})
                files.setdefault(folder / url.removeprefix("file:"), set()).add(sha256)
    for folder, files in sorted(expected.items()):
        if not folder.is_dir():
            yield Finding(State.MISSING, "folder of a source", str(folder))
            continue
        for path, hashes in sorted(files.items()):
            yield _file(path, hashes, kind)


def _file(path: Path, hashes: Collection[str], kind: str) -> Finding:
    if not path.is_file():
        return Finding(State.MISSING, kind, str(path))
    try:
        is_same = sha256_of_file(path) in hashes
    except OSError as error:
        return Finding(State.MISSING, kind, str(path), f"it cannot be read ({error.strerror})")
    reason = "" if is_same else AGAIN.format(asset="raw_crawl")
    return Finding(State.INTACT if is_same else State.CHANGED, kind, str(path), reason)
