"""From a registered model, a checkpoint or a table back to the sources: the chain behind it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from selfai_pipeline.errors import AlteredVersion, MissingVersion
from selfai_pipeline.lineage.columns import read_columns
from selfai_pipeline.lineage.promotions import Promotion, PromotionLog, read_promotions
from selfai_pipeline.lineage.registry import MODEL, RegisteredVersion, Registry
from selfai_pipeline.lineage.versions import Archive, Making, Version, VersionKey, is_hash_prefix
from selfai_pipeline.sources.tombstones import LABELS, Mark, marks_on, read_tombstones


@dataclass(frozen=True)
class SourceUse:
    """What one source gave to the crawled partitions of a chain.

    `stored` counts pictures that were fetched and kept, each once, whatever addresses and days it came from;
    `others` the rows of all other outcomes.
    """

    source: str
    days: int
    stored: int
    others: int
    licences: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """The chain behind one version, from it to the first inputs, and what could not be read on the way.

    `registered` are the versions of models that are this checkpoint; `asked` the one that was named;
    `promotions` every entry of the log of promotions, where it is a registered one; `marks` the removals of
    what it, or a checkpoint behind it, learnt from; `pictures` counts those of all sources, each once.
    """

    key: VersionKey
    asked: RegisteredVersion | None
    registered: tuple[RegisteredVersion, ...]
    versions: tuple[Version, ...]
    sources: tuple[SourceUse, ...]
    runs: Mapping[tuple[str, str], str]
    problems: tuple[str, ...]
    promotions: tuple[Promotion, ...] = ()
    marks: tuple[Mark, ...] = ()
    pictures: int = 0

    def mlflow_run(self, version: Version, making: Making) -> str:
        """The MLflow run that recorded a making; empty where none did, as for tables."""
        return self.runs.get((making.run_id, version.key.asset), "")


def audit(named: str | None, *, archive: Archive, registry: Registry) -> Audit:
    """The chain behind what `named` says.

    Args:
        named: `MODEL`, `MODEL@version`, `MODEL@alias`, `@version`, `@alias`, or the first characters of the
            hash of any version of a checkpoint or a table (`HASH@PARTITION` where equal tables of several
            partitions have it); None for the newest registered scorer.

    Raises:
        InputError: there is nothing of this name, or several versions begin so; the message lists them.
    """
    name, _, wanted = (named or "").partition("@")
    if is_hash_prefix(name) and name not in {one.model for one in registry.versions}:
        return audit_of(archive.find(name, wanted), archive=archive, registry=registry)
    asked = registry.find(name or MODEL, wanted)
    key = archive.checkpoint_key(asked.checkpoint_sha256, otherwise="finetuned_scorer")
    return audit_of(key, archive=archive, registry=registry, asked=asked)


def audit_of(
    key: VersionKey, *, archive: Archive, registry: Registry, asked: RegisteredVersion | None = None
) -> Audit:
    """The chain behind a version."""
    versions = archive.upstream(key)
    sources, pictures, problems = _sources_of(versions, archive)
    registered = tuple(registry.of_checkpoint(key.sha256))
    log = PromotionLog()
    if registered:
        try:
            log = read_promotions(archive.store)
        except AlteredVersion as error:
            problems.append(str(error))
    marks: list[Mark] = []
    try:
        chain = [version for version in versions if version.is_checkpoint]
        marks = marks_on(
            {version.key.sha256 for version in chain},
            {one.sha256 for version in chain for one in version.inputs if one.asset == LABELS},
            stones=read_tombstones(archive.store),
            store=archive.store,
        )
    except AlteredVersion as error:
        problems.append(str(error))
    return Audit(
        key,
        asked=asked,
        registered=registered,
        versions=tuple(versions),
        sources=tuple(sources),
        runs=registry.runs,
        problems=(
            *(f"{version.key}: {problem}" for version in versions for problem in version.problems),
            *problems,
            *archive.problems,
        ),
        promotions=log.entries,
        marks=tuple(marks),
        pictures=pictures,
    )


def _sources_of(versions: list[Version], archive: Archive) -> tuple[list[SourceUse], int, list[str]]:
    """Counts by source over the crawled partitions, the pictures of all, and what could not be read."""
    stored: dict[str, set[str]] = {}
    others: Counter[str] = Counter()
    licences: dict[str, set[str]] = {}
    days: dict[str, set[str]] = {}
    problems = []
    columns = ["source", "status", "licence", "image_id"]
    for version in versions:
        if version.key.asset != "raw_crawl" or version.problems:
            continue
        try:
            table = read_columns(archive.table_ref(version.key), columns, store=archive.store)
        except (MissingVersion, AlteredVersion) as error:
            problems.append(str(error))
            continue
        for source, status, licence, image_id in zip(
            *(table[name].to_pylist() for name in columns), strict=True
        ):
            if status == "stored":
                stored.setdefault(source, set()).add(image_id)
            else:
                others[source] += 1
            days.setdefault(source, set()).add(version.key.partition)
            licences.setdefault(source, set()).update([licence] if licence else [])
    return (
        [
            SourceUse(
                source,
                len(days[source]),
                stored=len(stored.get(source, ())),
                others=others[source],
                licences=tuple(sorted(licences[source])),
            )
            for source in sorted(days)
        ],
        len(set().union(*stored.values())),
        problems,
    )
