"""The other direction: from a picture, address, host, annotator or source to all that came of it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion
from selfai_pipeline.lineage.columns import read_columns
from selfai_pipeline.lineage.registry import RegisteredVersion, Registry
from selfai_pipeline.lineage.versions import ASSETS, Archive, Version, VersionKey
from selfai_pipeline.training.provenance import RANKS

if TYPE_CHECKING:
    import pyarrow as pa

WITHOUT_PICTURES = ("ablation_run", "ablation_report")
"""Tables about whole label tables: none of their rows is about one picture."""

COLUMNS = {
    "raw_crawl": ("image_id", "url", "source"),
    "annotations": ("image_id", "annotator", "origin"),
    "aligned_faces": ("image_id", "crop_sha256"),
    "balanced_label_table": ("image_id", "crop_sha256", "split"),
}


@dataclass(frozen=True)
class Selection:
    """What is asked about: pictures by id, or the rows of one address, host, source or annotator."""

    kind: str
    value: str
    image_ids: frozenset[str] = frozenset()

    def chosen(self, asset: str, table: "pa.Table") -> list[bool]:
        """Of each row whether it is of the selection by itself, whatever it was made from."""
        if self.kind == "picture":
            if "image_id" not in table.column_names:
                return [False] * table.num_rows
            return _is_in(table["image_id"], self.image_ids)
        if asset == "raw_crawl" and self.kind in ("url", "source"):
            return _is_in(table[self.kind], {self.value})
        if asset == "raw_crawl" and self.kind == "host":
            hosts = {url: _host_of(url) == self.value.lower() for url in set(table["url"].to_pylist())}
            return [hosts[url] for url in table["url"].to_pylist()]
        if asset == "annotations" and self.kind == "annotator":
            return [_is_annotator(name, self.value) for name in table["annotator"].to_pylist()]
        if asset == "annotations" and self.kind == "source":
            return [origin.partition(":")[0] == self.value for origin in table["origin"].to_pylist()]
        return [False] * table.num_rows


def _is_in(column: "pa.ChunkedArray", values: "frozenset[str] | set[str]") -> list[bool]:
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(sorted(values), type=pa.string())
    found: list[bool] = pc.is_in(column, value_set=wanted).to_pylist()
    return found


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_annotator(name: str | None, wanted: str) -> bool:
    """A name is qualified by its source (`site/ann`); asked for, it may stand alone."""
    return name is not None and wanted in (name, name.partition("/")[2])


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
        return any(self.pictures.get(split) for split in ("train", "validation"))


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
    versions that its table was made from. So an annotator's rating counts in exactly the label tables that
    were made with it.

    Raises:
        InputError: no version has a row of the selection.
    """
    tables: dict[VersionKey, Touched] = {}
    models: dict[VersionKey, dict[str, str]] = {}
    problems: list[str] = []
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
                touched = _touched(version, selection, upstream, archive)
            except (MissingVersion, AlteredVersion) as error:
                problems.append(str(error))
                continue
            if touched is not None:
                tables[key] = touched
    if not tables:
        raise InputError(
            "no version of any table has a row of it",
            where=f"{selection.kind} {selection.value}",
            mend='Names are compared whole, letter by letter; `selfai sql "select distinct source from '
            'raw_crawl"` shows the sources.',
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


def _all(several: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset(name for names in several for name in names)


def _from_the_first(key: VersionKey) -> tuple[int, VersionKey]:
    """The order in which every version comes after what it was made from."""
    place = ASSETS.index(key.asset) if key.asset in ASSETS else -1
    return -place, key


def _touched(
    version: Version, selection: Selection, upstream: frozenset[str], archive: Archive
) -> Touched | None:
    asset = version.key.asset
    if not (upstream or _may_choose(selection, asset)):
        return None
    columns = COLUMNS.get(asset, ("image_id",))
    table = read_columns(archive.table_ref(version.key), columns, store=archive.store)
    chosen = selection.chosen(asset, table)
    if upstream:
        chosen = [a or b for a, b in zip(chosen, _is_in(table["image_id"], upstream), strict=True)]
    rows = tuple(number for number, one in enumerate(chosen) if one)
    if not rows:
        return None
    some = table.take(list(rows)).to_pydict()
    ids: list[Any] = some["image_id"]
    splits = dict(zip(ids, some["split"], strict=True)) if "split" in some else {}
    crops = frozenset(some.get("crop_sha256", ())) - {None}
    return Touched(version, rows, frozenset(ids) - {None}, crops, splits)


def _may_choose(selection: Selection, asset: str) -> bool:
    """Whether rows of the asset can be of the selection by themselves."""
    where = {"annotator": ("annotations",), "source": ("raw_crawl", "annotations")}
    return selection.kind == "picture" or asset in where.get(selection.kind, ("raw_crawl",))


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
