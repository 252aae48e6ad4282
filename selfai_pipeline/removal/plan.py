"""The plan of a removal: all that has to be known to finish it, written before anything is erased.

Once rows are gone nothing else tells whose crops and pages are left: so the plan is found first, lies on the
disk while the removal goes on, and is the one file that names what was removed. It is deleted at the end.
"""

import json
import os
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.labels.site.database import SiteDatabase
from selfai_pipeline.labels.site.faces import face_ids
from selfai_pipeline.labels.site.people import people_names
from selfai_pipeline.lineage.derived import LEARNT_FROM, Derived, Selection, TouchedModel, derived_from
from selfai_pipeline.lineage.registry import Registry
from selfai_pipeline.lineage.versions import VersionKey
from selfai_pipeline.removal.fetches import Fetches
from selfai_pipeline.removal.ratings import files_with, fingerprint
from selfai_pipeline.removal.reasons import checked_reason, refuse_telling
from selfai_pipeline.removal.subjects import Known, Subjects, subjects_of
from selfai_pipeline.removal.tables import stands_on, versions_with
from selfai_pipeline.sources.tombstones import (
    ADDRESS,
    ANNOTATOR,
    HOST,
    LABELS,
    NAME,
    PICTURE,
    Tombstone,
    Tombstones,
    keyed,
    removal_key,
    spellings,
)
from selfai_pipeline.storage import replace_file
from selfai_pipeline.turns import unfinished_plans

PAGES = ("evaluation_report", "ablation_report")
DONE = ".done"


