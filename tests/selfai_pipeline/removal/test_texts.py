"""What was removed is taken out of texts of any kind, and what only looks like it stays."""

import json
from pathlib import Path

import pytest

from selfai_pipeline.removal.subjects import Subjects
from selfai_pipeline.removal.texts import Needles
from selfai_pipeline.sources.tombstones import INSTEAD, Tombstone, Tombstones, keyed

URL = "https://one.example/a.jpg"


def needles(*urls: str, hosts: tuple[str, ...] = ()) -> Needles:
    return Needles(frozenset(), frozenset(urls), frozenset(hosts), frozenset())


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "could not be read: {}\nTraceback",
        "first\n{}\tsecond",
        "['{}', 'x']",
        '{{"url": "{}"}}',
        "({}) failed.",
        "{}: not found",
        "See {}.",
        "{},{},https://one.example/b.jpg",
        "url={}&quot;",
        "https://proxy.example/?of={}",
        "\x1b[31m{}\x1b[0m",
        "|{}|`{}`;",
    ],
)
@pytest.mark.parametrize("nested", [0, 1, 2])
@pytest.mark.parametrize("removed", [needles(URL), needles(hosts=("one.example",))])
def test_an_address_goes_whatever_stands_around_it(around: str, nested: int, removed: Needles) -> None:
    """Events of Dagster are JSON, errors in them JSON again: the end of a line is a backslash and an `n`."""
    text = around.format(*[URL] * around.count("{}"))
    for _ in range(nested):
        text = json.dumps(text)
    scrubbed = removed.scrubbed(text)
    assert INSTEAD in scrubbed
    assert "one.example/a" not in scrubbed


@pytest.mark.parametrize(
    "other",
    [
        f"{URL}2",
        f"{URL}.bak",
        f"{URL}/1",
        f"{URL}?size=2",
        f"{URL}&size=2",
        "https://two.example/a.jpg",
        "http://one.example/a.jpg",
    ],
)
def test_another_address_stays(other: str) -> None:
    assert needles(URL).scrubbed(f"{other}\n") == f"{other}\n"


def test_of_two_addresses_that_begin_alike_the_longer_one_goes_whole() -> None:
    assert needles(URL, f"{URL}?size=2").scrubbed(f"{URL}?size=2 {URL}") == f"{INSTEAD} {INSTEAD}"


@pytest.mark.parametrize("url", ["https://one.example/it's.jpg", "https://one.example/gr\u00fc\u00df.jpg"])
def test_an_address_with_a_quote_or_an_accent_goes(url: str) -> None:
    removed = Needles(frozenset(), frozenset({url, json.dumps(url)[1:-1]}), frozenset(), frozenset())
    assert removed.scrubbed(json.dumps(f"{url}\n")) == json.dumps(f"{INSTEAD}\n")


def test_another_host_stays() -> None:
    text = "https://www.one.example/a https://one.example.org/a https://two.example/?u=one"
    assert needles(hosts=("one.example",)).scrubbed(text) == text


@pytest.mark.parametrize("word", ["one.example", "site/ann"])
def test_a_host_and_an_annotator_go_from_the_beginning_of_a_line(word: str) -> None:
    removed = Needles(frozenset(), frozenset(), frozenset({"one.example"}), frozenset({"site/ann"}))
    assert removed.scrubbed(json.dumps(f"lost:\n{word}\n")) == json.dumps(f"lost:\n{INSTEAD}\n")
    for other in (f"n{word}", f"{word}a", f"x-{word}", f"{word}-x"):
        assert removed.scrubbed(json.dumps(other)) == json.dumps(other)


def test_a_file_of_a_folder_goes_by_its_path_as_well() -> None:
    removed = Needles.of(Subjects(urls=frozenset({"file:///photos/anna%20b.jpg"})))
    text = "/photos/anna b.jpg: no picture; file:///photos/anna%20b.jpg; /photos/anna b.jpg2"
    assert removed.scrubbed(text) == f"{INSTEAD}: no picture; {INSTEAD}; /photos/anna b.jpg2"


def test_of_a_host_without_a_dot_the_addresses_go_and_the_word_stays() -> None:
    """Dagster would no longer read its own records."""
    removed = needles(hosts=("training",))
    text = json.dumps({"group": "training", "error": "http://training/a.jpg\n"})
    assert json.loads(removed.scrubbed(text)) == {"group": "training", "error": f"{INSTEAD}\n"}
    assert removed.are_in(text.encode())
    assert not removed.are_in(b'{"group": "training"}')


OWN = frozenset(
    {"/srv/one.example/home", "/home/ann/faces", "http://127.0.0.1:3080", "s3://one.example/selfai"}
)
SHA256 = "ab" * 32


