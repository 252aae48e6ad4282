"""The pages that administrators see: figures, reports to decide about, exports."""

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from selfai_pipeline.labels.site.door import SentForm, Token, not_found
from selfai_pipeline.labels.site.figures import site_figures
from selfai_pipeline.labels.site.people import Role
from selfai_pipeline.labels.site.ratings import as_csv, as_json_lines, everything_said
from selfai_pipeline.labels.site.reports import Decision, decide, undecided, undecided_crop
from selfai_pipeline.labels.site.site import Site

Lines = Callable[[Iterator[dict[str, Any]]], Iterator[str]]


def admin_pages(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/admin")
    def show_figures(request: Request) -> Response:
        visitor = site.door.enter(request, role=Role.ADMIN)
        figures = site_figures(site.database, settings=site.settings)
        with site.database.reading() as connection:
            reports = undecided(connection)
        return site.page(
            "admin.html",
            progress=figures.progress,
            agreement=figures.agreement,
            groups=figures.groups,
            annotators=figures.annotators,
            reports=reports,
            wanted=site.settings.wanted_annotators,
            form=visitor.form,
        )

    @routes.get("/admin/crop/{token}")
    def show_reported_crop(request: Request, token: Token) -> Response:
        site.door.enter(request, role=Role.ADMIN)
        with site.database.reading() as connection:
            sha256 = undecided_crop(connection, token)
        return site.crop(sha256)

    @routes.post("/admin/decide")
    def take_decision(request: Request, form: SentForm) -> Response:
        visitor = site.door.enter(request, role=Role.ADMIN, form=form)
        if form.get("decision") not in list(Decision):
            raise not_found()
        decision = Decision(form["decision"])
        if not decide(site.database, visitor.person.number, form.get("token", ""), decision):
            raise not_found()
        return RedirectResponse("/admin", 303)

    def export(request: Request, name: str, kind: str, lines: Lines) -> Response:
        site.door.enter(request, role=Role.ADMIN)
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(lines(everything_said(site.database)), media_type=kind, headers=headers)

    @routes.get("/admin/export.csv")
    def export_csv(request: Request) -> Response:
        return export(request, "annotations.csv", "text/csv; charset=utf-8", as_csv)

    @routes.get("/admin/export.jsonl")
    def export_json_lines(request: Request) -> Response:
        return export(request, "annotations.jsonl", "application/jsonl; charset=utf-8", as_json_lines)

    return routes