@dataclass(frozen=True)
class Plan:
    """What a removal does.

    Args:
        removal: its name, 12 random hexadecimals.
        removed_at: when it was planned, ISO 8601 in UTC.
        reason: as it was given.
        asked: what was asked for (`picture`, `url`, `host`, `person`, `annotator`).
        value: the name that it was asked for by.
        subjects: what goes.
        versions: of tables, that have to be rewritten.
        reports: hashes of evaluations and comparisons whose pages stand on these.
        checkpoints: of those that learnt from it `asset`, `sha256`, `pictures` by split; without pictures
            where a label table is lost, and nothing tells what they learnt from.
        labels: see `Tombstone`.
        models: registered versions of these, as (name, version).
        person_column: of files about pictures, which names the person.
        ratings: fingerprint of the declared files of ratings before.
        ratings_files: files with rows that go; `outside` are those that are the user's own.
        outside: files outside of the home that name it, and stay.
    """

    removal: str
    removed_at: str
    reason: str
    asked: str
    subjects: Subjects
    value: str = ""
    versions: tuple[VersionKey, ...] = ()
    reports: tuple[str, ...] = ()
    checkpoints: tuple[Mapping[str, Any], ...] = ()
    labels: tuple[Mapping[str, Any], ...] = ()
    models: tuple[tuple[str, int], ...] = ()
    person_column: str = ""
    ratings: str = ""
    ratings_files: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind, those that there are."""
        kinds = {
            "pictures": self.subjects.image_ids,
            "addresses": self.subjects.urls | self.subjects.paths,
            "crops": self.subjects.crops,
            "hosts": self.subjects.hosts,
            "persons": self.subjects.persons,
            "annotators": self.subjects.annotators,
        }
        return {name: len(found) for name, found in kinds.items() if found}

    def versions_of(self, *assets: str) -> list[VersionKey]:
        return [key for key in self.versions if key.asset in assets]

    def path(self, home: Home) -> Path:
        return home.removals / "unfinished" / f"{self.removal}.json"

    def write(self, home: Home) -> None:
        """Keep it until the removal is done, for nobody but this user to read.

        Raises:
            StorageError: it cannot be written.
        """
        folder = self.path(home).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        except OSError as error:
            raise StorageError(
                f"{folder}: cannot be written ({error.strerror}). Mend the permissions, then run again."
            ) from error
        values = {
            **asdict(self),
            "subjects": self.subjects.to_values(),
            "versions": [asdict(key) for key in self.versions],
        }
        replace_file(self.path(home), json.dumps(values, indent=1).encode())

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """A plan that was written.

        Raises:
            StorageError: it is damaged.
        """
        try:
            values = json.loads(path.read_bytes())
            lists = ("reports", "checkpoints", "labels", "ratings_files", "outside")
            return cls(
                **{
                    **values,
                    **{name: tuple(values[name]) for name in lists},
                    "subjects": Subjects.from_values(values["subjects"]),
                    "versions": tuple(VersionKey(**key) for key in values["versions"]),
                    "models": tuple((name, version) for name, version in values["models"]),
                }
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{path}: the plan of an interrupted removal cannot be read. Delete it, then remove the same "
                "again: what is done is not done twice."
            ) from error

    def tombstone(self, home: Home) -> Tombstone:
        """What stays of it."""
        key = removal_key(home)
        subjects = self.subjects
        names = {keyed(PICTURE, one, key) for one in subjects.image_ids | subjects.fetched}
        names |= {keyed(ADDRESS, one, key) for one in subjects.urls}
        names |= {keyed(HOST, one, key) for one in subjects.hosts}
        names |= {keyed(ANNOTATOR, one, key) for one in subjects.annotators}
        for qualified in subjects.names:
            source, _, name = qualified.partition("/")
            names |= {keyed(NAME, f"{source}/{one}", key) for one in spellings(name) if one}
        return Tombstone(
            self.removal,
            self.removed_at,
            self.reason,
            self.asked,
            names=tuple(sorted(names)),
            looks=tuple(sorted(subjects.looks)),
            counts=self.counts,
            checkpoints=self.checkpoints,
            labels=self.labels,
            key_check=keyed("key", "check", key),
        )


def unfinished(home: Home) -> list[Plan]:
    """The removals that were interrupted, oldest first."""
    return [Plan.read(path) for path in unfinished_plans(home)]


def make_plan(kind: str, value: str, *, reason: str, known: Known, registry: Registry) -> Plan:
    """Find everything that a removal has to reach; nothing is changed.

    Args:
        kind: `picture` (an id, its first characters, a file or an address), `url`, `host`, `person` or
            `annotator`.
        reason: why, in words that name nobody: it stays for ever.

    Raises:
        InputError: nothing is known of it, it is not clear what is meant, or the reason names it or
            something else that is kept.
        AlteredVersion: a table that may hold it was altered: it would have to be written anew.
        StorageError: the key of earlier removals is not there: with a new one nobody could tell whose hashes
            any of the records have.
    """
    Tombstones.of(known.archive.store)
    if not reason.strip():
        raise InputError(
            "a removal needs a reason", where="--reason", mend="Say why in words that name nobody."
        )
    home = known.archive.store.home
    column = defaults_of(LabelSettings, section="balanced_label_table")().person_column
    site_people, site_pictures = _of_site(home)
    subjects = subjects_of(
        kind,
        value,
        known=known,
        fetches=Fetches(home),
        person_column=column,
        site_people=site_people,
        site_pictures=site_pictures,
    )
    refuse_telling(reason, value, subjects)
    told = checked_reason(reason, store=known.archive.store)
    versions = tuple(versions_with(subjects, known))
    derived = _derived(subjects, known, registry)
    models = _models(derived, subjects, known, registry)
    files = [file.file(home) for _, file, _, _ in files_with(subjects, known, person_column=column)]
    inside = [path for path in files if path.resolve().is_relative_to(home.root)]
    return Plan(
        removal=secrets.token_hex(6),
        removed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        reason=told,
        asked=kind,
        value=value,
        subjects=subjects,
        versions=versions,
        reports=tuple(_reports(versions, known)),
        checkpoints=tuple(
            {"asset": one.version.key.asset, "sha256": one.version.key.sha256, "pictures": dict(one.pictures)}
            for one in models
        ),
        labels=tuple(_labels_that_stay(derived)),
        models=tuple((one.model, one.version) for model in models for one in model.registered),
        person_column=column,
        ratings=fingerprint(known) if inside else "",
        ratings_files=tuple(sorted({path.relative_to(home.root).as_posix() for path in inside})),
        outside=tuple(sorted({str(path) for path in files if path not in inside})),
    )


def _of_site(home: Home) -> tuple[frozenset[str], frozenset[str]]:
    """The people and the pictures of the annotation site."""
    if home.annotations_url == home.own_annotations_url and not home.own_annotations.exists():
        return frozenset(), frozenset()
    with SiteDatabase(home.annotations_url) as database:
        return people_names(database), face_ids(database)


def _derived(subjects: Subjects, known: Known, registry: Registry) -> list[Derived]:
    """All that came of each annotator, and of the pictures."""
    selections = [Selection("annotator", one) for one in sorted(subjects.annotators)]
    if subjects.image_ids:
        selections.append(Selection("picture", "", subjects.image_ids))
    found = []
    for selection in selections:
        # Where no table has a row of it: refused pictures, people who have not rated yet.
        with suppress(InputError):
            found.append(derived_from(selection, archive=known.archive, registry=registry))
    return found


def _models(
    derived: list[Derived], subjects: Subjects, known: Known, registry: Registry
) -> list[TouchedModel]:
    """The checkpoints that learnt from it, were chosen by it, or may have been: see `_untold`."""
    found = {one.version.key: one for some in derived for one in some.models if one.has_learnt}
    if subjects.annotators or subjects.image_ids:
        found.update(
            (one.version.key, one) for one in _untold(known, registry) if one.version.key not in found
        )
    return [found[key] for key in sorted(found)]


def _labels_that_stay(derived: list[Derived]) -> Iterator[dict[str, Any]]:
    """The label tables with scores made with an annotator's ratings that models learn from."""
    splits: dict[str, dict[str, str]] = {}
    for some in derived:
        for one in some.tables:
            if some.selection.kind == "annotator" and one.version.key.asset == LABELS:
                splits.setdefault(one.version.key.sha256, {}).update(one.splits)
    for sha256, of_pictures in sorted(splits.items()):
        if LEARNT_FROM & set(of_pictures.values()):
            yield {"sha256": sha256, "pictures": dict(Counter(of_pictures.values()))}


