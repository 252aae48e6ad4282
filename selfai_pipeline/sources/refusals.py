"""Why an address was not fetched, from the exception that its download ended with."""

import errno

import aiohttp
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    IgnoreRequest,
    NotSupported,
    ResponseDataLossError,
    UnsupportedURLSchemeError,
)

from selfai_pipeline.sources.outcomes import FAILED, REFUSED


class NotFetched(IgnoreRequest):
    """An address was not fetched, for a reason that is known."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def status_and_reason(error: BaseException) -> tuple[str, str]:
    """What the journal says of an exception that a download ended with."""
    if isinstance(error, NotFetched):
        return error.status, error.reason
    # Scrapy cancels a download, and ignores a response while it decompresses it, only for its size.
    if isinstance(error, DownloadCancelledError | IgnoreRequest):
        return REFUSED, "too_many_bytes"
    cause = error.__cause__
    if isinstance(error, UnsupportedURLSchemeError | NotSupported):
        return REFUSED, "malformed_address" if isinstance(cause, aiohttp.InvalidURL) else "unsupported_scheme"
    if isinstance(cause, aiohttp.ClientSSLError):
        return FAILED, "tls_failed"
    # Scrapy calls every connection that could not be opened a refused one.
    if isinstance(error, DownloadConnectionRefusedError) and isinstance(cause, OSError):
        return FAILED, "connection_refused" if cause.errno == errno.ECONNREFUSED else "connection_failed"
    for kinds, reason in FAILURES:
        if isinstance(error, kinds):
            return FAILED, reason
    return FAILED, "download_failed"


FAILURES: tuple[tuple[type[BaseException], str], ...] = (
    (DownloadTimeoutError, "timeout"),
    (DownloadConnectionRefusedError, "connection_refused"),
    (CannotResolveHostError, "host_not_found"),
    (ResponseDataLossError, "connection_lost"),
    (DownloadFailedError, "connection_lost"),
)
