"""Who is asking, and whether they may: sessions, forms of our own pages only, limits."""

import hmac
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Path
from starlette.requests import Request

from selfai_pipeline.labels.site.database import SiteDatabase
from selfai_pipeline.labels.site.limits import RateLimit
from selfai_pipeline.labels.site.people import Person, Role, person_of_session
from selfai_pipeline.labels.site.settings import SiteSettings
from selfai_pipeline.labels.site.tokens import form_token
from selfai_pipeline.sources.tabular.rows import is_text

COOKIE = "selfai_annotations"
MOST_FORM_BYTES = 4096

Form = dict[str, str]


class Refused(Exception):
    """A request that is not answered as asked: the status and the words of the page that is shown instead."""

    def __init__(self, status: int, title: str, text: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(title)
        self.status, self.title, self.text, self.retry_after_s = status, title, text, retry_after_s


def not_found() -> Refused:
    """The same for what does not exist, does not exist any more, and is somebody else's."""
    return Refused(404, "Nothing is here", "This is not there, or not for you.")


@dataclass(frozen=True)
class Visitor:
    """Somebody with a session; `form` is what their forms bring along."""

    person: Person
    session: str
    form: str


class Door:
    """Lets visitors in, or raises `Refused`."""

    def __init__(self, database: SiteDatabase, *, key: bytes, settings: SiteSettings) -> None:
        self.database, self.key = database, key
        self.annotators = RateLimit(settings.requests_per_minute)
        self.strangers = RateLimit(settings.strangers_per_minute)

    def enter(self, request: Request, *, role: Role | None = None, form: Form | None = None) -> Visitor:
        """Who asks, with a session that holds.

        Args:
            role: who may do this; None: everybody with a session.
            form: of a request that changes something; it has to come from a page of this session.
        """
        session = request.cookies.get(COOKIE, "")
        person = None
        if session:
            with self.database.reading() as connection:
                person = person_of_session(connection, session, key=self.key)
        if person is None:
            self.admit_stranger(request)
            raise Refused(
                403,
                "An invitation is needed",
                "Open the link that you were sent. If it does not work any more, ask for a new one.",
            )
        if not self.annotators.admits(person.number):
            raise _too_many()
        if role is not None and person.role is not role:
            raise not_found()
        expected = form_token(session)
        if form is not None and not (is_from_own_page(request) and _equal(form.get("form", ""), expected)):
            raise Refused(
                403, "This form is out of date", "Go back to the site's own page and send it from there."
            )
        return Visitor(person, session, expected)

    def admit_stranger(self, request: Request) -> None:
        """Count a request without a session against its address."""
        if not self.strangers.admits(request.client.host if request.client else ""):
            raise _too_many()


def _too_many() -> Refused:
    return Refused(429, "Too many requests", "Wait a minute, then go on.", retry_after_s=60)


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def is_from_own_page(request: Request) -> bool:
    """Whether a browser says that a page of this site sent the form; one that says nothing is believed."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return False
    return request.headers.get("sec-fetch-site") in (None, "same-origin", "none")


async def read_form(request: Request) -> Form:
    """The fields of a small form; of a field that comes twice, the last counts."""
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > MOST_FORM_BYTES:
            raise Refused(413, "This is too much", "No form of this site is so long.")
    try:
        fields = dict(parse_qsl(content.decode(), keep_blank_values=True, max_num_fields=20))
        if not all(map(is_text, fields.values())):
            raise ValueError("a value holds what no text of a database can")
        return fields
    except ValueError:
        raise Refused(400, "This cannot be read", "Send the form from the site's own page.") from None


Token = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]+$")]
"""In an address: what is of other characters is no token, and no text of a database perhaps."""

SentForm = Annotated[Form, Depends(read_form)]
