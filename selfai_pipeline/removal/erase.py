"""Carries a plan out. Every step can be done again: an interrupted removal is finished by the same steps."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import sqlalchemy as sa

from selfai_pipeline.databases import SQLITE
from selfai_pipeline.errors import StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.site.database import SiteDatabase
from selfai_pipeline.labels.site.database import metadata as site_tables
from selfai_pipeline.labels.site.faces import remove_pictures
from selfai_pipeline.labels.site.people import remove_people
from selfai_pipeline.labels.site.ratings import ORIGIN
from selfai_pipeline.lineage.versions import Archive
from selfai_pipeline.removal.databases import clean, databases_in, own_databases, scrub
from selfai_pipeline.removal.fetches import Fetches
from selfai_pipeline.removal.own import own_names
from selfai_pipeline.removal.places import Way, place_of
from selfai_pipeline.removal.plan import Plan, forget, with_ratings
from selfai_pipeline.removal.ratings import fingerprint, redact_ratings
from selfai_pipeline.removal.reasons import without_names
from selfai_pipeline.removal.registered import mark_models
from selfai_pipeline.removal.search import roots, traces
from selfai_pipeline.removal.subjects import Known
from selfai_pipeline.removal.tables import redact
from selfai_pipeline.removal.texts import Needles
from selfai_pipeline.sources.journal_table import days, fetches
from selfai_pipeline.sources.tombstones import read_tombstones
from selfai_pipeline.storage import replace_file
from selfai_pipeline.store import Store

CACHES = ("copies", "folders", "stored_files")
"""Folders under `cache/` that are made again, and of which nothing tells what is in them."""

CACHES_OF_LABELS = ("recovery", "ablations")
"""As `CACHES`, of work on label tables."""

HALF_WRITTEN = re.compile(r"(^|[.-])[0-9a-f]{32}\.part$")
"""The name of a file until it is whole."""

DAILY = ("raw_crawl", "pruned_set", "aligned_faces")
GONE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>This page was erased</title>
<body style="font: 1rem/1.5 system-ui; margin: 2rem auto; max-width: 40rem; padding: 0 1rem">
<h1>This page was erased</h1>
<p>Something that it stood on was removed on {day} (removal {removal}: {reason}). Materialize the asset again
for a page without it. <code>selfai audit</code> still answers where the model came from.</p>
</body></html>
"""
BEGINNING_OF_GONE = GONE.partition("{")[0].encode()


