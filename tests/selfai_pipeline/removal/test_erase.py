"""What is left of a removed picture, address, host, annotator: nothing but a tombstone."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.labels.site.database import SiteDatabase, answers, assignments, faces, people
from selfai_pipeline.lineage.audit import Audit, audit
from selfai_pipeline.lineage.derived import Selection, derived_from
from selfai_pipeline.lineage.documents import as_page, as_text, audit_document
from selfai_pipeline.lineage.findings import State
from selfai_pipeline.lineage.registry import Registry
from selfai_pipeline.lineage.values import audit_values
from selfai_pipeline.lineage.verification import verify
from selfai_pipeline.lineage.versions import Archive
from selfai_pipeline.removal import search as search_module
from selfai_pipeline.removal.erase import carry_out
from selfai_pipeline.removal.marks import removed_inputs
from selfai_pipeline.removal.places import place_of
from selfai_pipeline.removal.plan import Plan, unfinished
from selfai_pipeline.removal.subjects import Subjects
from selfai_pipeline.sources.fingerprints import crawl_fingerprints
from selfai_pipeline.sources.journal import open_journal
from selfai_pipeline.sources.settings import load_sources
from selfai_pipeline.sources.tombstones import read_tombstones
from selfai_pipeline.storage import Storage
from selfai_pipeline.store import Store
from selfai_pipeline.turns import writing

DAYS = ("2026-01-01", "2026-01-02")
Search = Callable[[Path, Iterable[bytes]], set[str]]


def files_of(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def audit_of_scorer(world: Any) -> Audit:
    scorer = world.current("finetuned_scorer").sha256
    return audit(scorer, archive=world.archive, registry=Registry())


def test_nothing_of_a_removed_picture_is_left_in_any_file(lived_in: Any, search: Search) -> None:
    gone, stays = lived_in.needles(1), lived_in.needles(2)
    for name, needle in gone.items():
        assert search(lived_in.home.root, [needle]), f"the test would see no {name}"
    assert lived_in.remove("picture", lived_in.world.image_id(1)) == []
    assert search(lived_in.home.root, gone.values()) == set()
    for name in ("id", "address", "bytes", "crop", "thumbnail", "hash as it came"):
        assert search(lived_in.home.root, [stays[name]]), f"{name} of another picture went, too"
    assert unfinished(lived_in.home) == []


def test_every_file_that_a_removal_leaves_or_finds_has_a_place(lived_in: Any) -> None:
    lived_in.remove("picture", lived_in.world.image_id(1))
    assert [path for path in files_of(lived_in.home.root) if place_of(path) is None] == []


def test_what_stays_is_a_tombstone_that_names_nothing(lived_in: Any) -> None:
    lived_in.remove("picture", lived_in.world.image_id(1))
    (stone,) = read_tombstones(lived_in.store)
    assert stone.finished
    assert stone.reason == "letter 7"
    assert stone.counts == {"pictures": 1, "addresses": 1, "crops": 1}
    assert len(stone.looks) == 1
    assert lived_in.home.removal_key.stat().st_mode & 0o777 == 0o600


def test_only_the_versions_that_hold_it_are_written_anew(lived_in: Any) -> None:
    tables = lived_in.home.root / "tables"
    before = set(tables.rglob("*.parquet"))
    lived_in.remove("picture", lived_in.world.image_id(1))
    gone = {path.parent.relative_to(tables).as_posix() for path in before if not path.exists()}
    day = "2026-01-01"
    daily = {f"{asset}/{day}" for asset in ("raw_crawl", "pruned_set", "aligned_faces")}
    assert gone == {*daily, "annotations/all", "balanced_label_table/all"}


def test_the_pointer_moves_to_what_is_left_and_the_past_version_is_read_as_that(lived_in: Any) -> None:
    before = lived_in.world.current("balanced_label_table")
    rows = lived_in.world.rows(before)
    lived_in.remove("picture", lived_in.world.image_id(1))
    after = lived_in.world.current("balanced_label_table")
    assert after.sha256 != before.sha256
    assert after.rows == before.rows - 1
    left = [row for row in rows if row["image_id"] != lived_in.world.image_id(1)]
    assert [row["image_id"] for row in lived_in.world.rows(after)] == [row["image_id"] for row in left]
    assert lived_in.world.rows(before) == lived_in.world.rows(after)
    (stone,) = read_tombstones(lived_in.store)
    mapped = {one["before"]: one["after"] for one in stone.versions}
    assert mapped[before.sha256] == after.sha256


def test_an_audit_of_the_older_model_answers_and_verification_says_redacted(lived_in: Any) -> None:
    world = lived_in.world
    audited = audit_of_scorer(world)
    lived_in.remove("picture", world.image_id(1))
    again = audit_of_scorer(world)
    assert [one.key for one in again.versions] == [one.key for one in audited.versions]
    assert again.problems == ()
    states = {(one.state, one.kind) for one in verify(again, archive=world.archive)}
    redacted = {kind for state, kind in states if state is State.REDACTED}
    assert redacted == {
        *(f"table {asset}" for asset in ("raw_crawl", "pruned_set", "aligned_faces", "annotations")),
        "table balanced_label_table",
    }
    assert {state for state, _ in states} == {State.INTACT, State.REDACTED}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("url", "https://one.example/1.png"),
        ("host", "one.example"),
        ("annotator", "one/carl"),
        ("annotator", "annotation_site/ann"),
    ],
)
def test_what_a_removal_changes_outside_of_the_graph_is_no_change(
    lived_in: Any, kind: str, value: str
) -> None:
    """Imported ratings and the name of their file, ratings of the site, fetches of a live source."""
    world, home = lived_in.world, lived_in.home
    sources = load_sources(home.sources_file)
    for day in DAYS:
        external = crawl_fingerprints(day, sources=sources, home=home)
        world.point(world.current("raw_crawl", day), (), external=external)
    collected = world.collect(sources)
    assert {row["annotator"] for row in world.rows(collected)} >= {"one/carl", "annotation_site/ann"}
    before = list(verify(audit_of_scorer(world), archive=world.archive))
    assert {one.state for one in before} == {State.INTACT}
    lived_in.remove(kind, value)
    after = list(verify(audit_of_scorer(world), archive=world.archive))
    assert {one.state for one in after} == {State.INTACT, State.REDACTED}
    kinds = {"declared files of ratings", "annotation site", "sources.yaml, sources of 2026-01-01"}
    assert {one.kind for one in after} >= kinds, "they are still looked at"


def test_what_is_left_of_a_version_is_told_from_what_was_altered_later(lived_in: Any) -> None:
    world = lived_in.world
    lived_in.remove("picture", world.image_id(1))
    path = lived_in.store.files.local_path(lived_in.store.tables.path(world.current("annotations")))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    again = audit_of_scorer(world)
    amiss = [one for one in verify(again, archive=world.archive) if one.state is State.ALTERED]
    assert [one.path for one in amiss] == [str(path)]


def test_a_table_that_no_removal_put_there_is_no_redacted_one(lived_in: Any) -> None:
    """Scores of somebody's own under their own hash, and a redacted.json that leads to them."""
    world, store = lived_in.world, lived_in.store
    before = world.current("annotations")
    table = store.tables.read(before)
    scores = pa.array([9.0] * table.num_rows)
    forged = table.set_column(table.schema.get_field_index("score"), table.schema.field("score"), scores)
    store.tables.redact(before, forged, store.tables.facts(before))
    found = [one for one in verify(audit_of_scorer(world), archive=world.archive) if one.reason]
    assert [(one.state, one.kind) for one in found] == [(State.ALTERED, "table annotations")]
    assert "no record of a removal says so" in found[0].reason


