"""An annotation site over drawn faces, in SQLite and in PostgreSQL, and people who score there."""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.responses import Response

from selfai_pipeline.labels.site.answering import give_score
from selfai_pipeline.labels.site.app import site_app
from selfai_pipeline.labels.site.assigning import Assignment, next_assignment
from selfai_pipeline.labels.site.database import SiteDatabase, people
from selfai_pipeline.labels.site.faces import current_faces, take_in_faces
from selfai_pipeline.labels.site.keeper import Keeper
from selfai_pipeline.labels.site.people import Role, invite
from selfai_pipeline.labels.site.settings import SiteSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record, TableRef

KEY = b"k" * 32
PASSED = {"completeness": True, "sanity": True, "quality_floor": True}


@dataclass
class Crowd:
    """A site without its pages: invites annotators by name, shows them faces and keeps what they say."""

    database: SiteDatabase
    store: Store
    settings: SiteSettings
    generator: random.Random

    def person(self, name: str, **values: Any) -> int:
        """The number of an annotator, invited for this."""
        invite(self.database, name, key=KEY, **values)
        with self.database.reading() as connection:
            number = connection.scalar(
                people.select().with_only_columns(people.c.id).where(people.c.name == name)
            )
        assert number is not None
        return int(number)

    def show(self, person: int) -> Assignment | None:
        return next_assignment(self.database, person, settings=self.settings, generator=self.generator)

    def score(self, person: int, score: int = 5) -> Assignment | None:
        """Show the next face and score it; None where nothing is left."""
        shown = self.show(person)
        if shown is not None:
            assert give_score(self.database, person, shown.token, score) == "kept"
        return shown

    def score_all(self, person: int, score: int = 5) -> int:
        """Score until nothing is left; returns how many."""
        count = 0
        while self.score(person, score) is not None:
            count += 1
        return count

    def take_in(self) -> int:
        return take_in_faces(
            self.database, current_faces(self.store), store=self.store, settings=self.settings
        )

    def rows(self, query: Any) -> list[Any]:
        with self.database.reading() as connection:
            return list(connection.execute(query).all())


@pytest.fixture
def publish(store: Store) -> Callable[[TableRef], None]:
    """Makes a version of aligned_faces the current one of its day, and lets it pass its checks."""

    def make_current(ref: TableRef, *, passed: bool = True) -> None:
        store.tables.point(Record(ref=ref, code_version="1", settings={}, inputs={}))
        store.tables.judge(ref, {**PASSED, "sanity": passed})

    return make_current


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, store: Store) -> Iterator[SiteDatabase]:
    url = store.home.annotations_url
    if request.param == "postgresql":
        server: Any = request.getfixturevalue("postgres")
        url = server.new_place()
    with SiteDatabase(url) as opened:
        yield opened


@pytest.fixture
def crowd(
    database: SiteDatabase,
    store: Store,
    aligned: Callable[..., TableRef],
    publish: Callable[[TableRef], None],
) -> Callable[..., Crowd]:
    """A site with so many faces; without repeats and gold unless a test asks for them."""

    def make(faces: int = 6, **settings: Any) -> Crowd:
        publish(aligned([f"face {number}" for number in range(faces)]))
        values = {"repeat_share": 0.0, "gold_share": 0.0, **settings}
        site = Crowd(database, store, SiteSettings(**values), random.Random(0))
        site.take_in()
        return site

    return make


@dataclass
class Browser:
    """Somebody at the pages of a site: follows the link, sends its forms with what they hold."""

    client: TestClient

    def join(self, token: str) -> Response:
        return self.client.post(f"/join/{token}", follow_redirects=False)  # type: ignore[return-value]

    def hidden(self, page: str, name: str) -> str:
        found = re.search(rf'name="{name}" value="([^"]+)"', page)
        assert found, page
        return found[1]

    def answer(self, **fields: str) -> Any:
        page = self.client.get("/").text
        values = {"form": self.hidden(page, "form"), "token": self.hidden(page, "token"), **fields}
        return self.client.post("/answer", data=values, follow_redirects=False)


@dataclass
class Site:
    """A site with its pages."""

    crowd: Crowd
    app: Any

    def browser(self, name: str = "", **values: Any) -> Browser:
        """A new browser, signed in as somebody who is invited for this; as nobody without a name."""
        browser = Browser(TestClient(self.app, base_url="http://127.0.0.1:8660"))
        if name:
            token = invite(self.crowd.database, name, key=KEY, **values)
            assert browser.join(token).status_code == 303
        return browser

    def admin(self) -> Browser:
        return self.browser("boss", role=Role.ADMIN)


@pytest.fixture
def site(crowd: Callable[..., Crowd], store: Store) -> Callable[..., Site]:
    def make(faces: int = 3, **settings: Any) -> Site:
        with_faces = crowd(faces, **settings)
        keeper = Keeper(with_faces.database, store=store, settings=with_faces.settings)
        app = site_app(keeper, store=store, key=KEY, settings=with_faces.settings, generator=random.Random(0))
        return Site(with_faces, app)

    return make
