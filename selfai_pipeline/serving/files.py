"""Previews and reports on loopback: what metadata links to."""

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from selfai_pipeline.home import Home
from selfai_pipeline.web import NO_SNIFFING, WithHeaders

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'",
    **NO_SNIFFING,
    "Referrer-Policy": "no-referrer",
}


def files_app(home: Home) -> FastAPI:
    """An application that serves `previews/` and `reports/` of the home, and nothing else of it."""
    app = FastAPI(title="Selfai previews", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(WithHeaders, headers=HEADERS)
    home.create()
    app.mount("/previews", StaticFiles(directory=home.previews), name="previews")
    app.mount("/reports", StaticFiles(directory=home.reports, html=True), name="reports")
    return app
