"""What stands between the spider and the network: the guard of addresses, redirects, conditions."""

import traceback
from typing import Any
from urllib.parse import urlsplit

from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.downloadermiddlewares.redirect import RedirectMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Request, Response
from scrapy.logformatter import LogFormatter

from selfai_pipeline.sources.address_guard import AddressRules, slot_of
from selfai_pipeline.sources.addresses import is_loopback_host
from selfai_pipeline.sources.connections import RULES_SETTING, GuardedDownloads
from selfai_pipeline.sources.crawl_job import CrawlJob
from selfai_pipeline.sources.manners import (
    CRAWL_DELAY_SETTING,
    RETRY_AFTER_SETTING,
    ROBOTS_REDIRECTS,
    SLOT,
    ObeyRobots,
    PatientRetries,
    Throttle,
    is_for_robots,
)
from selfai_pipeline.sources.opt_outs import AGENT
from selfai_pipeline.sources.outcomes import FAILED, REFUSED
from selfai_pipeline.sources.refusals import NotFetched

CONTACT_SETTING = "SELFAI_CONTACT"
CONDITIONS = "selfai_conditions"
"""Meta key of a request: an address, and the headers that ask it for news only."""


def scrapy_settings(job: CrawlJob) -> dict[str, Any]:
    """Scrapy's settings for a crawl: what is not named here is off."""
    settings = job.settings
    contact = f" (+{settings.contact})" if settings.contact else ""
    return {
        RULES_SETTING: job.address_rules,
        "USER_AGENT": f"{AGENT}/0.1{contact}",
        CONTACT_SETTING: settings.contact,
        CRAWL_DELAY_SETTING: settings.max_crawl_delay_s,
        RETRY_AFTER_SETTING: settings.max_retry_after_s,
        "TWISTED_REACTOR_ENABLED": False,
        "ASYNCIO_EVENT_LOOP": "uvloop.Loop",
        "DOWNLOAD_HANDLERS_BASE": {},
        "DOWNLOAD_HANDLERS": {
            "http": GuardedDownloads,
            "https": GuardedDownloads,
        },
        "DOWNLOADER_MIDDLEWARES_BASE": {},
        "DOWNLOADER_MIDDLEWARES": {
            GuardMiddleware: 50,
            ObeyRobots: 100,
            "scrapy.downloadermiddlewares.downloadtimeout.DownloadTimeoutMiddleware": 350,
            "scrapy.downloadermiddlewares.defaultheaders.DefaultHeadersMiddleware": 400,
            "scrapy.downloadermiddlewares.useragent.UserAgentMiddleware": 500,
            PatientRetries: 550,
            BoundedBodies: 590,
            GuardedRedirects: 600,
            OnlyNews: 700,
        },
        "SPIDER_MIDDLEWARES_BASE": {},
        "EXTENSIONS_BASE": {},
        "EXTENSIONS": {Throttle: 0},
        "STATS_CLASS": "scrapy.statscollectors.DummyStatsCollector",
        "LOG_FORMATTER": NoLines,
        "LOG_ENABLED": False,
        "LOG_INSTALL_ROOT_HANDLER": False,
        "DOWNLOAD_VERIFY_CERTIFICATES": True,
        "DOWNLOAD_MAXSIZE": settings.max_bytes,
        "DOWNLOAD_WARNSIZE": 0,
        "DOWNLOAD_TIMEOUT": settings.timeout_s,
        "DOWNLOAD_DELAY": 1 / settings.requests_per_second,
        "DOWNLOAD_DELAY_JITTER": 0.0,
        "CONCURRENT_REQUESTS": settings.concurrency,
        "CONCURRENT_REQUESTS_PER_DOMAIN": min(settings.concurrency, settings.concurrency_per_host),
        "AUTOTHROTTLE_ENABLED": settings.throttle_concurrency > 0,
        "AUTOTHROTTLE_START_DELAY": 0.0,
        "AUTOTHROTTLE_TARGET_CONCURRENCY": settings.throttle_concurrency,
        "AUTOTHROTTLE_MAX_DELAY": settings.max_throttle_delay_s,
        "RETRY_TIMES": settings.retries,
        # A request brings its own limit along, which is lower for addresses than RFC 9309 has it for rules.
        "REDIRECT_MAX_TIMES": max(settings.redirect_limit, ROBOTS_REDIRECTS),
    }


class NoLines(LogFormatter):
    """Nothing of what it would write about each answer is kept."""

    def crawled(self, *_: Any) -> None:  # type: ignore[override]
        return None


class GuardMiddleware:
    """Refuses what an address itself gives away: scheme, literal private address, denied or foreign host.

    No host but loopback is asked without a contact, wherever a redirect leads. What passes goes to the slot
    of its host, under one name however the host is written.
    """

    def __init__(self, rules: AddressRules, contact: str) -> None:
        self.rules = rules
        self.contact = contact

    @classmethod
    def from_crawler(cls, crawler: Any) -> "GuardMiddleware":
        return cls(crawler.settings[RULES_SETTING], crawler.settings[CONTACT_SETTING])

    def process_request(self, request: Request) -> None:
        reason = self.rules.refusal(request.url, any_domain=is_for_robots(request))
        if reason is not None:
            raise NotFetched(REFUSED, reason)
        host = urlsplit(request.url).hostname or ""
        if not self.contact and not is_loopback_host(host):
            raise NotFetched(FAILED, "no_contact")
        request.meta[SLOT] = slot_of(host)


class OnlyNews:
    """Puts the conditions under which an address answered before into a request for that very address.

    The target of a redirect may be another one by now, to which they say nothing.
    """

    def process_request(self, request: Request) -> None:
        address, conditions = request.meta.get(CONDITIONS, ("", {}))
        for name, value in conditions.items():
            if request.url == address:
                request.headers[name] = value
            else:
                request.headers.pop(name, None)


class BoundedBodies(HttpCompressionMiddleware):
    """Unpacks bodies up to the limit of bytes, and lets go at once of what a bomb has unpacked by then."""

    def process_response(
        self, request: Request, response: Response, spider: Any = None
    ) -> Request | Response:
        try:
            return super().process_response(request, response)
        except IgnoreRequest as error:
            # Its traceback would hold the bytes until the next collection of garbage, which is far off.
            for raised in (error, error.__cause__):
                if raised is not None:
                    traceback.clear_frames(raised.__traceback__)
            raise NotFetched(REFUSED, "too_many_bytes") from None


class GuardedRedirects(RedirectMiddleware):
    """Follows redirects up to the limit; each passes the guard and robots.txt as a request of its own."""

    def handle_referer(self, request: Request, response: Response) -> None:
        request.headers.pop("Referer", None)

    def process_response(
        self, request: Request, response: Response, spider: Any = None
    ) -> Request | Response:
        try:
            return super().process_response(request, response)
        except ValueError as error:
            raise NotFetched(REFUSED, "malformed_address") from error

    def _redirect(self, redirected: Request, request: Request, reason: Any) -> Request:
        try:
            return super()._redirect(redirected, request, reason)
        except IgnoreRequest as error:
            raise NotFetched(REFUSED, "too_many_redirects") from error
