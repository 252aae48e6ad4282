"""The pages that annotators see: the invitation, one face at a time, and what they do with it."""

from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from selfai_pipeline.labels.site.answering import (
    IN_WORDS,
    REPORTS,
    Outcome,
    Skip,
    give_score,
    shown_crop,
    skip,
    undo,
)
from selfai_pipeline.labels.site.assigning import next_assignment
from selfai_pipeline.labels.site.database import SiteDatabase, assignments
from selfai_pipeline.labels.site.door import COOKIE, Refused, SentForm, Token, is_from_own_page, not_found
from selfai_pipeline.labels.site.people import Role, begin_session, end_session, person_of_link
from selfai_pipeline.labels.site.site import Site

SCORES = {str(score): score for score in range(10)}


def annotator_pages(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/join/{token}")
    def show_invitation(request: Request, token: Token) -> Response:
        site.door.admit_stranger(request)
        with site.database.reading() as connection:
            person = person_of_link(connection, token, key=site.key)
        if person is None:
            raise not_found()
        return site.page("join.html", person=person, question=site.settings.question)

    @routes.post("/join/{token}")
    def accept_invitation(request: Request, token: Token) -> Response:
        site.door.admit_stranger(request)
        if not is_from_own_page(request):
            raise not_found()
        with site.database.writing() as connection:
            person = person_of_link(connection, token, key=site.key)
            if person is None:
                raise not_found()
            session = begin_session(connection, person, key=site.key, days=site.settings.session_days)
        answer = RedirectResponse("/admin" if person.role is Role.ADMIN else "/", 303)
        answer.set_cookie(
            COOKIE,
            session,
            max_age=int(site.settings.session_days * 24 * 3600),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @routes.get("/")
    def show_face(request: Request, late: str = "") -> Response:
        visitor = site.door.enter(request)
        if visitor.person.role is Role.ADMIN:
            return RedirectResponse("/admin", 303)
        person = visitor.person.number
        shown = next_assignment(site.database, person, settings=site.settings, generator=site.draws)
        said = _said_by(site.database, person)
        values = {"name": visitor.person.name, "form": visitor.form, **said}
        if shown is None:
            return site.page("done.html", **values)
        reasons = {reason.value: words for reason, words in IN_WORDS.items()}
        return site.page(
            "rate.html",
            **values,
            token=shown.token,
            question=site.settings.question,
            reasons=reasons,
            is_late=late == "1",
        )

    @routes.get("/crop/{token}")
    def show_crop(request: Request, token: Token) -> Response:
        visitor = site.door.enter(request, role=Role.ANNOTATOR)
        with site.database.reading() as connection:
            sha256 = shown_crop(connection, visitor.person.number, token)
        return site.crop(sha256)

    @routes.post("/answer")
    def take_answer(request: Request, form: SentForm) -> Response:
        visitor = site.door.enter(request, role=Role.ANNOTATOR, form=form)
        person, token = visitor.person.number, form.get("token", "")
        if form.get("skip") in list(Skip):
            outcome = skip(site.database, person, token, Skip(form["skip"]), settings=site.settings)
        elif form.get("score") in SCORES:
            outcome = give_score(site.database, person, token, SCORES[form["score"]])
        else:
            raise Refused(400, "This is no answer", "Choose a number from 0 to 9, or a reason to skip.")
        if outcome is Outcome.UNKNOWN:
            raise not_found()
        return RedirectResponse("/?late=1" if outcome is Outcome.TOO_LATE else "/", 303)

    @routes.post("/undo")
    def take_back(request: Request, form: SentForm) -> Response:
        visitor = site.door.enter(request, role=Role.ANNOTATOR, form=form)
        if undo(site.database, visitor.person.number, settings=site.settings) is None:
            raise Refused(
                409,
                "It cannot be taken back",
                "There is no answer yet, it was a report that is being looked into, or others have the face.",
            )
        return RedirectResponse("/", 303)

    @routes.post("/leave")
    def leave(request: Request, form: SentForm) -> Response:
        visitor = site.door.enter(request, form=form)
        with site.database.writing() as connection:
            end_session(connection, visitor.session, key=site.key)
        text = "To go on, open the link that you were sent."
        answer = site.page("message.html", title="You are signed out", text=text, back=False)
        answer.delete_cookie(COOKIE)
        return answer

    return routes


def _said_by(database: SiteDatabase, person: int) -> dict[str, Any]:
    """How often an annotator answered, the last answer in words (empty without), whether it may be undone."""
    own = (assignments.c.person == person, assignments.c.answered_at.is_not(None))
    count = sa.select(sa.func.count()).select_from(assignments).where(*own)
    newest = (
        sa.select(assignments.c.score, assignments.c.reason)
        .where(*own)
        .order_by(assignments.c.answered_at.desc(), assignments.c.id.desc())
        .limit(1)
    )
    with database.reading() as connection:
        row = connection.execute(newest).first()
        answered = connection.scalar(count) or 0
    if row is None:
        return {"answered": answered, "last": "", "can_undo": False}
    last = str(row.score) if row.reason is None else IN_WORDS[Skip(row.reason)]
    return {"answered": answered, "last": last, "can_undo": row.reason not in REPORTS}