def _untold(known: Known, registry: Registry) -> Iterator[TouchedModel]:
    """The checkpoints on a label table whose file is lost: nothing tells what these learnt from."""
    archive, files = known.archive, known.archive.store.files
    for key in archive.keys:
        version = archive.version(key)
        if version.is_checkpoint and any(
            one.key.asset == LABELS and not all(map(files.size, one.files)) for one in archive.upstream(key)
        ):
            yield TouchedModel(version, {}, tuple(registry.of_checkpoint(key.sha256)))


def _reports(versions: tuple[VersionKey, ...], known: Known) -> list[str]:
    """The evaluations and comparisons that stand on a version that is rewritten, and have a page."""
    home, archive = known.archive.store.home, known.archive
    files = {key for key in versions if key.asset not in ("raw_crawl", "annotations")}
    return sorted(
        key.sha256
        for key in archive.keys
        if key.asset in PAGES and (home.reports / key.sha256).is_dir() and stands_on(key, files, archive)
    )


def with_ratings(plan: Plan, stone: Tombstone, after: str) -> Tombstone:
    """The tombstone with what became of the fingerprint of the files of ratings."""
    changed = plan.ratings and after and after != plan.ratings
    return replace(stone, ratings={plan.ratings: after}) if changed else stone


def forget(plan: Plan, home: Home) -> None:
    """Delete the plan: the removal is done."""
    path = plan.path(home)
    if path.exists():
        path.replace(path.with_suffix(DONE))
    sweep_plans(home)


def sweep_plans(home: Home) -> None:
    """Delete plans that are done, and those that were never begun because they were not whole."""
    for path in sorted((home.removals / "unfinished").glob("*")):
        if path.suffix in (DONE, ".part"):
            # What it named shall not stay in the blocks of the disk, as far as that can be helped.
            with path.open("r+b") as file:
                file.write(b"\0" * path.stat().st_size)
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
