"""The reason of a promotion stays for ever: what a removal may have to reach is refused in it."""

import hashlib
import re
from datetime import UTC, datetime

import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.release.reasons import checked_reason
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
        "without pictures.example.",
        "they own Bücher.example",
        "what Gone.Example asked for",
    ],
)
def test_a_reason_names_no_picture_address_or_host(reason, known):
    with pytest.raises(InputError, match="it names a picture, an address or a host, and the log keeps it"):
        checked_reason(reason, store=known)


@pytest.mark.parametrize(
    "reason",
    [
        "better than 0123456789ab by 0.02 on v1.2",
        f"a decade of {CRAWLED[:5]} pictures",
        "what mine.example asked for; sub.pictures.example is another host",
    ],
)
def test_what_nobody_knows_may_stand_in_a_reason(reason, known):
    assert checked_reason(reason, store=known) == reason