def test_until_a_removal_is_finished_verification_says_what_to_do(
    lived_in: Any,
) -> None:
    world = lived_in.world
    plan = replace(lived_in.plan("picture", world.image_id(1)), models=())
    plan.write(lived_in.home)

    def ends_behind(step: str) -> None:
        if step == "tables":
            raise Killed

    with pytest.raises(Killed):
        carry_out(plan, store=lived_in.store, told=ends_behind)
    amiss = [one for one in verify(audit_of_scorer(world), archive=world.archive) if one.reason]
    assert {one.kind for one in amiss} >= {"table annotations", "table raw_crawl"}
    assert {one.state for one in amiss} == {State.ALTERED}
    assert all("`selfai remove --resume`" in one.reason for one in amiss)
    carry_out(plan, store=lived_in.store)
    states = {one.state for one in verify(audit_of_scorer(world), archive=world.archive)}
    assert states == {State.INTACT, State.REDACTED}


def test_a_damaged_record_of_a_removal_is_named_and_proves_nothing(lived_in: Any) -> None:
    world, store = lived_in.world, lived_in.store
    lived_in.remove("picture", world.image_id(1))
    (stone,) = read_tombstones(store)
    store.files.write(stone.path, b"{")
    found = list(verify(audit_of_scorer(world), archive=world.archive))
    assert "records of removals" in {one.kind for one in found if one.state is State.ALTERED}
    assert State.REDACTED not in {one.state for one in found}


