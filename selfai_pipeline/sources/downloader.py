"""What stands between the spider and the network: the guard of addresses, robots.txt, redirects."""

from typing import Any
from urllib.parse import urlsplit

from scrapy.downloadermiddlewares.redirect import RedirectMiddleware
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
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
from scrapy.http import Request, Response
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IHostnameResolver, IResolutionReceiver
from zope.interface import implementer  # type: ignore[import-untyped]

from selfai_pipeline.sources.address_guard import AddressRules
from selfai_pipeline.sources.crawl_job import CrawlJob
from selfai_pipeline.sources.journal import FAILED, NEVER_CONNECTED, REFUSED
from selfai_pipeline.sources.settings import bare_host

AGENT = "selfai"
RULES_SETTING = "SELFAI_ADDRESS_RULES"
ROBOTS_UNAVAILABLE = "robots_unavailable"


def scrapy_settings(job: CrawlJob) -> dict[str, Any]:
    """Scrapy's settings for a crawl: everything that is not needed is off."""
    settings = job.settings
    contact = f" (+{settings.contact})" if settings.contact else ""
    return {
        RULES_SETTING: job.address_rules,
        "USER_AGENT": f"{AGENT}/0.1{contact}",
        "ROBOTSTXT_USER_AGENT": AGENT,
        "ROBOTSTXT_OBEY": True,
        "TWISTED_DNS_RESOLVER": GuardedResolver,
        "DNSCACHE_ENABLED": False,
        # The guard sits in Twisted's resolver: another handler would go past it.
        "DOWNLOAD_HANDLERS": {
            "http": "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler",
            "https": "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler",
            "file": None,
            "ftp": None,
            "s3": None,
            "data": None,
        },
        "DOWNLOADER_MIDDLEWARES": {
            GuardMiddleware: 50,
            "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware": None,
            ObeyRobots: 100,
            "scrapy.downloadermiddlewares.offsite.OffsiteMiddleware": None,
            "scrapy.downloadermiddlewares.redirect.RedirectMiddleware": None,
            GuardedRedirects: 600,
            "scrapy.downloadermiddlewares.redirect.MetaRefreshMiddleware": None,
            "scrapy.downloadermiddlewares.httpauth.HttpAuthMiddleware": None,
            PrivateAddresses: 950,
        },
        "SPIDER_MIDDLEWARES": {"scrapy.spidermiddlewares.httperror.HttpErrorMiddleware": None},
        "HTTPPROXY_ENABLED": False,
        "HTTPCACHE_ENABLED": False,
        "COOKIES_ENABLED": False,
        "REFERER_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "LOG_ENABLED": False,
        "LOG_INSTALL_ROOT_HANDLER": False,
        "DOWNLOAD_VERIFY_CERTIFICATES": True,
        "DOWNLOAD_MAXSIZE": settings.max_bytes,
        "DOWNLOAD_WARNSIZE": 0,
        "DOWNLOAD_TIMEOUT": settings.timeout_s,
        "DOWNLOAD_DELAY": 1 / settings.requests_per_second,
        "DOWNLOAD_DELAY_JITTER": 0.0,
        "CONCURRENT_REQUESTS": settings.concurrency,
        "CONCURRENT_REQUESTS_PER_DOMAIN": settings.concurrency,
        "RETRY_TIMES": settings.retries,
        "REDIRECT_MAX_TIMES": settings.redirect_limit,
    }


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


@implementer(IResolutionReceiver)
class _PermittedAddresses:
    """Passes on the addresses that may be reached."""

    def __init__(self, receiver: Any, resolver: "GuardedResolver", host: str, port: int) -> None:
        self.receiver, self.resolver, self.host, self.port = receiver, resolver, host, port
        self.permitted = self.refused = 0

    def resolutionBegan(self, resolution: Any) -> None:  # noqa: N802
        self.receiver.resolutionBegan(resolution)

    def addressResolved(self, address: Any) -> None:  # noqa: N802
        if self.resolver.rules.permits(address.host, host=self.host, port=self.port):
            self.permitted += 1
            self.receiver.addressResolved(address)
        else:
            self.refused += 1

    def resolutionComplete(self) -> None:  # noqa: N802
        place = (bare_host(self.host), self.port)
        if self.refused and not self.permitted:
            self.resolver.refused.add(place)
        else:
            self.resolver.refused.discard(place)
        self.receiver.resolutionComplete()


