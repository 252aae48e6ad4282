"""Why an address was not fetched, from the exception that its download ended with."""

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
from twisted.internet.error import ConnectError, ConnectionClosed

from selfai_pipeline.sources.journal import FAILED, REFUSED


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
    if isinstance(error, UnsupportedURLSchemeError | NotSupported):
        return REFUSED, "unsupported_scheme"
    if _is_about_tls(error):
        return FAILED, "tls_failed"
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
    (ConnectError, "connection_failed"),
    (ConnectionClosed, "connection_lost"),
)


def _is_about_tls(error: BaseException) -> bool:
    causes = [error, *(failure.value for failure in getattr(error.__cause__, "reasons", None) or [])]
    return any(
        type(cause).__module__.split(".")[0] in ("OpenSSL", "service_identity", "ssl") for cause in causes
    )
