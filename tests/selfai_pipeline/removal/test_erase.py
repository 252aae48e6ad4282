"""What is left of a removed picture, address, host, annotator: nothing but a tombstone."""

import hashlib
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.annotations import collect_annotations, ratings_fingerprint
from selfai_pipeline.labels.site.database import SiteDatabase, answers, assignments, faces, people
from selfai_pipeline.lineage.audit import audit
from selfai_pipeline.lineage.findings import State
from selfai_pipeline.lineage.registry import Registry
from selfai_pipeline.lineage.verification import verify
from selfai_pipeline.lineage.versions import Archive
from selfai_pipeline.removal import erase as erase_module
from selfai_pipeline.removal import ratings as ratings_module
from selfai_pipeline.removal import search as search_module
from selfai_pipeline.removal.databases import HEADER as SQLITE_FILE
from selfai_pipeline.removal.erase import carry_out
from selfai_pipeline.removal.fetches import Fetches
from selfai_pipeline.removal.marks import removed_inputs
from selfai_pipeline.removal.places import place_of
from selfai_pipeline.removal.plan import Plan, sweep_plans, unfinished
from selfai_pipeline.removal.subjects import Subjects
from selfai_pipeline.sources.journal import open_journal
from selfai_pipeline.sources.settings import PicturesFile, load_sources, save_sources
from selfai_pipeline.sources.tombstones import read_tombstones, removal_key
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


SECRET = "https://one.example/secret.png"


@pytest.fixture
def refused(lived_in: Any) -> Any:
    """The journal alone knows the address `SECRET`; it was rated, and the row is listed as left out."""
    from selfai_pipeline.sources.outcomes import REFUSED, Found, Outcome

    with open_journal(lived_in.home) as journal:
        journal.record("one", "2026-01-01", Outcome(Found(SECRET, "picture"), REFUSED, "r", reason="robots"))
    (source,) = load_sources(lived_in.home.sources_file)
    rated = source.ratings[0].file(lived_in.home)
    rated.write_text(f"{rated.read_text()}{SECRET},carl,3\n2.png,emil,3\n")
    (rated.parent / "left_out.csv").write_text(
        f"file,line,picture,reason,detail\nr.csv,8,{SECRET},unmatched,x\n"
    )
    return lived_in


def test_an_address_that_was_refused_can_be_removed(refused: Any, search: Search) -> None:
    assert refused.remove("url", SECRET) == []
    assert search(refused.home.root, [b"secret.png"]) == set()