@pytest.mark.parametrize(("number", "is_marked"), [(1, True), (2, True), (3, False)])
def test_models_that_learnt_from_it_are_marked_with_those_made_from_them(
    lived_in: Any, number: int, is_marked: bool
) -> None:
    """Picture 1 is in the training split, 2 in validation, 3 in test."""
    lived_in.remove("picture", lived_in.world.image_id(number))
    for asset in ("siamese_checkpoint", "widened_checkpoint", "finetuned_scorer"):
        marks = removed_inputs(lived_in.store, lived_in.world.current(asset))
        assert bool(marks) == is_marked
        assert all(mark.reason == "letter 7" for mark in marks)


def test_an_audit_says_what_was_removed_since_of_what_the_model_had_learnt_from(lived_in: Any) -> None:
    world = lived_in.world
    trunk = world.current("siamese_checkpoint")
    lived_in.remove("picture", world.image_id(1))
    (stone,) = read_tombstones(lived_in.store)
    audited = audit("selfai-scorer@1", archive=world.archive, registry=world.registry)
    document = audit_document(audited)
    (registered,) = [one for one in document.sections if one.title == "Registered"]
    assert registered.note.startswith("Removed since: ")
    said = f"that removal {stone.removal} took out on {stone.removed_at[:10]} (1 of train): letter 7"
    assert f"siamese_checkpoint {trunk.sha256[:12]} learnt from pictures {said}" in registered.note
    assert registered.note in as_text(document)
    assert registered.note in as_page(document)
    assert {one["removal"] for one in audit_values(audited)["removed_since"]} == {stone.removal}
    assert "Removed since" in as_text(audit_document(audit_of_scorer(world))), "a checkpoint by its hash"


def test_an_audit_of_a_model_that_learnt_from_nothing_removed_says_nothing(lived_in: Any) -> None:
    """Picture 3 is in the test split."""
    world = lived_in.world
    lived_in.remove("picture", world.image_id(3))
    audited = audit_of_scorer(world)
    assert audited.marks == ()
    assert "Removed since" not in as_text(audit_document(audited))


def test_a_model_that_is_trained_again_from_the_beginning_bears_no_mark(lived_in: Any) -> None:
    world = lived_in.world
    lived_in.remove("picture", world.image_id(1))
    world.train("finetuned_scorer", "widened_checkpoint")
    assert removed_inputs(lived_in.store, world.current("finetuned_scorer")), "its parent has learnt from it"
    world.train_all()
    assert removed_inputs(lived_in.store, world.current("finetuned_scorer")) == []