@implementer(IHostnameResolver)
class GuardedResolver:
    """Twisted's own resolver behind the guard; connections to literal addresses go through it too.

    `refused` holds the (host, port) whose last resolution gave no address that may be reached.
    """

    def __init__(self, reactor: Any, rules: AddressRules) -> None:
        self.reactor = reactor
        self.original = reactor.nameResolver
        self.rules = rules
        self.refused: set[tuple[str, int]] = set()

    @classmethod
    def from_crawler(cls, crawler: Any, reactor: Any) -> "GuardedResolver":
        return cls(reactor, crawler.settings[RULES_SETTING])

    def install_on_reactor(self) -> None:
        self.reactor.installNameResolver(self)

    def resolveHostName(  # noqa: N802
        self,
        resolutionReceiver: Any,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Any = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> Any:
        receiver = _PermittedAddresses(resolutionReceiver, self, hostName, portNumber)
        return self.original.resolveHostName(receiver, hostName, portNumber, addressTypes, transportSemantics)


class GuardMiddleware:
    """Refuses what an address itself gives away: scheme, literal private address, denied or foreign host."""

    def __init__(self, rules: AddressRules) -> None:
        self.rules = rules

    @classmethod
    def from_crawler(cls, crawler: Any) -> "GuardMiddleware":
        return cls(crawler.settings[RULES_SETTING])

    def process_request(self, request: Request) -> None:
        reason = self.rules.refusal(request.url, any_domain=_is_for_robots(request))
        if reason is not None:
            raise NotFetched(REFUSED, reason)


class PrivateAddresses:
    """Tells a name that resolves to refused addresses only from one that does not resolve."""

    def process_exception(self, request: Request, exception: Exception) -> None:
        from twisted.internet import reactor

        if isinstance(exception, CannotResolveHostError):
            parts = urlsplit(request.url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            if (bare_host(parts.hostname or ""), port) in reactor.nameResolver.refused:
                raise NotFetched(REFUSED, "private_address") from exception


class ObeyRobots(RobotsTxtMiddleware):
    """robots.txt as RFC 9309 has it: one that does not exist allows all, one that cannot be had nothing."""

    def __init__(self, crawler: Any) -> None:
        super().__init__(crawler)
        self._refusals: dict[str, NotFetched] = {}

    def process_request_2(self, rp: Any, request: Request) -> None:
        refusal = self._refusals.get(urlsplit(request.url).netloc)
        if refusal is not None:
            raise NotFetched(refusal.status, refusal.reason)
        try:
            super().process_request_2(rp, request)
        except IgnoreRequest as error:
            raise NotFetched(REFUSED, "robots") from error

    async def _parse_robots(self, response: Response, netloc: str, request: Request) -> None:
        if 400 <= response.status < 500 and response.status != 429:
            response = response.replace(body=b"")
        elif response.status != 200:
            raise NotFetched(FAILED, ROBOTS_UNAVAILABLE)
        await super()._parse_robots(response, netloc, request)

    def _robots_error(self, exc: Exception, netloc: str) -> None:
        status, reason = status_and_reason(exc)
        if reason not in ("private_address", "denied_host", *NEVER_CONNECTED):
            status, reason = FAILED, ROBOTS_UNAVAILABLE
        self._refusals[netloc] = NotFetched(status, reason)
        super()._robots_error(exc, netloc)


class GuardedRedirects(RedirectMiddleware):
    """Follows redirects up to the limit; each passes the guard and robots.txt as a request of its own."""

    def handle_referer(self, request: Request, response: Response) -> None:
        request.headers.pop("Referer", None)

    def _redirect(self, redirected: Request, request: Request, reason: Any) -> Request:
        # Else the other host would be asked at the rate of this one.
        redirected.meta.pop("download_slot", None)
        try:
            return super()._redirect(redirected, request, reason)
        except IgnoreRequest as error:
            raise NotFetched(REFUSED, "too_many_redirects") from error


def _is_for_robots(request: Request) -> bool:
    return bool(request.meta.get("dont_obey_robotstxt"))
