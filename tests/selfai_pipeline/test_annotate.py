"""The commands around the annotation site: links, revocation, gold, and a port that is taken."""

import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from click import BadParameter
from click.testing import CliRunner

from selfai_pipeline.cli import commands
from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.site.database import SiteDatabase, faces, people
from selfai_pipeline.labels.site.people import person_of_link
from selfai_pipeline.labels.site.tokens import load_key
from selfai_pipeline.schemas import ALIGNED_FACES, RAW_CRAWL
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record
from selfai_pipeline.turns import TurnNotCome, alone


@pytest.fixture
def run() -> Callable[..., str]:
    """Runs a command; what it raises comes through."""

    def invoke(*arguments: str) -> str:
        result = CliRunner().invoke(commands, arguments, catch_exceptions=False, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result.output.strip()

    return invoke


def test_an_invitation_is_a_link_that_the_site_knows(run: Callable[..., str], home: Home) -> None:
    link = run("invite", "ann", "--group", "north", "--url", "https://faces.example/")
    base, _, token = link.rpartition("/join/")
    assert base == "https://faces.example"
    with SiteDatabase(home.annotations_url) as database, database.reading() as connection:
        person = person_of_link(connection, token, key=load_key(home.annotations_key))
    assert (person.name, person.group) == ("ann", "north")


def test_a_link_leads_to_this_machine_unless_a_setting_says_where_else(
    run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("invite", "ann").startswith("http://127.0.0.1:8660/join/")
    monkeypatch.setenv("SELFAI_ANNOTATE_PORT", "9001")
    assert run("invite", "ann").startswith("http://127.0.0.1:9001/join/")
    monkeypatch.setenv("SELFAI_ANNOTATE_URL", "https://faces.example")
    assert run("invite", "ann").startswith("https://faces.example/join/")


def test_a_revoked_link_leads_nowhere_and_an_unknown_name_is_said(
    run: Callable[..., str], home: Home
) -> None:
    run("invite", "ann")
    assert "can no longer score" in run("revoke", "ann")
    with SiteDatabase(home.annotations_url) as database, database.reading() as connection:
        assert connection.execute(people.select()).one().revoked_at is not None
    with pytest.raises(InputError, match="nobody called 'ben'"):
        run("revoke", "ben")


def test_the_database_lies_where_the_setting_says(
    run: Callable[..., str], home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("SELFAI_ANNOTATIONS_URL", f"sqlite:///{tmp_path / 'elsewhere.sqlite'}")
    run("invite", "ann")
    assert (tmp_path / "elsewhere.sqlite").exists()
    assert not home.own_annotations.exists()
    monkeypatch.setenv("SELFAI_ANNOTATIONS_URL", "mysql://ann:hunter2@host/x")
    with pytest.raises(
        InputError, match=r"SELFAI_ANNOTATIONS_URL: no database of annotations is kept in 'mysql'"
    ) as caught:
        run("invite", "ann")
    assert "hunter2" not in str(caught.value)


def test_a_port_that_is_taken_is_said_before_anything_is_served(run: Callable[..., str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(InputError, match=rf"port {port} is in use.*--port or SELFAI_ANNOTATE_PORT"):
            run("annotate", "--port", port)


def test_a_port_that_is_none_is_said(run: Callable[..., str]) -> None:
    with pytest.raises(BadParameter, match="99999"):
        run("annotate", "--port", "99999")


def test_gold_before_anything_was_crawled_says_what_comes_first(
    run: Callable[..., str], tmp_path: Any
) -> None:
    file = tmp_path / "gold.csv"
    file.write_text("image,score\n1.jpg,5\n")
    with pytest.raises(InputError, match=r"no picture is stored yet.*Materialize the data stages"):
        run("gold", str(file))


@pytest.fixture
def faces_of(store: Store) -> list[str]:
    """The image_ids of two pictures with an aligned face; 2.jpg, the third that was crawled, has none."""
    image_ids = ["a" * 64, "b" * 64, "c" * 64]
    crawled = [
        {
            **dict.fromkeys(RAW_CRAWL.names),
            "image_id": image_id,
            "url": f"file:{number}.jpg",
            "source": "mine",
            "fetched_at": datetime(2026, 1, 1, tzinfo=UTC),
            "status": "stored",
            "attributes": json.dumps({"name": f"{number}.jpg"}),
        }
        for number, image_id in enumerate(image_ids)
    ]
    aligned = [
        {
            **dict.fromkeys(ALIGNED_FACES.names),
            "image_id": image_id,
            "face": 0,
            "source": "mine",
            "url": f"file:{number}.jpg",
            "faces_found": 1,
            "crop_sha256": image_id,
        }
        for number, image_id in enumerate(image_ids[:2])
    ]
    for asset, rows in (("raw_crawl", crawled), ("aligned_faces", aligned)):
        ref = store.tables.write(rows, asset=asset, partition="2026-01-01")
        store.tables.point(Record(ref=ref, code_version="1", settings={}, inputs={}))
        store.tables.judge(ref, {"completeness": True, "sanity": True, "quality_floor": True})
    return image_ids[:2]


def test_gold_pictures_come_by_their_names_on_their_own_scale(
    run: Callable[..., str], home: Home, faces_of: list[str], tmp_path: Any
) -> None:
    file = tmp_path / "gold.csv"
    file.write_text("image,score\n1.jpg,5\n")
    said = run("gold", str(file), "--minimum", "1", "--maximum", "5")
    assert said == "1 of 1 pictures are gold ones of the site now."
    with SiteDatabase(home.annotations_url) as database, database.reading() as connection:
        known = {row.image_id: row.gold_score for row in connection.execute(faces.select())}
    assert known == {faces_of[0]: None, faces_of[1]: 9.0}
    file.write_text("image,score\n1.jpg,5\n2.jpg,4\n")
    assert run("gold", str(file)).endswith("site now; the others have no aligned face, or several.")
    file.write_text("image,score\n1.jpg,5\nghost.jpg,3\n")
    with pytest.raises(InputError, match=r"gold\.csv, line 3: 'ghost\.jpg' names no picture"):
        run("gold", str(file))


def test_gold_and_a_removal_wait_for_each_other(
    run: Callable[..., str], home: Home, faces_of: list[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a picture could come into the site's database behind the removal that takes it out."""
    from selfai_pipeline.labels.site import faces as site_faces

    take_in = site_faces.take_in_faces

    def taking_in(*arguments: Any, **named: Any) -> int:
        with pytest.raises(TurnNotCome), alone(home, wait_s=0, tell=lambda: None):
            pytest.fail("a removal began")
        return take_in(*arguments, **named)

    monkeypatch.setattr(site_faces, "take_in_faces", taking_in)
    file = tmp_path / "gold.csv"
    file.write_text("image,score\n1.jpg,5\n")
    assert run("gold", str(file)) == "1 of 1 pictures are gold ones of the site now."
    plan = home.removals / "unfinished" / "0123456789ab.json"
    plan.parent.mkdir()
    plan.write_text("{}")
    with pytest.raises(InputError, match=r"a removal was interrupted.*selfai remove --resume"):
        run("gold", str(file))