def test_pictures_that_look_the_same_go_as_well(lived_in: Any, search: Search) -> None:
    import cv2
    import numpy as np

    world, store = lived_in.world, lived_in.store
    pixels = cv2.imdecode(np.frombuffer(store.pictures.get(world.image_id(1)), np.uint8), cv2.IMREAD_COLOR)
    turned = cv2.imencode(".jpg", cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE))[1].tobytes()
    copy = store.pictures.put(turned)
    rows = [*world.rows(world.current("raw_crawl", "2026-01-02"))]
    rows.append({**rows[0], "image_id": copy, "url": "https://two.example/copy.jpg"})
    world.write(rows, "raw_crawl", "2026-01-02", ())
    world.prune("2026-01-02")
    lived_in.remove("picture", world.image_id(1))
    assert search(lived_in.home.root, [copy.encode(), turned, b"copy.jpg"]) == set()


def test_a_storage_in_another_folder_is_searched_and_swept_as_well(
    lived_in: Any, search: Search, tmp_path: Path
) -> None:
    """As in production, where SELFAI_STORAGE_URL may name a folder."""
    gone = lived_in.needles(1).values()
    elsewhere = tmp_path / "storage"
    elsewhere.mkdir()
    for name in ("tables", "pictures", "crops", "checkpoints"):
        (lived_in.home.root / name).rename(elsewhere / name)
    moved = type(lived_in)(lived_in.world, Store.open(lived_in.home, str(elsewhere)))
    half_written = elsewhere / "pictures" / "parts" / f"x.{'5e' * 16}.part"
    half_written.parent.mkdir(exist_ok=True)
    half_written.write_bytes(moved.store.pictures.get(lived_in.world.image_id(1)))
    note = elsewhere / "note.txt"
    note.write_text(lived_in.world.image_id(1))
    assert moved.remove("picture", lived_in.world.image_id(1)) == [str(note)]
    assert search(elsewhere, gone) == {"note.txt"}
    record = elsewhere / "tables" / "raw_crawl" / DAYS[0] / "current.json"
    folder = tmp_path / "photos" / "face.jpg"
    own = [search_module.is_users_own(str(path), moved.store) for path in (note, folder, record)]
    assert own == [True, True, False]


