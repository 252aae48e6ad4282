"""Previews and reports on loopback: what metadata links to."""

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.requests import Request
from starlette.responses import Response

from selfai_pipeline.home import Home

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def files_app(home: Home) -> FastAPI:
    """An application that serves `previews/` and `reports/` of the home, and nothing else of it."""
    app = FastAPI(title="Selfai previews", docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def with_headers(request: Request, call_next):  # type: ignore[no-untyped-def]
        response: Response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    home.create()
    app.mount("/previews", StaticFiles(directory=home.previews), name="previews")
    app.mount("/reports", StaticFiles(directory=home.reports, html=True), name="reports")
    return app
