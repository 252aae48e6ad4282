"""Previews, reports and audits on loopback: what metadata links to."""

from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from selfai_pipeline.errors import SelfaiError
from selfai_pipeline.home import Home
from selfai_pipeline.picture_store import SHA256_HEX
from selfai_pipeline.store import open_store
from selfai_pipeline.tables import PARTITION_NAME
from selfai_pipeline.web import NO_SNIFFING, WithHeaders

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'",
    **NO_SNIFFING,
    "Referrer-Policy": "no-referrer",
}


def files_app(home: Home) -> FastAPI:
    """An application that serves `previews/` and `reports/` of the home, and pages of audits made when asked.

    Nothing else of the home is reached. An audit page names no picture, and is written nowhere.
    """
    app = FastAPI(title="Selfai previews", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(WithHeaders, headers=HEADERS)
    home.create()
    app.mount("/previews", StaticFiles(directory=home.previews), name="previews")
    app.mount("/reports", StaticFiles(directory=home.reports, html=True), name="reports")

    @app.get("/audit/{asset}/{partition}/{sha256}", response_class=HTMLResponse)
    def audit(asset: str, partition: str, sha256: str) -> str:
        return audit_page(home, asset, partition, sha256)

    return app


def audit_page(home: Home, asset: str, partition: str, sha256: str) -> str:
    """The chain behind a version as a page.

    Raises:
        HTTPException: there is no such version (404), or the store cannot be read now (503).
    """
    from selfai_pipeline.lineage.audit import audit_of
    from selfai_pipeline.lineage.documents import as_page, audit_document
    from selfai_pipeline.lineage.registry import read_registry
    from selfai_pipeline.lineage.versions import Archive, VersionKey

    if not (all(map(PARTITION_NAME.fullmatch, (asset, partition))) and SHA256_HEX.fullmatch(sha256)):
        raise HTTPException(404)
    try:
        archive = Archive(open_store(home))
        key = VersionKey(asset, partition, sha256)
        if key not in archive.keys:
            raise HTTPException(404, "No record names such a version.")
        return as_page(audit_document(audit_of(key, archive=archive, registry=read_registry(home))))
    except SelfaiError as error:
        raise HTTPException(503, str(error)) from error
