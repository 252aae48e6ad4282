"""Which addresses of a journal can be used, and what is said where its database cannot."""

import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.journal import Journal, open_journal
from selfai_pipeline.sources.outcomes import Found

DAY = "2026-01-01"


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("hunter2", "it is no address of a database"),
        ("postgresql:/ann:hunter2@host/selfai", "it is no address of a database"),
        ("postgresql://ann:hunter2@host:port/selfai", "it is no address of a database"),
        ("postgresql://ann:hunter2@1@host/selfai", "it has more than one @"),
        ("mysql://ann:hunter2@host/selfai", "no journal is kept in 'mysql', only in SQLite and PostgreSQL"),
        ("postgresql+psycopg2://ann:hunter2@host/x", r"no journal is kept in 'postgresql\+psycopg2'"),
        ("sqlite://", "it names no file"),
        ("sqlite:///:memory:", "it names no file"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_sentence_without_the_password(address: str, what: str) -> None:
    with pytest.raises(
        InputError, match=rf"^SELFAI_JOURNAL_URL: {what}.*Write it as postgresql://"
    ) as caught:
        Journal(address)
    assert "hunter2" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_without_the_driver_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(
        InputError, match=r"driver of PostgreSQL cannot be imported.*--editable '\.\[postgres\]'"
    ):
        Journal("postgresql://ann:hunter2@127.0.0.1/selfai")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_an_address_of_postgresql_means_its_third_driver(postgres: Any, scheme: str) -> None:
    with Journal(postgres.new_place().replace("postgresql", scheme)) as journal:
        assert (journal.engine.dialect.name, journal.engine.driver) == ("postgresql", "psycopg")
        assert journal.place == f"postgresql://selfai@127.0.0.1:{postgres.port}/selfai"


def assert_one_sentence(error: BaseException, secret: str) -> None:
    """One line, and the password neither in it nor in what it came of."""
    assert len(str(error).splitlines()) == 1
    one: BaseException | None = error
    while one is not None:
        assert secret not in str(one)
        one = one.__cause__


def test_a_server_that_does_not_answer_or_does_not_let_in_says_so(postgres: Any) -> None:
    refusals = {
        postgres.url(password="hunter2"): "password authentication failed",
        postgres.url("elsewhere", password="p@ss:w/rd%"): 'database "elsewhere" does not exist',
        "postgresql://ann:hunter2@127.0.0.1:1/selfai": "Connection refused",
        "postgresql://ann:hunter2@nowhere.invalid/selfai": "nowhere.invalid",
    }
    for address, cause in refusals.items():
        with pytest.raises(
            StorageError, match=rf"the journal postgresql://\w+@.*{cause}.*SELFAI_JOURNAL_URL"
        ) as caught:
            Journal(address)
        assert_one_sentence(caught.value, "hunter2")
        assert_one_sentence(caught.value, "p@ss")


def test_a_parameter_that_postgresql_does_not_know_is_named(postgres: Any) -> None:
    with pytest.raises(InputError, match=r'invalid connection option "colour".*behind its question mark'):
        Journal(postgres.url() + "?colour=red")


def test_a_user_who_may_not_write_is_one_sentence(postgres: Any) -> None:
    place = postgres.new_place()
    schema = place.rpartition("%3D")[2]
    Journal(place).engine.dispose()
    postgres.execute(
        f"CREATE ROLE reader_{schema} LOGIN PASSWORD 'hunter2'",
        f"GRANT USAGE ON SCHEMA {schema} TO reader_{schema}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader_{schema}",
    )
    options = f"?options=-csearch_path%3D{schema}"
    with Journal(postgres.url(user=f"reader_{schema}", password="hunter2") + options) as journal:
        with pytest.raises(StorageError, match=r"cannot be used \(permission denied for table") as caught:
            journal.discover("site", DAY, [Found("http://x.org/", "page")], most=10)
        assert_one_sentence(caught.value, "hunter2")
    with pytest.raises(StorageError, match=r"cannot be used \(no schema has been selected to create in"):
        Journal(postgres.url() + "?options=-csearch_path%3Dnowhere")


def test_a_database_that_does_not_keep_every_letter_is_refused(postgres: Any) -> None:
    postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(InputError, match=r"keeps text as LATIN1.*ENCODING 'UTF8' TEMPLATE template0"):
        Journal(postgres.url("latin"))


def test_a_statement_that_is_refused_leaves_its_parameters_out_of_the_error(journal: Journal) -> None:
    with pytest.raises(sa.exc.IntegrityError) as caught:
        journal.discover("site", DAY, [Found("http://x.org/mine", None)], most=10)  # type: ignore[arg-type]
    assert "hide_parameters" in str(caught.value)


def test_a_connection_that_lay_idle_while_the_server_was_restarted_is_made_anew(
    postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfai_pipeline.databases.SECONDS_BEFORE_RECONNECTING", 0)
    with Journal(postgres.new_place()) as journal:
        journal.discover("site", DAY, [Found("http://x.org/", "page")], most=10)
        postgres.stop()
        postgres.start()
        assert journal.knows("site", DAY)


def test_a_journal_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="journal"):
        Journal(f"sqlite:///{tmp_path / 'missing' / 'journal.sqlite'}")


@pytest.mark.parametrize("kept_bytes", [0, 100, 5000])
def test_a_damaged_journal_says_which_and_what_to_do(tmp_path: Path, kept_bytes: int) -> None:
    file = tmp_path / "journal.sqlite"
    with Journal(f"sqlite:///{file}") as journal:
        journal.discover("site", DAY, [Found(f"http://x.org/{n}", "page") for n in range(500)], most=500)
    content = file.read_bytes()
    file.write_bytes(content[:kept_bytes] + b"\xff" * (len(content) - kept_bytes))
    with pytest.raises(StorageError, match=r"journal\.sqlite is damaged .*copy of it back"):  # noqa: SIM117
        with Journal(f"sqlite:///{file}") as journal:
            list(journal.outcomes("site", DAY))


def test_the_journal_lies_in_the_home_unless_another_one_is_named(
    home: Home, journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for unset in ("", " "):
        monkeypatch.setenv("SELFAI_JOURNAL_URL", unset)
        assert home.journal_url == f"sqlite:///{home.root}/journal.sqlite"
    monkeypatch.setenv("SELFAI_JOURNAL_URL", journal_url)
    with open_journal(home) as journal:
        journal.discover("site", DAY, [Found("http://x.org/", "page")], most=10)
    with Journal(journal_url) as journal:
        assert journal.knows("site", DAY)
    assert not (home.root / "journal.sqlite").exists()
