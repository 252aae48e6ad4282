"""Inputs from outside of the graph: a change since the current version is told from what came later."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from selfai_pipeline.labels.site.answering import undo
from selfai_pipeline.labels.site.database import SiteDatabase, people
from selfai_pipeline.labels.site.settings import SiteSettings
from selfai_pipeline.lineage.audit import audit
from selfai_pipeline.lineage.findings import State
from selfai_pipeline.lineage.outside import outside_of
from selfai_pipeline.sources.fingerprints import crawl_fingerprints, earlier_list_states, hash_of
from selfai_pipeline.sources.settings import FolderSource, load_sources, save_sources

FOLDER_DAY = "2026-01-03"


def changes(world):
    """What is not as it was, as (state, path)."""
    audited = audit(None, archive=world.archive, registry=world.registry)
    found = list(outside_of(audited.versions, archive=world.archive))
    assert found
    return [one for one in found if one.state is not State.INTACT]


def declare(world, *sources):
    save_sources(world.store.home.sources_file, list(sources))


@pytest.fixture
def folder_and_list(whole):
    return load_sources(whole.store.home.sources_file)


def test_a_source_that_was_added_is_no_change(whole, folder_and_list, tmp_path):
    later = tmp_path / "later.csv"
    later.write_text("url,date\n")
    (more,) = [one.model_copy(update={"name": "more", "path": str(later)}) for one in folder_and_list[1:]]
    declare(whole, *folder_and_list, more, FolderSource(name="live", path=str(tmp_path)))
    assert changes(whole) == []


def test_a_file_that_was_laid_into_a_folder_is_no_change(whole, folder_and_list):
    (Path(folder_and_list[0].path) / "8.png").write_bytes(b"new")
    assert changes(whole) == []


def test_a_new_rating_on_the_site_is_no_change_and_one_taken_back_is(whole):
    whole.rate_on_site("eve", 5)
    assert changes(whole) == []
    with SiteDatabase(whole.store.home.annotations_url) as database:
        with database.reading() as connection:
            (ann,) = connection.scalars(people.select().where(people.c.name == "ann"))
        undo(database, ann, settings=SiteSettings())
    (found,) = changes(whole)
    assert (found.state, found.path) == (State.CHANGED, str(whole.store.home.own_annotations))
    assert found.reason.startswith("1 of the ratings that it gave are others or gone")


def test_a_licence_that_was_changed_is_named_with_the_days(whole, folder_and_list):
    folder, listed = folder_and_list
    declare(whole, folder.model_copy(update={"licence": "CC0-1.0"}), listed)
    (found,) = changes(whole)
    assert (found.state, found.kind) == (State.CHANGED, "sources.yaml, sources of 2026-01-03")


def test_another_way_to_read_ratings_is_named(whole, folder_and_list):
    folder, listed = folder_and_list
    read_otherwise = [folder.ratings[0].model_copy(update={"maximum": 5})]
    declare(whole, folder.model_copy(update={"ratings": read_otherwise}), listed)
    (found,) = changes(whole)
    assert (found.state, found.kind) == (State.CHANGED, "sources.yaml, how files of ratings are to be read")


def test_of_a_list_the_bytes_count_and_not_the_moment(whole, folder_and_list):
    path = Path(folder_and_list[1].path)
    os.utime(path, ns=(1, 1))
    assert changes(whole) == []
    path.write_text("url,dATE\n")
    os.utime(path, ns=(1, 1))
    (found,) = changes(whole)
    assert (found.state, found.path) == (State.CHANGED, str(path))


def test_a_record_from_before_lists_had_a_hash_is_compared_by_size_and_moment(whole, folder_and_list):
    home, listed = whole.store.home, folder_and_list[1]
    recorded = {
        **crawl_fingerprints(FOLDER_DAY, sources=folder_and_list, home=home),
        "lists": hash_of(earlier_list_states([listed], home)),
    }
    crawl = whole.current("raw_crawl", FOLDER_DAY)
    for path in whole.store.files.local_path(f"tables/raw_crawl/{FOLDER_DAY}/records").iterdir():
        path.unlink()
    whole.point(crawl, (), external=recorded)
    assert changes(whole) == []
    Path(listed.path).write_text("url,date\nhttps://one.example/1.png,2026-01-03\n")
    (found,) = changes(whole)
    assert (found.state, found.path) == (State.CHANGED, listed.path)


def test_where_several_files_have_one_fingerprint_all_are_named(whole, folder_and_list, tmp_path):
    folder, listed = folder_and_list
    second = tmp_path / "second.csv"
    second.write_text("image,annotator,score\n2.png,bob,2\n")
    both = [*folder.ratings, folder.ratings[0].model_copy(update={"path": str(second)})]
    sources = [folder.model_copy(update={"ratings": both}), listed]
    declare(whole, *sources)
    whole.collect(sources)
    assert changes(whole) == []
    second.write_text("image,annotator,score\n2.png,bob,3\n")
    (found,) = changes(whole)
    assert found.path == str(whole.store.home.sources_file)
    assert all(file.path in found.reason for file in both)


def test_a_folder_that_is_gone_is_named_once(whole, folder_and_list):
    path = Path(folder_and_list[0].path)
    path.rename(path.with_name("elsewhere"))
    assert [(one.state, one.path) for one in changes(whole)] == [(State.MISSING, str(path))]


def test_declarations_that_cannot_be_read_are_named_and_the_site_still_looked_at(whole):
    home = whole.store.home
    home.sources_file.write_text("sources: [")
    with closing(sqlite3.connect(home.own_annotations)) as connection, connection:
        connection.execute("UPDATE annotation_assignments SET score = 4 WHERE score = 3")
    states = {(one.state, one.path) for one in changes(whole)}
    assert states == {(State.CHANGED, str(home.sources_file)), (State.CHANGED, str(home.own_annotations))}


def test_of_a_past_version_nothing_is_known(whole, folder_and_list):
    """The files are those of today; who made it from others cannot be told."""
    whole.rate([(1, "site/ann", 7.0)])
    Path(folder_and_list[0].ratings[0].path).write_text("image,annotator,score\n")
    assert changes(whole) == []
