"""A reason stays for ever: what a removal may have to reach is refused in it."""

import hashlib
import re
from datetime import UTC, datetime

import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.removal.reasons import checked_reason, refuse_telling, without_names
from selfai_pipeline.removal.subjects import Subjects
from selfai_pipeline.schemas import TABLES
from selfai_pipeline.sources.journal import open_journal
from selfai_pipeline.sources.outcomes import STORED, Found, Outcome
from selfai_pipeline.sources.tombstones import HOST, Tombstone, keyed, removal_key

CRAWLED = hashlib.sha256(b"crawled").hexdigest()
FETCHED = hashlib.sha256(b"fetched, and in no table yet").hexdigest()
LABELLED = hashlib.sha256(b"0").hexdigest()
"""The first picture of `table_of`."""


@pytest.fixture
def known(store, home, table_of):
    """A store that knows three pictures and two hosts, and has removed a third host."""
    row = {
        **dict.fromkeys(TABLES["raw_crawl"].names),
        "image_id": CRAWLED,
        "url": "https://pictures.example/a.png",
        "source": "mine",
        "status": STORED,
        "attributes": "{}",
        "fetched_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    store.tables.write([row], asset="raw_crawl", partition="2026-01-01")
    table_of(["train"])
    fetched = Outcome(Found("https://xn--bcher-kva.example/b.png", "picture"), STORED, "r", image_id=FETCHED)
    with open_journal(home) as journal:
        journal.discover("mine", "2026-01-02", [fetched.found], most=9)
        journal.record("mine", "2026-01-02", fetched)
    key = removal_key(home)
    names = (keyed(HOST, "gone.example", key),)
    stone = Tombstone("0123456789ab", "2026-02-01T00:00:00+00:00", "letter 7", "host", names, ())
    store.files.write(stone.path, stone.to_json())
    return store


@pytest.mark.parametrize(
    ("reason", "problem"),
    [
        ("", "no reason is given"),
        (" \n\t. ", "no reason is given"),
        ("x" * 1001, "it has 1001 characters"),
    ],
)
def test_a_reason_is_a_sentence(reason, problem, store):
    with pytest.raises(InputError, match=re.escape(problem)):
        checked_reason(reason, store=store)


@pytest.mark.parametrize(
    "reason",
    [
        "because of https://elsewhere.example/a.jpg",
        f"because of {'ab' * 32}.",
        f"{CRAWLED[:6]} is a drawing",
        f"it is wrong on {LABELLED[:12].upper()}, say",
        f"see crop_{FETCHED[:12]}.png",
        "worse on A.png than before",
        "without pictures.example.",
        "they own Bücher.example",
        "what Gone.Example asked for",
    ],
)
def test_a_reason_names_no_picture_address_or_host(reason, known):
    with pytest.raises(InputError, match="it names a picture, an address or a host, and it stays for ever"):
        checked_reason(reason, store=known)


@pytest.mark.parametrize(
    "reason",
    [
        "better than 0123456789ab by 0.02 on v1.2",
        f"a decade of {CRAWLED[:5]} pictures",
        "aa.png, b.png and ab.pngs are no files of ours",
        "what mine.example asked for; sub.pictures.example is another host",
    ],
)
def test_what_nobody_knows_may_stand_in_a_reason(reason, known):
    assert checked_reason(reason, store=known) == reason


FILES = Subjects(
    urls=frozenset(
        ["file:///photos/zelda%2005%20%C3%A9.jpg", "https://one.example/20260104-0044.jpg?size=big"]
    ),
    paths=frozenset(
        f"mine/file:{name}"
        for name in ("zelda 05 e\u0301.jpg", "1.jpg", "letter.jpg", "2026.png", "b/maud.png")
    ),
)


@pytest.mark.parametrize(
    "reason",
    [
        "zelda 05 é",
        "because of Zelda 05 É.JPG",
        "zelda%2005%20%c3%a9",
        "20260104-0044, says letter 7",
        "20260104-0044.jpg",
        "what maud asked for",
        "see letter.jpg",
        "see 1.jpg",
        "anna-smith asked",
    ],
)
def test_a_reason_names_no_file_that_goes_with_or_without_its_ending(reason):
    with pytest.raises(InputError, match="it names what is to be removed"):
        refuse_telling(reason, "/tmp/Anna-Smith.jpeg", FILES)


def test_of_an_earlier_reason_only_the_names_are_taken_out():
    picture = Subjects(image_ids=frozenset([CRAWLED]))
    told = f"Maud and Zelda 05 e\u0301 (zelda 05 \xe9.jpg), {CRAWLED[:7]}, letter 7"
    left = "[removed] and [removed] ([removed]), [removed], letter 7"
    assert without_names(told, "", FILES | picture) == left
    assert without_names("letter 7 of 2026", "", FILES | picture) == "letter 7 of 2026"


@pytest.mark.parametrize("reason", ["letter 1", "letter 7 of 2026", "maudlin, 120260104-00441", "zelda 05"])
def test_a_file_that_is_called_by_a_common_word_or_a_number_hinders_no_reason(reason):
    refuse_telling(reason, "/tmp/Anna-Smith.jpeg", FILES)