@dataclass(frozen=True)
class Removal:
    """A plan at work on a store."""

    plan: Plan
    store: Store

    @property
    def home(self) -> Home:
        return self.store.home

    def steps(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Name and work of each step, in their order: what comes later needs nothing that went before."""
        yield "tombstone", self.leave_tombstone
        yield "records", self.scrub_reasons
        yield "models", self.mark
        # Names of pictures are known from tables, which stay until these files are done.
        yield "ratings", self.erase_ratings
        yield "annotation site", self.erase_from_site
        # Before the bytes, or a crawl would take them for lost and ask for them again.
        yield "journal", self.erase_fetches
        yield "tables", self.redact_tables
        yield "pictures", self.erase_bytes
        yield "pages", self.erase_pages
        yield "caches", self.erase_caches
        yield "logs", self.scrub_logs
        yield "databases", self.clean_databases

    def leave_tombstone(self) -> None:
        """Before anything goes: nothing of it may come back, whatever happens."""
        stone = self.plan.tombstone(self.home)
        if not self.store.files.exists(stone.path):
            self.store.files.write(stone.path, stone.to_json())

    def scrub_reasons(self) -> None:
        """Take what goes out of the reasons of earlier removals, and of the pages that say them."""
        subjects = self.plan.subjects
        needles = Needles.of(subjects)
        for stone in read_tombstones(self.store):
            reason = without_names(needles.scrubbed(stone.reason), self.plan.value, subjects)
            if reason != stone.reason and stone.removal != self.plan.removal:
                # The record last: it tells what has to be looked for in the pages.
                for page in self._pages_of_removals():
                    text = page.read_text(encoding="utf-8")
                    replace_file(page, text.replace(escape(stone.reason), escape(reason)).encode())
                self.store.files.write(stone.path, replace(stone, reason=reason).to_json())

    def _pages_of_removals(self) -> Iterator[Path]:
        for path in sorted(self.home.reports.rglob("*.html")):
            with path.open("rb") as file:
                is_gone = file.read(len(BEGINNING_OF_GONE)) == BEGINNING_OF_GONE
            if is_gone:
                yield path

    def mark(self) -> None:
        if self.plan.models:
            mark_models(self.plan, self.home)

    def erase_ratings(self) -> None:
        known = Known(Archive(self.store))
        redact_ratings(self.plan.subjects, known, person_column=self.plan.person_column)
        stone = self.plan.tombstone(self.home)
        content = with_ratings(self.plan, stone, fingerprint(known)).to_json()
        self.store.files.write(stone.path, content)

    def erase_from_site(self) -> None:
        if self.home.annotations_url == self.home.own_annotations_url and not (
            self.home.own_annotations.exists()
        ):
            return
        prefix = f"{ORIGIN}/"
        names = [one.removeprefix(prefix) for one in self.plan.subjects.annotators if one.startswith(prefix)]
        with SiteDatabase(self.home.annotations_url) as database:
            remove_pictures(database, sorted(self.plan.subjects.image_ids))
            remove_people(database, names)

    def erase_fetches(self) -> None:
        Fetches(self.home).erase(self.plan.subjects)

    def redact_tables(self) -> None:
        for key in self.plan.versions:
            redact(key, self.plan.subjects, store=self.store)
            self.store.tables.follow(key.asset, key.partition)

    def erase_bytes(self) -> None:
        for sha256 in sorted(self.plan.subjects.image_ids):
            self.store.pictures.delete(sha256)
        for sha256 in sorted(self.plan.subjects.crops):
            self.store.crops.delete(sha256)
        if self.plan.asked == "annotator":
            return
        # A run that was killed has left bytes before any row named them: nothing tells whose they are.
        known = Known(Archive(self.store))
        pictures = known.named("image_id") | Fetches(self.home).pictures()
        for sha256 in sorted(set(self.store.pictures) - pictures):
            self.store.pictures.delete(sha256)
        for sha256 in sorted(set(self.store.crops) - known.named("crop_sha256")):
            self.store.crops.delete(sha256)

    def erase_pages(self) -> None:
        """Contact sheets of the days, and reports; a page that says so takes the place of each."""
        for key in self.plan.versions_of(*DAILY):
            for path in (self.home.previews / key.asset).glob(f"{key.partition}*"):
                path.unlink(missing_ok=True)
        values = {"day": self.plan.removed_at[:10], "removal": self.plan.removal, "reason": self.plan.reason}
        page = GONE.format(**{name: escape(value) for name, value in values.items()}).encode()
        for sha256 in self.plan.reports:
            folder = self.home.reports / sha256
            for path in sorted(folder.rglob("*")):
                if path.suffix == ".html":
                    replace_file(path, page)
                elif path.is_file():
                    path.unlink(missing_ok=True)

    def erase_caches(self) -> None:
        """What can be made again, and what killed processes left half-written."""
        labels = [key.sha256 for key in self.plan.versions_of("balanced_label_table")]
        # An interrupted training would go on with the scores of labels that stay.
        folders = [*CACHES, *(CACHES_OF_LABELS if labels or self.plan.labels else ())]
        doomed = [path for folder in folders for path in (self.home.cache / folder).rglob("*")]
        doomed += [path for sha256 in labels for path in (self.home.cache / "pixels").glob(f"{sha256}-*")]
        gallery = self.home.cache / "gallery"
        doomed += [
            path
            for root in roots(self.store)
            for path in root.rglob("*.part")
            # A user's own file may end so, too.
            if HALF_WRITTEN.search(path.name) and not path.is_relative_to(gallery)
        ]
        for path in doomed:
            if path.is_file() or path.is_symlink():
                path.unlink(missing_ok=True)

    def scrub_logs(self) -> None:
        """Take ids and addresses out of what Dagster and MLflow keep, where an error named one."""
        needles = Needles.of(self.plan.subjects, own=own_names(self.store))
        for folder in (self.home.dagster, self.home.mlflow):
            databases = set(databases_in(folder))
            for path in sorted(databases):
                scrub(path, needles)
            for path in sorted(folder.rglob("*")):
                place = place_of(path.relative_to(self.home.root).as_posix())
                is_ours = place is not None and place.way is Way.SCRUBBED
                if is_ours and path.is_file() and path not in databases and not path.is_symlink():
                    _scrub_file(path, needles)

    def clean_databases(self) -> None:
        for path in own_databases(self.home):
            clean(path)
        for journal in Fetches(self.home).journals():
            _clean_server(journal.engine, [fetches.name, days.name])
        if self.home.annotations_url != self.home.own_annotations_url:
            with SiteDatabase(self.home.annotations_url) as database:
                _clean_server(database.engine, list(site_tables.tables))


def carry_out(
    plan: Plan,
    *,
    store: Store,
    told: Callable[[str], None] = lambda step: None,
    last: Callable[[], None] = lambda: None,
) -> list[str]:
    """Erase what a plan names; returns the files that name it still, as `traces` does.

    Args:
        told: called with the name of each step that is done.
        last: done before the plan is forgotten, so that it is not missed where the process ends; may be
            called again.

    Raises:
        StorageError: something cannot be written or is in use; run again to finish.
    """
    removal = Removal(plan, store)
    for name, work in removal.steps():
        work()
        told(name)
    stays = traces(plan, store)
    stone = plan.tombstone(store.home)
    versions = tuple(
        {
            "asset": key.asset,
            "partition": key.partition,
            "before": key.sha256,
            "after": store.tables.redactions(key.asset, key.partition).get(key.sha256, ""),
        }
        for key in plan.versions
    )
    known = Known(Archive(store))
    finished = replace(with_ratings(plan, stone, fingerprint(known)), versions=versions, finished=True)
    store.files.write(stone.path, finished.to_json())
    told("record")
    last()
    forget(plan, store.home)
    return stays


def _scrub_file(path: Path, needles: Needles) -> None:
    content = path.read_bytes()
    if b"\0" in content or not needles.are_in(content):
        # What is no text is named by the search at the end.
        return
    # One odd byte in a log is no reason to leave the rest of it as it is.
    text = content.decode(errors="surrogateescape")
    replace_file(path, needles.scrubbed(text).encode(errors="surrogateescape"))


def _clean_server(engine: sa.Engine, tables: list[str]) -> None:
    """Rewrite tables of PostgreSQL, so that no page of them keeps deleted rows."""
    if engine.dialect.name == SQLITE:
        return
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in tables:
                connection.exec_driver_sql(f'VACUUM FULL "{table}"')
    except sa.exc.DBAPIError as error:
        raise StorageError(
            f"the database cannot be cleaned ({type(error.orig).__name__}). Stop what uses it, then finish "
            "with `selfai remove --resume`."
        ) from error
