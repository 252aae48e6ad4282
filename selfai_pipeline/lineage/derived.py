"""The other direction: from a picture, address, host, annotator or source to all that came of it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion, StorageError
from selfai_pipeline.lineage.columns import read_columns
from selfai_pipeline.lineage.registry import RegisteredVersion, Registry
from selfai_pipeline.lineage.versions import Archive, Version, VersionKey, place_in_graph
from selfai_pipeline.sources.addresses import host_of
from selfai_pipeline.sources.spellings import inside_folder, path_ends
from selfai_pipeline.sources.tombstones import (
    ADDRESS,
    ANNOTATOR,
    HOST,
    PICTURE,
    Tombstone,
    Tombstones,
    was_removed,
)
from selfai_pipeline.training.provenance import RANKS

LEARNT_FROM = {"train", "validation"}
"""Splits whose pictures a model learnt from or was chosen by."""

WITHOUT_PICTURES = ("ablation_run", "ablation_report", "champion", "release_bundle")
"""Tables about whole label tables and models: none of their rows is about one picture."""

ROW_BY_ROW = ("pruned_set", "aligned_faces")
"""Made of the rows of their input one by one: a picture that is not in it need not be looked for in them."""

COLUMNS = {
    "aligned_faces": ("image_id", "crop_sha256"),
    "balanced_label_table": ("image_id", "crop_sha256", "split"),
}
"""What is read of a table beside the column that a selection is about."""

ASKED_ABOUT = {
    "picture": {},
    "url": {"raw_crawl": "url"},
    "host": {"raw_crawl": "url"},
    "source": {"raw_crawl": "source", "annotations": "origin"},
    "annotator": {"annotations": "annotator"},
}
"""Kind of a selection -> asset -> the column that tells its rows; a picture is told by its id everywhere."""

MENDS = {
    "picture": 'Name its address or a file; `selfai sql "select image_id, url from raw_crawl"` shows all.',
    "url": "Addresses are compared whole, letter by letter; "
    '`selfai sql "select url from raw_crawl"` shows them.',
    "host": "Hosts are compared whole, without https:// and without a port, and www. is another one; "
    "`selfai sql \"select distinct regexp_extract(url, '://([^/:]+)', 1) from raw_crawl\"` shows them.",
    "source": "Names are compared whole, letter by letter; "
    '`selfai sql "select distinct source from raw_crawl"` shows the sources.',
    "annotator": "Annotators are named as source/name, or by the name alone; "
    '`selfai sql "select distinct annotator from annotations"` shows them.',
}
"""Kind of a selection -> what to do where nothing is of it."""


@dataclass(frozen=True)
class Selection:
    """What is asked about: pictures by id, or the rows of one address, host, source or annotator."""

    kind: str
    value: str
    image_ids: frozenset[str] = frozenset()

    def column(self, asset: str) -> str | None:
        """The column that tells which rows of the asset are of the selection by themselves, if one does."""
        return "image_id" if self.kind == "picture" else ASKED_ABOUT[self.kind].get(asset)

    def chooses(self, value: str | None) -> bool:
        """Whether a row with this value in that column is of the selection."""
        if value is None:
            return False
        if self.kind == "picture":
            return value in self.image_ids
        if self.kind == "host":
            return host_of(value) == self.value.lower()
        if self.kind == "annotator":
            # A name is qualified by its source (`site/ann`); asked for, it may stand alone.
            return self.value in (value, value.partition("/")[2])
        # An origin is a source and a file.
        return value == self.value or (self.kind == "source" and value.partition(":")[0] == self.value)


@dataclass(frozen=True)
class Asked:
    """What the journal of fetches has of an address or a host, beside the addresses that the tables have.

    Args:
        redirected: (day, address asked) of what redirects led there.
        files: (source, day) of the file of a folder, which gave `image_ids`; the tables have it by its path
            inside the folder, one of `names`.
    """

    redirected: frozenset[tuple[str, str]] = frozenset()
    files: frozenset[tuple[str, str]] = frozenset()
    names: frozenset[str] = frozenset()
    image_ids: frozenset[str | None] = frozenset()

    def is_file(self, source: str, day: str, url: str, image_id: str | None) -> bool:
        return url in self.names and (source, day) in self.files and image_id in self.image_ids


@dataclass(frozen=True)
class Touched:
    """What of one table version came of the selection; `splits` are those of its pictures."""

    version: Version
    rows: tuple[int, ...]
    image_ids: frozenset[str]
    crops: frozenset[str] = frozenset()
    splits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TouchedModel:
    """A checkpoint that stands on label tables with pictures of the selection.

    `pictures` counts these by how near to training they came, in any stage of the chain behind it: `train`
    (it learnt from them), `validation` (it was chosen by them) or `test` (it was only measured on them).
    """

    version: Version
    pictures: Mapping[str, int]
    registered: tuple[RegisteredVersion, ...] = ()

    @property
    def has_learnt(self) -> bool:
        return any(self.pictures.get(split) for split in LEARNT_FROM)


@dataclass(frozen=True)
class Derived:
    """Everything that came of a selection, from the crawl to registered models and reports."""

    selection: Selection
    tables: tuple[Touched, ...]
    models: tuple[TouchedModel, ...]
    reports: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def image_ids(self) -> frozenset[str]:
        return _all(one.image_ids for one in self.tables)

    @property
    def crops(self) -> frozenset[str]:
        return _all(one.crops for one in self.tables)


def derived_from(selection: Selection, *, archive: Archive, registry: Registry) -> Derived:
    """All versions, past ones too, that hold or stand on rows of the selection.

    A row counts where it is of the selection itself, or where its picture came of the selection in one of the
    versions that its table was made from. A row is of an address or host, too, where redirects led there: the
    row has the address that was asked. So an annotator's rating counts in exactly the label tables that
    were made with it.

    Raises:
        InputError: no version has a row of the selection.
    """
    tables: dict[VersionKey, Touched] = {}
    models: dict[VersionKey, dict[str, str]] = {}
    asked, problems = _asked_for(selection, archive)
    unread: set[VersionKey] = set()
    for key in sorted(archive.keys, key=_from_the_first):
        version = archive.version(key)
        if version.is_checkpoint:
            splits = _nearest([models.get(one, {}) for one in version.inputs if one in models])
            splits = _nearest([splits, *(tables[one].splits for one in version.inputs if one in tables)])
            if splits:
                models[key] = splits
        elif key.asset in WITHOUT_PICTURES:
            if any(one in tables for one in version.inputs):
                tables[key] = Touched(version, (), frozenset())
        else:
            upstream = _all(tables[one].image_ids for one in version.inputs if one in tables)
            try:
                is_told = key.asset in ROW_BY_ROW and version.inputs and unread.isdisjoint(version.inputs)
                if is_told and not upstream:
                    continue
                touched = _touched(version, selection, upstream, archive, asked)
            except (MissingVersion, AlteredVersion) as error:
                problems.append(str(error))
                unread.add(key)
                continue
            if touched is not None:
                tables[key] = touched
    if not tables:
        if stone := removal_of(selection, archive):
            raise was_removed(stone, f"{selection.kind} {selection.value}")
        raise InputError(
            "no version of any table has a row of it",
            where=f"{selection.kind} {selection.value}",
            mend=" ".join([*problems, MENDS[selection.kind]]),
        )
    return Derived(
        selection,
        tables=tuple(tables.values()),
        models=tuple(
            TouchedModel(
                archive.version(key),
                dict(Counter(splits.values())),
                tuple(registry.of_checkpoint(key.sha256)),
            )
            for key, splits in models.items()
        ),
        reports=tuple(_reports(tables, archive)),
        problems=tuple(sorted({*problems, *archive.problems})),
    )


def _asked_for(selection: Selection, archive: Archive) -> tuple[Asked, list[str]]:
    """What the journal has of it; and what hinders from reading it."""
    if selection.kind not in ("url", "host"):
        return Asked(), []
    from selfai_pipeline.sources.journal import known_journals

    url = selection.value
    is_file = selection.kind == "url" and "://" in url and not url.startswith(("http://", "https://"))
    redirected: set[tuple[str, str]] = set()
    fetched: set[tuple[str, str, str | None]] = set()
    try:
        for journal in known_journals(archive.store.home):
            redirected |= journal.led_to(selection.chooses)
            fetched |= journal.asked_at(url) if is_file else set()
    except (InputError, StorageError) as error:
        return Asked(), [f"what redirects led there is not known: {error}"]
    return Asked(
        frozenset(redirected),
        files=frozenset((source, day) for source, day, _ in fetched),
        names=frozenset(map(inside_folder, path_ends(url) if is_file else ())),
        # A row of a day on which it was refused has no picture.
        image_ids=frozenset(image_id for _, _, image_id in fetched) | {None},
    ), []


def removal_of(selection: Selection, archive: Archive) -> Tombstone | None:
    """The removal that took out what is asked about; None where none did."""
    stones = Tombstones.of(archive.store)
    if not stones:
        return None
    kind = {"picture": PICTURE, "url": ADDRESS, "host": HOST, "annotator": ANNOTATOR}.get(selection.kind)
    asked = set(selection.image_ids or {selection.value})
    if selection.kind == "host":
        asked = {selection.value.lower()}
    elif selection.kind == "annotator":
        # A record has the hash of source/name; the bare name is one of any source.
        asked |= {f"{source}/{selection.value}" for source in _sources_of_annotators(archive)}
    return next((stone for one in sorted(asked) if kind and (stone := stones.find(kind, one))), None)


def _sources_of_annotators(archive: Archive) -> set[str]:
    """The sources that annotators can be of: the site, those that are declared, and those of ratings."""
    from selfai_pipeline.labels.site.ratings import ORIGIN
    from selfai_pipeline.sources.settings import load_sources

    found = {ORIGIN}
    with suppress(InputError):
        found.update(source.name for source in load_sources(archive.store.home.sources_file))
    for key in archive.keys:
        if key.asset == "annotations":
            with suppress(MissingVersion, AlteredVersion):
                table = read_columns(archive.table_ref(key), ["annotator"], store=archive.store)
                found.update(name.partition("/")[0] for name in set(table["annotator"].to_pylist()) if name)
    return found


def _all(several: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset(name for names in several for name in names)


def _from_the_first(key: VersionKey) -> tuple[int, VersionKey]:
    """The order in which every version comes after what it was made from."""
    return -place_in_graph(key.asset), key


def _touched(
    version: Version,
    selection: Selection,
    upstream: frozenset[str],
    archive: Archive,
    asked: Asked,
) -> Touched | None:
    """What of a table is of `upstream` or of the selection itself; None where that is nothing."""
    asset = version.key.asset
    column = selection.column(asset)
    if not (upstream or column):
        return None
    columns = dict.fromkeys([*COLUMNS.get(asset, ("image_id",)), *([column] if column else [])])
    has_files = asset == "raw_crawl" and asked.files
    columns |= {"source": None} if has_files else {}
    table = read_columns(archive.table_ref(version.key), columns, store=archive.store)
    # Plain lists: the kernels of Arrow, and pandas which they look for, load for longer than this takes.
    values = {name: table[name].to_pylist() for name in table.column_names}
    day = version.key.partition
    chosen = {
        one
        for one in set(values[column] if column else ())
        if selection.chooses(one) or (day, one) in asked.redirected
    }
    rows = [
        number
        for number, image_id in enumerate(values["image_id"])
        if image_id in upstream
        or (column and values[column][number] in chosen)
        or (has_files and asked.is_file(values["source"][number], day, values["url"][number], image_id))
    ]
    if not rows:
        return None
    some = {name: [column[number] for number in rows] for name, column in values.items()}
    splits = dict(zip(some["image_id"], some["split"], strict=True)) if "split" in some else {}
    ids, crops = frozenset(some["image_id"]), frozenset(some.get("crop_sha256", ()))
    return Touched(version, tuple(rows), ids - {None}, crops - {None}, splits)


def _nearest(several: list[Mapping[str, str]]) -> dict[str, str]:
    """Of each picture the split that is nearest to training."""
    nearest: dict[str, str] = {}
    for splits in several:
        for image_id, split in splits.items():
            known = nearest.get(image_id, split)
            nearest[image_id] = min(known, split, key=lambda one: RANKS[one])
    return nearest


def _reports(tables: Mapping[VersionKey, Touched], archive: Archive) -> list[str]:
    """The pages about evaluations and ablations that stand on a row; relative to the home."""
    home = archive.store.home
    pages = [page for key in tables for page in sorted((home.reports / key.sha256).glob("*.html"))]
    return [page.relative_to(home.root).as_posix() for page in pages]