@pytest.fixture
def removed_names() -> Needles:
    hosts = frozenset({"one.example", "127.0.0.1"})
    urls = frozenset({"file:///srv/one.example/home/photos/a.jpg", "/srv/one.example/home/photos/a.jpg"})
    return Needles(frozenset({SHA256}), urls, hosts, frozenset({"home/ann"}), OWN)


@pytest.mark.parametrize(
    "own",
    [
        "/srv/one.example/home/mlflow/artifacts",
        "file:///srv/one.example/home",
        "sqlite:////srv/one.example/home/mlflow/mlflow.db",
        "at /home/ann/faces.",
        "s3://one.example/selfai/tables",
        "http://127.0.0.1:3080/reports/x/report.html",
        "\x1b[31mhttp://127.0.0.1:3080\x1b[0m",
        "lost:\n/srv/one.example/home\nhttp://127.0.0.1:3080\n",
    ],
)
@pytest.mark.parametrize("nested", [0, 1, 2])
def test_own_folders_and_services_stay_whatever_host_they_are_named_by(
    removed_names: Needles, own: str, nested: int
) -> None:
    """MLflow finds the files of a model by such a path, and people the page of an audit by such a link."""
    for _ in range(nested):
        own = json.dumps(own)
    assert removed_names.scrubbed(own) == own
    assert not removed_names.are_in(own.encode())


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/srv/one.example/home/one.example/x", f"/srv/one.example/home/{INSTEAD}/x"),
        ("/srv/one.example/home/photos/a.jpg: lost", f"{INSTEAD}: lost"),
        ("file:///srv/one.example/home/photos/a.jpg", INSTEAD),
        (f"/srv/one.example/home/pictures/{SHA256}", f"/srv/one.example/home/pictures/{INSTEAD}"),
        ("/srv/one.example/home2", f"/srv/{INSTEAD}/home2"),
        ("/mnt/srv/one.example/home", f"/mnt/srv/{INSTEAD}/home"),
        ("/home/ann/photos", f"/{INSTEAD}/photos"),
        (f"http://127.0.0.1:3080/audit/{SHA256}", f"http://127.0.0.1:3080/audit/{INSTEAD}"),
        ("http://127.0.0.1:3080/?of=http://one.example/a", f"http://127.0.0.1:3080/?of={INSTEAD}"),
        ("http://127.0.0.1:8650/a.jpg", INSTEAD),
        ("http://127.0.0.1:30801/", INSTEAD),
        ("http://127.0.0.1/a.jpg", INSTEAD),
        ("s3://one.example/other", f"s3://{INSTEAD}/other"),
    ],
)
def test_behind_and_beside_own_names_what_was_removed_goes(
    removed_names: Needles, text: str, left: str
) -> None:
    assert removed_names.are_in(text.encode())
    assert removed_names.scrubbed(text) == left
    assert json.loads(removed_names.scrubbed(json.dumps(f"\n{text}\n"))) == f"\n{left}\n"
    assert not removed_names.are_in(left.encode())


def test_a_folder_with_an_accent_stays_as_path_as_address_and_in_json() -> None:
    removed = Needles(
        frozenset(),
        frozenset(),
        frozenset({"one.example"}),
        frozenset(),
        frozenset({"/gr\u00fc\u00df/one.example"}),
    )
    path = Path("/gr\u00fc\u00df/one.example/x")
    for text in (str(path), path.as_uri(), json.dumps(str(path)), json.dumps({"a": json.dumps(str(path))})):
        assert removed.scrubbed(text) == text


def stone(*names: tuple[str, str]) -> Tombstones:
    hashes = tuple(keyed(kind, name, b"k") for kind, name in names)
    return Tombstones((Tombstone("a" * 12, "2026-01-01", "r", "url", hashes, ()),), b"k")


@pytest.mark.parametrize("removed", [stone(("address", URL)), stone(("host", "one.example"))])
def test_what_the_records_know_of_an_address_is_enough_to_take_it_out_of_a_text(removed: Tombstones) -> None:
    for around in (
        "{}",
        "at {}.",
        "({}), ",
        '{{"page": "{}"}}',
        "{},https://two.example/,{}",
        "'{}'",
        "https://two.example/?of={}",
    ):
        text = around.format(*[URL] * around.count("{}"))
        assert removed.scrubbed(text) == around.format(*[INSTEAD] * around.count("{}"))
    for other in ("https://two.example/a.jpg", "https://www.one.example/a.jpg", "one.example", "a: //b"):
        assert removed.scrubbed(other) == other


@pytest.mark.parametrize("other", [f"{URL}2", f"{URL}.bak", f"{URL}/1", f"{URL}?size=2"])
def test_another_address_of_the_host_stays_where_one_was_removed(other: str) -> None:
    assert stone(("address", URL)).scrubbed(f"see {other}.") == f"see {other}."
    assert Tombstones().scrubbed(URL) == URL
