"""The pages of the annotation site, asked as a browser and as somebody who means harm would."""

import csv
import io
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from selfai_pipeline.errors import MissingVersion
from selfai_pipeline.labels.site.answering import give_score
from selfai_pipeline.labels.site.database import assignments, faces
from selfai_pipeline.labels.site.people import Role, invite, revoke
from selfai_pipeline.store import Store

KEY = b"k" * 32


@pytest.fixture(autouse=True)
def crops(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every crop that is asked for is in the store; its bytes are its own hash."""
    monkeypatch.setattr("selfai_pipeline.picture_store.PictureStore.get", lambda _, sha256: sha256.encode())


def test_a_link_is_exchanged_for_a_session_that_scripts_and_other_sites_cannot_use(
    site: Callable[..., Any],
) -> None:
    place = site()
    token = invite(place.crowd.database, "ann", key=KEY, group="north")
    browser = place.browser()
    page = browser.client.get(f"/join/{token}")
    assert "ann" in page.text
    assert "north" in page.text
    # Looking at the link, as the preview of a chat does, signs nobody in.
    assert "set-cookie" not in page.headers
    answer = browser.join(token)
    cookie = answer.headers["set-cookie"].lower()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie
    assert token not in cookie
    assert "Which score" in browser.client.get("/").text


def test_behind_https_the_cookie_is_never_sent_without(site: Callable[..., Any]) -> None:
    place = site()
    token = invite(place.crowd.database, "ann", key=KEY)
    client = place.browser().client
    answer = client.post(f"https://faces.example/join/{token}", follow_redirects=False)
    assert "secure" in answer.headers["set-cookie"].lower()


def test_wrong_replaced_and_revoked_links_look_the_same(site: Callable[..., Any]) -> None:
    place = site()
    database = place.crowd.database
    replaced = invite(database, "ann", key=KEY)
    invite(database, "ann", key=KEY)
    revoked = invite(database, "ben", key=KEY)
    revoke(database, "ben")
    client = place.browser().client
    answers = [client.get(f"/join/{token}") for token in ("x" * 43, replaced, revoked)]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1


def test_a_page_tells_nothing_about_the_picture(
    site: Callable[..., Any], image_id: Callable[[str], str]
) -> None:
    place = site(3)
    client = place.browser("ann").client
    page = client.get("/")
    crop = client.get(f"/crop/{place.browser().hidden(page.text, 'token')}")
    told = page.text + str(page.headers) + str(crop.headers)
    for row in place.crowd.rows(sa.select(faces.c.image_id, faces.c.crop_sha256)):
        assert row.image_id not in told
        assert row.crop_sha256 not in told
    assert "face 0" not in told
    assert "photos" not in told
    assert crop.headers["content-type"] == "image/png"
    assert crop.headers["cache-control"] == "no-store"


def test_a_crop_is_served_to_its_annotator_as_long_as_it_is_shown(site: Callable[..., Any]) -> None:
    place = site(3)
    ann, ben, boss, nobody = place.browser("ann"), place.browser("ben"), place.admin(), place.browser()
    token = ann.hidden(ann.client.get("/").text, "token")
    assert ann.client.get(f"/crop/{token}").status_code == 200
    assert ben.client.get(f"/crop/{token}").status_code == 404
    assert boss.client.get(f"/crop/{token}").status_code == 404
    assert nobody.client.get(f"/crop/{token}").status_code == 403
    ids = place.crowd.rows(sa.select(faces.c.id, faces.c.image_id, faces.c.crop_sha256))
    guesses = {str(value) for row in ids for value in row}
    assert {ann.client.get(f"/crop/{guess}").status_code for guess in guesses} == {404}
    assert ann.answer(score="4").status_code == 303
    assert ann.client.get(f"/crop/{token}").status_code == 404


def test_scoring_goes_on_to_the_next_face_until_nothing_is_left(site: Callable[..., Any]) -> None:
    place = site(2)
    ann = place.browser("ann")
    assert ann.answer(score="0").headers["location"] == "/"
    assert "Your last answer: 0" in ann.client.get("/").text
    ann.answer(score="9")
    page = ann.client.get("/").text
    assert "Nothing is left" in page
    assert "you answered 2 times" in page
    scores = [
        row.score for row in place.crowd.rows(sa.select(assignments.c.score).order_by(assignments.c.id))
    ]
    assert scores == [0, 9]


def test_an_answer_is_taken_back_from_the_last_page_too(site: Callable[..., Any]) -> None:
    place = site(1)
    ann = place.browser("ann")
    ann.answer(score="4")
    form = ann.hidden(ann.client.get("/").text, "form")
    assert ann.client.post("/undo", data={"form": form}).status_code == 200
    assert ann.answer(score="5").status_code == 303
    form = ann.hidden(ann.client.get("/").text, "form")
    ann.client.post("/undo", data={"form": form})
    assert ann.client.post("/undo", data={"form": form}).status_code == 409


@pytest.mark.parametrize(
    "fields", [{"score": "10"}, {"score": "-1"}, {"score": "٣"}, {"score": ""}, {"skip": "bored"}, {}]
)
def test_what_is_no_answer_is_not_kept(site: Callable[..., Any], fields: dict[str, str]) -> None:
    place = site(1)
    assert place.browser("ann").answer(**fields).status_code == 400
    assert place.crowd.rows(sa.select(assignments).where(assignments.c.state != "open")) == []


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({"form": ""}, {}),
        ({"form": "0" * 64}, {}),
        ({}, {"origin": "http://evil.example"}),
        ({}, {"origin": "null"}),
        ({}, {"sec-fetch-site": "cross-site"}),
        ({}, {"sec-fetch-site": "same-site"}),
    ],
)
def test_a_form_of_another_site_is_refused(
    site: Callable[..., Any], form: dict[str, str], headers: dict[str, str]
) -> None:
    place = site(1)
    ann = place.browser("ann")
    page = ann.client.get("/").text
    values = {"form": ann.hidden(page, "form"), "token": ann.hidden(page, "token"), "score": "4", **form}
    assert ann.client.post("/answer", data=values, headers=headers).status_code == 403
    values["form"] = ann.hidden(page, "form")
    own = {"origin": "http://127.0.0.1:8660", "sec-fetch-site": "same-origin"}
    assert ann.client.post("/answer", data=values, headers=own, follow_redirects=False).status_code == 303


def test_the_form_of_one_session_is_worth_nothing_in_another(site: Callable[..., Any]) -> None:
    place = site(3)
    ann, ben = place.browser("ann"), place.browser("ben")
    stolen = ann.hidden(ann.client.get("/").text, "form")
    assert ben.answer(form=stolen, score="4").status_code == 403


def test_another_site_cannot_sign_somebody_in(site: Callable[..., Any]) -> None:
    place = site()
    token = invite(place.crowd.database, "mallory", key=KEY)
    client = place.browser().client
    answer = client.post(f"/join/{token}", headers={"origin": "http://evil.example"})
    assert answer.status_code == 404
    assert "set-cookie" not in answer.headers


def test_every_answer_has_the_headers_that_keep_browsers_safe(site: Callable[..., Any]) -> None:
    place = site(1)
    ann = place.browser("ann")
    for path, status in (("/", 200), ("/nothing", 404), ("/crop/x", 404), ("/admin", 404)):
        answer = ann.client.get(path)
        assert answer.status_code == status
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "<script>" not in answer.text
        assert "style=" not in answer.text
    assert ann.client.get("/static/site.js").status_code == 200
    for path in ("/docs", "/openapi.json", "/static/../app.py", "/static/%2e%2e/app.py"):
        assert ann.client.get(path).status_code == 404


def test_too_many_requests_wait(site: Callable[..., Any]) -> None:
    place = site(1, requests_per_minute=5, strangers_per_minute=4)
    ann = place.browser("ann")
    statuses = [ann.client.get("/").status_code for _ in range(8)]
    assert statuses == [200] * 5 + [429] * 3
    stranger = place.browser().client
    statuses = [stranger.get(f"/join/{number}").status_code for number in range(6)]
    # Signing in was the first of the four.
    assert statuses == [404] * 3 + [429] * 3
    assert stranger.get("/").headers["retry-after"] == "60"


def test_a_form_that_is_too_long_is_not_read(site: Callable[..., Any]) -> None:
    ann = site(1).browser("ann")
    assert ann.client.post("/answer", content=b"x" * 5000).status_code == 413
    assert ann.client.post("/answer", content=b"\xff=1").status_code == 400
    assert ann.client.post("/answer", content="&".join(f"a{n}=1" for n in range(50))).status_code == 400


def test_annotators_do_not_see_the_administrators_pages_and_the_other_way_round(
    site: Callable[..., Any],
) -> None:
    place = site(1)
    ann, boss = place.browser("ann"), place.admin()
    for path in ("/admin", "/admin/export.csv", "/admin/export.jsonl", "/admin/crop/x"):
        assert ann.client.get(path).status_code == 404
        assert place.browser().client.get(path).status_code == 403
    assert ann.answer(score="4").status_code == 303
    form = ann.hidden(ann.client.get("/").text, "form")
    assert ann.client.post("/admin/decide", data={"form": form}).status_code == 404
    assert boss.client.get("/", follow_redirects=False).headers["location"] == "/admin"
    page = boss.client.get("/admin").text
    assert boss.client.post("/answer", data={"form": boss.hidden(page, "form")}).status_code == 404


def test_signing_out_ends_the_session(site: Callable[..., Any]) -> None:
    ann = site(1).browser("ann")
    cookie = ann.client.cookies["selfai_annotations"]
    form = ann.hidden(ann.client.get("/").text, "form")
    assert "signed out" in ann.client.post("/leave", data={"form": form}).text
    ann.client.cookies.set("selfai_annotations", cookie)
    assert ann.client.get("/").status_code == 403


def test_a_report_is_seen_and_decided_by_the_administrator(site: Callable[..., Any]) -> None:
    place = site(1)
    ann, boss = place.browser("ann"), place.admin()
    ann.answer(skip="looks_under_age")
    page = boss.client.get("/admin").text
    assert "Looks under age (ann)" in page
    token = boss.hidden(page, "token")
    assert boss.client.get(f"/admin/crop/{token}").status_code == 200
    values = {"form": boss.hidden(page, "form"), "token": token, "decision": "keep_out"}
    assert boss.client.post("/admin/decide", data=values, follow_redirects=False).status_code == 303
    assert "Looks under age" not in boss.client.get("/admin").text
    assert boss.client.get(f"/admin/crop/{token}").status_code == 404
    assert "Nothing is left" in place.browser("ben").client.get("/").text


def test_the_administrator_sees_progress_agreement_and_who_carries_no_signal(
    site: Callable[..., Any],
) -> None:
    place = site(40, wanted_annotators=4)
    crowd = place.crowd
    truth = {row.id: row.place % 10 for row in crowd.rows(sa.select(faces.c.id, faces.c.place))}
    for name, shift in (("ann", 0), ("ben", 1), ("cleo", -1), ("bored", None)):
        person = crowd.person(name, group="north")
        while (shown := crowd.show(person)) is not None:
            ((face,),) = crowd.rows(sa.select(assignments.c.face).where(assignments.c.id == shown.number))
            score = 5 if shift is None else min(9, max(0, truth[face] + shift))
            give_score(crowd.database, person, shown.token, score)
    page = " ".join(place.admin().client.get("/admin").text.split())
    assert "40 of 40 faces have the wanted 4 annotators (160 scores)" in page
    rows = {
        name: page.split(f'<th scope="row">{name}</th>')[1].split("</tr>")[0] for name in ("ben", "bored")
    }
    assert "no signal" in rows["bored"]
    assert "no signal" not in rows["ben"]
    assert "<td>0.00 (0)" not in page


def test_exports_hold_every_answer_and_no_secret(
    site: Callable[..., Any], image_id: Callable[[str], str]
) -> None:
    place = site(2)
    ann, boss = place.browser("ann", group="north"), place.admin()
    ann.answer(score="7")
    ann.client.post("/undo", data={"form": ann.hidden(ann.client.get("/").text, "form")})
    ann.answer(score="3")
    ann.answer(skip="not_a_face")
    rows = list(csv.DictReader(io.StringIO(boss.client.get("/admin/export.csv").text)))
    assert [(row["said"], row["score"], row["reason"], row["counts"]) for row in rows] == [
        ("score", "7", "", "False"),
        ("undo", "", "", "False"),
        ("score", "3", "", "True"),
        ("skip", "", "not_a_face", "True"),
    ]
    assert {row["image"] for row in rows} == {image_id("face 0"), image_id("face 1")}
    lines = [json.loads(line) for line in boss.client.get("/admin/export.jsonl").text.splitlines()]
    assert [line["score"] for line in lines] == [7, None, 3, None]
    assert {line["group"] for line in lines} == {"north"}


def test_a_database_that_fails_acknowledges_nothing(
    site: Callable[..., Any], caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    place = site(1)
    database = place.crowd.database
    ann = place.browser("ann")
    page = ann.client.get("/").text
    values = {"form": ann.hidden(page, "form"), "token": ann.hidden(page, "token"), "score": "4"}

    def send() -> int:
        return int(ann.client.post("/answer", data=values, follow_redirects=False).status_code)

    with caplog.at_level(logging.ERROR, "selfai.site"):
        if database.engine.dialect.name == "sqlite":
            with database.reading() as connection:
                connection.exec_driver_sql("PRAGMA query_only = ON")
                driver = connection.connection.driver_connection
            assert send() == 503
            driver.execute("PRAGMA query_only = OFF")
        else:
            server: Any = request.getfixturevalue("postgres")
            server.stop()
            assert send() == 503
            server.start()
    assert "database of annotations" in caplog.text
    assert [row.state for row in place.crowd.rows(sa.select(assignments.c.state))] == ["open"]
    assert send() == 303
    assert [row.state for row in place.crowd.rows(sa.select(assignments.c.state))] == ["rated"]


def test_what_no_database_keeps_as_text_is_no_token(site: Callable[..., Any]) -> None:
    place = site(1)
    ann, boss = place.browser("ann"), place.admin()
    for path in ("/crop/%00", "/join/%00", "/crop/%ff", "/crop/a.b"):
        assert ann.client.get(path).status_code == 404
    assert boss.client.get("/admin/crop/%00").status_code == 404
    assert ann.answer(token="\0", score="4").status_code == 400


def test_a_face_whose_crop_is_lost_is_not_scored_unseen(
    site: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = site(2)
    ann = place.browser("ann")
    page = ann.client.get("/").text
    values = {"form": ann.hidden(page, "form"), "token": ann.hidden(page, "token"), "score": "4"}

    def lose(_: object, sha256: str) -> bytes:
        raise MissingVersion(f"{sha256} is lost")

    with monkeypatch.context() as without:
        without.setattr("selfai_pipeline.picture_store.PictureStore.get", lose)
        assert ann.client.get(f"/crop/{values['token']}").status_code == 404
    assert "is lost or damaged" in caplog.text
    answer = ann.client.post("/answer", data=values, follow_redirects=False)
    assert answer.headers["location"] == "/?late=1"
    assert "came too late" in ann.client.get("/?late=1").text
    assert ann.answer(score="4").headers["location"] == "/"
    assert "Nothing is left" in ann.client.get("/").text


def test_the_administrator_sees_how_far_groups_of_annotators_agree(site: Callable[..., Any]) -> None:
    place = site(24, wanted_annotators=5)
    crowd = place.crowd
    truth = {row.id: row.place % 10 for row in crowd.rows(sa.select(faces.c.id, faces.c.place))}
    groups = {"ann": ("north", 0), "ben": ("north", 0), "cleo": ("south", 2), "dora": ("south", 2)}
    groups["emil"] = ("east", 0)
    for name, (group, shift) in groups.items():
        person = crowd.person(name, group=group)
        while (shown := crowd.show(person)) is not None:
            ((face,),) = crowd.rows(sa.select(assignments.c.face).where(assignments.c.id == shown.number))
            give_score(crowd.database, person, shown.token, 9 - min(9, truth[face] // 2 + shift))
    boss = place.admin()
    page = " ".join(boss.client.get("/admin").text.split())
    north, both = (
        page.split(f'<th scope="row">{name}</th>')[1].split("</tr>")[0]
        for name in ("north", "north and south")
    )
    assert "<td>2</td> <td>24</td> <td>1.00</td>" in north
    assert "<td>24</td> <td>1.00</td> <td>1.00</td> <td>2.00</td>" in both
    # A group of one shows nothing: it would be about a person.
    assert "<td>it has one annotator</td>" in page.split('<th scope="row">east</th>')[1].split("</tr>")[0]
    assert "east and north" not in page


def test_without_groups_the_administrator_sees_no_table_of_them(site: Callable[..., Any]) -> None:
    place = site(1)
    place.browser("ann").answer(score="4")
    assert "Groups of annotators" not in place.admin().client.get("/admin").text


def test_a_role_is_kept_by_the_link(site: Callable[..., Any]) -> None:
    place = site(1)
    token = invite(place.crowd.database, "boss", key=KEY, role=Role.ADMIN)
    assert "administrators" in place.browser().client.get(f"/join/{token}").text