@pytest.mark.parametrize("before", range(0, 130, 10))
def test_a_large_file_is_searched_in_pieces_that_lose_nothing_between_them(
    store: Store, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    monkeypatch.setattr(search_module, "PIECE", 50)
    monkeypatch.setattr(search_module, "LONGEST_NAME", 100)
    note = store.home.root / "note.bin"
    note.write_bytes(b"." * before + b" " + b"ab" * 32 + b"." * 120)
    named = Plan("", "", "", "picture", Subjects(image_ids=frozenset({"ab" * 32})))
    assert search_module.traces(named, store) == ["note.bin"]
    other = Plan("", "", "", "picture", Subjects(image_ids=frozenset({"cd" * 32})))
    assert search_module.traces(other, store) == []


def test_bytes_of_a_killed_run_that_no_row_names_go_as_well(lived_in: Any) -> None:
    """Nothing tells whose they are; crawling and aligning bring them again."""
    world, store = lived_in.world, lived_in.store
    before = set(store.pictures), set(store.crops)
    store.pictures.put(b"of an address that was asked for, and not written down")
    store.crops.put(b"crop of a day whose table was never written")
    lived_in.remove("picture", world.image_id(1))
    rows = [row for day in DAYS for row in world.rows(world.current("aligned_faces", day))]
    assert set(store.pictures) == {row["image_id"] for row in rows} < before[0]
    assert set(store.crops) == {row["crop_sha256"] for row in rows} < before[1]


def test_a_host_goes_with_its_pages_its_pictures_and_the_links_to_it(lived_in: Any, search: Search) -> None:
    gone = [needle for number in (1, 2, 3) for needle in lived_in.needles(number).values()]
    lived_in.remove("host", "one.example")
    assert search(lived_in.home.root, [*gone, b"one.example"]) == set()
    with open_journal(lived_in.home) as journal:
        assert journal.is_empty() is False
        assert list(journal.outcomes("one", "2026-01-01")) == []


def test_an_address_that_was_refused_can_be_removed(lived_in: Any, search: Search) -> None:
    from selfai_pipeline.sources.outcomes import REFUSED, Found, Outcome

    refused = Outcome(Found("https://one.example/secret.png", "picture"), REFUSED, "r", reason="robots")
    with open_journal(lived_in.home) as journal:
        journal.record("one", "2026-01-01", refused)
    (source,) = load_sources(lived_in.home.sources_file)
    rated = source.ratings[0].file(lived_in.home)
    rated.write_text(f"{rated.read_text()}https://one.example/secret.png,carl,3\n")
    assert lived_in.remove("url", "https://one.example/secret.png") == []
    assert search(lived_in.home.root, [b"secret.png"]) == set()


def test_rows_of_imported_ratings_go_and_sources_yaml_names_the_new_file(lived_in: Any) -> None:
    (before,) = load_sources(lived_in.home.sources_file)
    lived_in.remove("picture", lived_in.world.image_id(1))
    (after,) = load_sources(lived_in.home.sources_file)
    assert before.ratings[0].path != after.ratings[0].path
    folder = lived_in.home.imports / "one"
    (file,) = folder.iterdir()
    assert file == after.ratings[0].file(lived_in.home)
    assert (
        file.read_text() == "image,annotator,score\n2.png,carl,2\n2.png,dora,2\n3.png,carl,3\n3.png,dora,3\n"
    )


@pytest.mark.parametrize("name", ["site/ann", "one/carl"])
def test_an_annotator_goes_with_their_ratings(lived_in: Any, search: Search, name: str) -> None:
    """Of `site/ann` in the tables of the world; of `one/carl` in the imported file."""
    world = lived_in.world
    if name == "one/carl":
        ratings = [*world.rows(world.current("annotations"))]
        ratings += [{**row, "annotator": "one/carl"} for row in ratings if row["annotator"] == "site/ann"]
        world.write(ratings, "annotations", "all", ())
    lived_in.remove("annotator", name)
    left = {row["annotator"] for row in world.rows(world.current("annotations"))}
    assert name not in left
    assert left
    assert search(lived_in.home.root / "tables", [name.encode()]) == set()
    if name == "one/carl":
        assert search(lived_in.home.root / "imports", [b"carl"]) == set()
        assert removed_inputs(lived_in.store, world.current("finetuned_scorer")) == [], "not trained on yet"


@pytest.mark.parametrize(
    ("kind", "value", "asked"),
    [
        ("annotator", "site/ann", "site/ann"),
        ("annotator", "site/ann", "ann"),
        ("host", "one.example", "ONE.example"),
    ],
)
def test_an_audit_of_what_was_removed_says_when(lived_in: Any, kind: str, value: str, asked: str) -> None:
    world = lived_in.world
    lived_in.remove(kind, value)
    with pytest.raises(InputError, match=r"it was removed on .*\(letter 7\)"):
        derived_from(Selection(kind, asked), archive=world.archive, registry=world.registry)


def test_an_annotator_of_the_site_goes_with_everything_they_said(lived_in: Any, search: Search) -> None:
    lived_in.remove("annotator", "annotation_site/ann")
    with SiteDatabase(lived_in.home.annotations_url) as database, database.reading() as connection:
        assert list(connection.scalars(sa.select(people.c.name))) == ["bob"]
        (bob,) = connection.scalars(sa.select(people.c.id))
        assert set(connection.scalars(sa.select(assignments.c.person))) == {bob}
        said = connection.scalar(sa.select(sa.func.count()).select_from(answers))
        rated = connection.scalar(sa.select(sa.func.sum(faces.c.rated)))
        assert said == rated == 6
        assert connection.scalar(sa.select(sa.func.sum(faces.c.taken))) == 6


class Killed(BaseException):
    """The process ends here."""


def test_killed_before_any_change_of_a_file_the_same_removal_finishes_it(
    lived_in: Any, search: Search, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The process dies at each write and each deletion in turn; the next one goes on from what it left."""
    gone = lived_in.needles(1)
    plan = replace(lived_in.plan("picture", lived_in.world.image_id(1)), models=())
    plan.write(lived_in.home)
    deaths = 0
    lives = [0]
    write, delete = Storage.write, Storage.delete
    unlink = Path.unlink

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            lives[0] -= 1
            if lives[0] < 0:
                raise Killed
            return real(*arguments, **named)

        return call

    monkeypatch.setattr(Storage, "write", dying(write))
    monkeypatch.setattr(Storage, "delete", dying(delete))
    monkeypatch.setattr(Path, "unlink", dying(unlink))
    while True:
        # Each life gets one change further than the one before.
        lives[0] = deaths
        (left,) = unfinished(lived_in.home)
        try:
            carry_out(left, store=lived_in.store)
        except Killed:
            deaths += 1
        else:
            break
    assert deaths > 8
    assert search(lived_in.home.root, gone.values()) == set()
    assert unfinished(lived_in.home) == []
    (stone,) = read_tombstones(lived_in.store)
    assert stone.finished


def test_after_kill_9_nobody_writes_until_the_removal_is_finished(lived_in: Any, search: Search) -> None:
    gone = lived_in.needles(1)
    plan = replace(lived_in.plan("picture", lived_in.world.image_id(1)), models=())
    plan.write(lived_in.home)
    program = (
        "import os, signal, sys\n"
        "from selfai_pipeline.removal.erase import carry_out\n"
        "from selfai_pipeline.removal.plan import unfinished\n"
        "from selfai_pipeline.store import Store\n"
        "from selfai_pipeline.turns import alone\n"
        "store = Store.open(sys.argv[1])\n"
        "def told(step):\n"
        "    if step == 'tables':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "with alone(store.home, wait_s=5, tell=print):\n"
        "    carry_out(unfinished(store.home)[0], store=store, told=told)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(lived_in.home.root)], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(InputError, match="a removal was interrupted"), writing(lived_in.home):
        pytest.fail("it wrote")
    (left,) = unfinished(lived_in.home)
    carry_out(left, store=lived_in.store)
    assert search(lived_in.home.root, gone.values()) == set()
    with writing(lived_in.home):
        pass


def test_removing_it_twice_says_when_it_was_removed(lived_in: Any) -> None:
    lived_in.remove("picture", lived_in.world.image_id(1))
    for kind, value in (("picture", lived_in.world.image_id(1)), ("url", "https://one.example/1.png")):
        with pytest.raises(InputError, match=r"it was removed on .*\(letter 7\)"):
            lived_in.plan(kind, value)
    lived_in.remove("annotator", "annotation_site/bob")
    lived_in.remove("annotator", "site/bob")
    for name in ("site/bob", "bob"):
        with pytest.raises(InputError, match=r"it was removed on .*\(letter 7\)"):
            lived_in.plan("annotator", name)


def test_without_the_key_of_earlier_removals_no_other_begins(lived_in: Any) -> None:
    """A new key in its place would tell the records of neither."""
    lived_in.remove("picture", lived_in.world.image_id(1))
    lived_in.home.removal_key.unlink()
    with pytest.raises(StorageError, match="the key of the removals' records is not there"):
        lived_in.remove("picture", lived_in.world.image_id(2))
    assert not lived_in.home.removal_key.exists()
    assert lived_in.world.image_id(2) in lived_in.store.pictures


def test_a_second_removal_takes_more_out_of_what_the_first_left(lived_in: Any, search: Search) -> None:
    world = lived_in.world
    gone = [*lived_in.needles(1).values(), *lived_in.needles(2).values()]
    first = world.current("balanced_label_table")
    for number in (1, 2):
        lived_in.remove("picture", world.image_id(number))
    assert search(lived_in.home.root, gone) == set()
    assert len(world.rows(first)) == first.rows - 2
    again = audit_of_scorer(world)
    states = {one.state for one in verify(again, archive=Archive(lived_in.store))}
    assert states == {State.INTACT, State.REDACTED}


def test_a_version_that_came_back_from_a_backup_is_not_read_and_can_be_removed_again(
    lived_in: Any, search: Search
) -> None:
    world, store = lived_in.world, lived_in.store
    before = world.current("annotations")
    path = store.files.local_path(store.tables.path(before))
    content = path.read_bytes()
    gone = [world.image_id(1).encode()]
    lived_in.remove("picture", world.image_id(1))
    path.write_bytes(content)
    assert world.image_id(1) not in {row["image_id"] for row in world.rows(before)}
    assert lived_in.remove("picture", world.image_id(1)) == []
    assert search(lived_in.home.root, gone) == set()


def test_a_database_in_use_is_named_and_the_removal_can_be_finished(
    lived_in: Any, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3
    from contextlib import closing

    from selfai_pipeline.removal import databases

    monkeypatch.setattr(databases, "LONGEST_WAIT_S", 0.1)
    gone = lived_in.needles(1)
    path = lived_in.home.mlflow / "mlflow.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=r"mlflow.db: it cannot be cleaned .*--resume"):
            lived_in.remove("picture", lived_in.world.image_id(1))
    (plan,) = unfinished(lived_in.home)
    assert carry_out(plan, store=Store.open(lived_in.home)) == []
    assert search(lived_in.home.root, gone.values()) == set()


def test_what_pruning_found_to_be_copies_goes_as_well(lived_in: Any, search: Search) -> None:
    """A crop of a picture hashes unlike it; pruning has compared the thumbnails, which nobody keeps after."""
    world = lived_in.world
    one, two, three = (world.image_id(number) for number in (1, 2, 3))
    rows = world.rows(world.current("pruned_set", "2026-01-01"))
    kept_instead = {one: two, three: two}
    rows = [{**row, "duplicate_of": kept_instead.get(row["image_id"])} for row in rows]
    world.write(rows, "pruned_set", "2026-01-01", ())
    pictures = {number: lived_in.store.pictures.get(world.image_id(number)) for number in (1, 2, 3)}
    lived_in.remove("picture", one)
    gone = [needle for number in (1, 2, 3) for needle in (world.image_id(number).encode(), pictures[number])]
    assert search(lived_in.home.root, gone) == set()
    (stone,) = read_tombstones(lived_in.store)
    assert stone.counts["pictures"] == len(stone.looks) == 3


def test_a_person_goes_with_the_rows_that_name_them_without_a_picture(lived_in: Any, search: Search) -> None:
    world = lived_in.world
    rows = world.rows(world.current("raw_crawl", "2026-01-01"))
    told = '{"name": "x", "person": "Joan Doe"}'
    rows[0]["attributes"] = told
    rows[1].update(
        image_id=None, status="refused", reason="robots", attributes=told, url="https://b.example/2"
    )
    world.write(rows, "raw_crawl", "2026-01-01", ())
    gone = [lived_in.world.image_id(1).encode(), b"Joan Doe", b"https://b.example/2"]
    lived_in.remove("person", "Joan Doe")
    assert search(lived_in.home.root, gone) == set()


def test_a_journal_in_postgresql_is_erased_and_rewritten(
    lived_in: Any, postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selfai_pipeline.sources.journal_move import move_journal

    monkeypatch.setenv("SELFAI_JOURNAL_URL", postgres.new_place())
    move_journal(lived_in.home)
    lived_in.remove("picture", lived_in.world.image_id(1))
    with open_journal(lived_in.home) as journal:
        urls = {one.found.url for one in journal.outcomes("one", "2026-01-01")}
        page = journal.last("one", "2026-01-01", "https://one.example/")
    assert urls == {"https://one.example/", "https://one.example/2.png", "https://one.example/3.png"}
    assert page is not None
    assert page.links == '[["https://one.example/2.png", "https://one.example/3.png"], []]'
