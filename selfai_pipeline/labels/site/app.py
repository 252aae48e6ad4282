"""The pages of the annotation site."""

import logging
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.requests import Request
from starlette.responses import Response

from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.labels.site.admin_pages import admin_pages
from selfai_pipeline.labels.site.annotator_pages import annotator_pages
from selfai_pipeline.labels.site.door import Door, Refused, not_found
from selfai_pipeline.labels.site.keeper import Keeper
from selfai_pipeline.labels.site.settings import SiteSettings
from selfai_pipeline.labels.site.site import FOLDER, Site
from selfai_pipeline.store import Store
from selfai_pipeline.web import NO_SNIFFING, WithHeaders

logger = logging.getLogger("selfai.site")

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    **NO_SNIFFING,
    # Not no-referrer: browsers would then hide from us whether a form comes from our own page.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Robots-Tag": "noindex, nofollow, noai, noimageai",
    "Cache-Control": "no-store",
}


def site_app(
    keeper: Keeper,
    *,
    store: Store,
    key: bytes,
    settings: SiteSettings,
    generator: random.Random | None = None,
) -> FastAPI:
    """The annotation site over the database of `keeper`, which looks after it as long as the site is served.

    Args:
        store: holds the crops.
        key: of the hashes of links and sessions.
        generator: draws gold and repeats; None: one that cannot be foreseen.
    """
    database = keeper.database

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with keeper:
            yield

    app = FastAPI(title="Annotation site", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")
    site = Site(
        database,
        store,
        settings,
        key,
        door=Door(database, key=key, settings=settings),
        draws=generator or secrets.SystemRandom(),
    )
    app.include_router(annotator_pages(site))
    app.include_router(admin_pages(site))
    app.add_middleware(WithHeaders, headers=HEADERS)

    @app.exception_handler(Refused)
    async def refused(_: Request, why: Refused) -> Response:
        answer = site.page("message.html", status=why.status, title=why.title, text=why.text, back=False)
        if why.retry_after_s is not None:
            answer.headers["Retry-After"] = str(why.retry_after_s)
        return answer

    @app.exception_handler(404)
    @app.exception_handler(405)
    @app.exception_handler(RequestValidationError)
    async def no_such_page(_: Request, __: Exception) -> Response:
        return await refused(_, not_found())

    @app.exception_handler(StorageError)
    @app.exception_handler(InputError)
    async def out_of_order(_: Request, error: Exception) -> Response:
        logger.error("%s", error)
        text = "Your last answer may not have been kept. Try again in a minute; go on where you were."
        title = "The site cannot keep answers just now"
        return site.page("message.html", status=503, title=title, text=text, back=True)

    @app.get("/favicon.ico")
    def no_icon() -> Response:
        return Response(status_code=204)

    return app