def test_killed_before_it_deletes_the_former_copy_of_ratings_a_removal_finds_it_again(
    refused: Any, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = refused.home.imports / "one"
    before = set(folder.glob("ratings-*"))

    unlink = Path.unlink

    def dying(path: Path, **named: Any) -> None:
        if path in before:
            raise Killed
        unlink(path, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", dying)
        with pytest.raises(Killed):
            refused.remove("url", SECRET)
    assert before < set(folder.glob("ratings-*"))
    (left,) = unfinished(refused.home)
    assert carry_out(left, store=refused.store) == []
    assert search(refused.home.root, [b"secret.png"]) == set()
    (source,) = load_sources(refused.home.sources_file)
    assert [source.ratings[0].file(refused.home)] == list(folder.iterdir())


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


def test_an_address_in_a_further_column_of_an_imported_file_goes_and_its_row_stays(lived_in: Any) -> None:
    kind, url, _ = an_address_that_others_name(lived_in)
    assert lived_in.remove(kind, url) == []
    (source,) = load_sources(lived_in.home.sources_file)
    assert source.pictures
    files = [source.ratings[0].file(lived_in.home), source.pictures.file(lived_in.home)]
    texts = ["image,annotator,score,seen\n2.png,carl,2,on [removed]\n3.png,dora,3,\n"]
    texts.append(f"image,person,page\n2.png,Jane Roe,[removed]\n3.png,Joan Doe,{url[:-1]}\n")
    assert [file.read_text() for file in files] == texts
    assert {*files} == {*(lived_in.home.imports / "one").iterdir()}
    for file, text in zip(files, texts, strict=True):
        assert file.name.split("-")[1] == f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.csv"
    snapshot = lived_in.store.tables.snapshot("raw_crawl")
    ref = collect_annotations(snapshot, sources=[source], store=lived_in.store)
    told = {row["attributes"] for row in lived_in.store.tables.read(ref).to_pylist()}
    assert '{"page": "[removed]", "person": "Jane Roe", "seen": "on [removed]"}' in told
    (stone,) = read_tombstones(lived_in.store)
    assert [*stone.ratings.values()] == [ratings_fingerprint([source], lived_in.home)]


def test_an_address_of_a_removed_host_goes_from_further_columns_of_imported_files(lived_in: Any) -> None:
    an_address_that_others_name(lived_in)
    lived_in.plan("host", "one.example")
    assert lived_in.remove("host", "one.example") == []


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


Asked = tuple[str, str, list[bytes]]
"""What a removal is asked for, and what must not be found any more."""


def a_picture(lived_in: Any) -> Asked:
    return "picture", lived_in.world.image_id(1), list(lived_in.needles(1).values())


def a_host(lived_in: Any) -> Asked:
    needles = [needle for number in (1, 2, 3) for needle in lived_in.needles(number).values()]
    return "host", "one.example", [*needles, b"one.example"]


def a_person(lived_in: Any) -> Asked:
    """Beside a picture, an address that was refused; and in the file of ratings."""
    world = lived_in.world
    rows = world.rows(world.current("raw_crawl", "2026-01-01"))
    told = '{"name": "x", "person": "Joan Doe"}'
    rows[0]["attributes"] = told
    rows[1].update(
        image_id=None, status="refused", reason="robots", attributes=told, url="https://b.example/2"
    )
    world.write(rows, "raw_crawl", "2026-01-01", ())
    (source,) = load_sources(lived_in.home.sources_file)
    rated = source.ratings[0].file(lived_in.home)
    rated.write_text("image,annotator,score,person\n1.png,carl,1,Joan Doe\n3.png,carl,3,\n")
    return "person", "Joan Doe", [*lived_in.needles(1).values(), b"Joan Doe", b"https://b.example/2"]


def an_address_that_others_name(lived_in: Any) -> Asked:
    """In further columns of other pictures, of both imported files."""
    url = "https://one.example/1.png"
    (source,) = load_sources(lived_in.home.sources_file)
    rated = source.ratings[0].file(lived_in.home)
    rated.write_text(f"image,annotator,score,seen\n2.png,carl,2,on {url}\n3.png,dora,3,\n")
    described = rated.with_name("pictures-0123456789ab.csv")
    described.write_text(f"image,person,page\n2.png,Jane Roe,{url}\n3.png,Joan Doe,{url[:-1]}\n")
    about = PicturesFile(path=f"imports/one/{described.name}")
    save_sources(lived_in.home.sources_file, [source.model_copy(update={"pictures": about})])
    return "url", url, [needle for name, needle in lived_in.needles(1).items() if name != "address"]


def an_annotator(lived_in: Any) -> Asked:
    """Of the imported file, and of the tables."""
    world = lived_in.world
    rows = world.rows(world.current("annotations"))
    rows += [{**row, "annotator": "one/carl"} for row in rows if row["annotator"] == "site/ann"]
    world.write(rows, "annotations", "all", ())
    return "annotator", "one/carl", [b"carl"]


def an_annotator_of_a_file_alone(lived_in: Any) -> Asked:
    """No run has read the imported file yet."""
    return "annotator", "one/carl", [b"carl"]


def an_annotator_of_the_site(lived_in: Any) -> Asked:
    return "annotator", "annotation_site/ann", []


def rows_of(database: Path) -> list[str]:
    """All that a SQLite file has, as statements that make it; its bytes count how often it was written."""
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.iterdump())


CHANGES = (
    (Storage, "write"),
    (Storage, "delete"),
    (Path, "unlink"),
    (Fetches, "erase"),
    (ratings_module, "replace_file"),
    *(
        (erase_module, name)
        for name in ("replace_file", "mark_models", "remove_pictures", "remove_people", "scrub", "clean")
    ),
)
"""All by which a removal changes anything."""


@pytest.mark.parametrize(
    "ask",
    [
        a_picture,
        a_host,
        a_person,
        an_address_that_others_name,
        an_annotator,
        an_annotator_of_a_file_alone,
        an_annotator_of_the_site,
    ],
)
def test_killed_before_any_change_the_same_removal_finishes_it(
    lived_in: Any,
    search: Search,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    ask: Callable[[Any], Asked],
) -> None:
    """The process dies once before each change; the next one goes on from what it left. At the end all is as
    one leaves it that nobody kills."""
    home, store = lived_in.home, lived_in.store
    kind, value, gone = ask(lived_in)
    plan = lived_in.plan(kind, value)
    plan.write(home)
    # Both write keyed hashes: the key has to be there before.
    removal_key(home)
    untroubled = Store.open(Home.at(shutil.copytree(home.root, tmp_path / "untroubled")))
    marked: list[str] = []
    # The registry of a `World` is none of MLflow's.
    monkeypatch.setattr(erase_module, "mark_models", lambda plan, home: marked.append(plan.removal))
    carry_out(plan, store=untroubled)
    marked.clear()
    deaths: set[tuple[str, ...]] = set()

    def dying(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            change = name, *(str(one) for one in arguments if isinstance(one, str | Path | bytes))
            # A file until it is whole has a name of its own each time.
            if change not in deaths and not change[-1].endswith(".part"):
                deaths.add(change)
                raise Killed
            return real(*arguments, **named)

        return call

    for owner, name in CHANGES:
        monkeypatch.setattr(owner, name, dying(name, getattr(owner, name)))
    while True:
        # As the command does.
        with suppress(Killed):
            sweep_plans(home)
            plans = unfinished(home)
            if not plans:
                break
            carry_out(plans[0], store=store)
    names = {name for name, *_ in deaths}
    assert names >= {"write", "unlink", "erase", "remove_people", "scrub", "clean"}
    assert bool(marked) == ("mark_models" in names) == bool(plan.models)
    assert search(home.root, gone) == set()
    assert read_tombstones(store)[0].finished
    left, wanted = files_of(home.root), files_of(untroubled.home.root)
    assert left.keys() == wanted.keys()
    for path in left:
        if left[path].startswith(SQLITE_FILE):
            assert rows_of(home.root / path) == rows_of(untroubled.home.root / path), path
        else:
            assert left[path] == wanted[path], path


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


def test_what_the_reason_of_an_earlier_removal_names_is_taken_out_of_it(
    lived_in: Any, search: Search
) -> None:
    """An earlier version accepted such reasons; they stand in a record, and in the pages that say it."""
    lived_in.remove("picture", lived_in.world.image_id(1))
    url, gone = "https://one.example/2.png", lived_in.needles(2)
    (stone,) = read_tombstones(lived_in.store)
    told = f"same as {url}, {lived_in.world.image_id(2)} & 2.PNG"
    lived_in.store.files.write(stone.path, replace(stone, reason=told).to_json())
    (page,) = lived_in.home.reports.rglob("*.html")
    # The page of a report that the second removal has nothing to do with.
    past = lived_in.home.reports / ("ab" * 32) / page.name
    past.parent.mkdir()
    past.write_text(page.read_text().replace("letter 7", escape(told)))
    assert stone.path in search_module.traces(lived_in.plan("url", url), lived_in.store)
    assert lived_in.remove("url", url) == []
    assert search(lived_in.home.root, gone.values()) == set()
    left = {one.removal: one for one in read_tombstones(lived_in.store)}
    assert left[stone.removal] == replace(stone, reason="same as [removed], [removed] & [removed]")
    assert "same as [removed], [removed] &amp; [removed])" in past.read_text()


def test_what_came_back_into_the_database_of_the_site_alone_can_be_removed_again(
    lived_in: Any, search: Search
) -> None:
    """Before `selfai gold` waited for removals, it could bring a face in behind one."""
    image_id, gone = lived_in.world.image_id(1), lived_in.needles(1)
    with SiteDatabase(lived_in.home.annotations_url) as database:
        with database.reading() as connection:
            row = connection.execute(faces.select().where(faces.c.image_id == image_id)).one()
        lived_in.remove("picture", image_id)
        with database.writing() as connection:
            connection.execute(faces.insert().values(row._asdict()))
    lived_in.remove("picture", image_id)
    assert search(lived_in.home.root, gone.values()) == set()
    with pytest.raises(InputError, match="it was removed on"):
        lived_in.plan("picture", image_id)


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
    scorer = world.current("finetuned_scorer").sha256
    again = audit(scorer, archive=world.archive, registry=Registry())
    states = {one.state for one in verify(again, archive=Archive(lived_in.store))}
    assert states == {State.INTACT, State.REDACTED}


def test_a_database_in_use_is_named_and_the_removal_can_be_finished(
    lived_in: Any, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    kind, value, gone = a_person(lived_in)
    lived_in.remove(kind, value)
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
