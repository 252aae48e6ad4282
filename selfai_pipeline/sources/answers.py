"""What comes of an answer: a picture, a page and what it leads to, or a refusal with its reason."""

from dataclasses import dataclass, replace

from scrapy.http import Headers, Response, TextResponse
from w3lib.html import get_base_url

from selfai_pipeline.sources.address_guard import AddressRules
from selfai_pipeline.sources.addresses import recorded_url
from selfai_pipeline.sources.crawl_job import CrawlJob
from selfai_pipeline.sources.deny_lists import DENIED_PICTURE, denial
from selfai_pipeline.sources.news import unchanged, with_validators
from selfai_pipeline.sources.opt_outs import NOFOLLOW, ROBOTS_HEADER, TDM, header_directives, refusal
from selfai_pipeline.sources.outcomes import FAILED, READ, REFUSED, Found, Links, Outcome
from selfai_pipeline.sources.page_links import page_links
from selfai_pipeline.sources.picture_files import is_picture
from selfai_pipeline.sources.recorder import Came, Fetched

TRANSIENT_STATUSES = (408, 425, 429)
STOPPED = "download_stopped"
"""Scrapy's flag of an answer whose body was left where it is."""


@dataclass(frozen=True)
class Asked:
    """An address, what it brought on another day, and what that led to if it was a page."""

    found: Found
    earlier: Outcome | None = None
    earlier_links: Links | None = None


class Answers:
    """Judges the answers of one crawl, and writes nothing."""

    def __init__(self, job: CrawlJob, *, rules: str, addresses: AddressRules) -> None:
        self.job = job
        self.rules = rules
        self.addresses = addresses
        self.denied_pictures = frozenset(job.settings.deny_pictures)

    def judge(self, response: Response, asked: Asked) -> Came | Fetched:
        """What came of a request that was answered."""
        status, found = response.status, asked.found
        if status >= 500 or status in TRANSIENT_STATUSES:
            return Came(Outcome(found, FAILED, self.rules, reason=f"http_{status}"))
        if status == 304 and asked.earlier is not None and was_conditional(response):
            return self._not_modified(response, asked, asked.earlier)
        if 300 <= status < 400 and b"Location" in response.headers:
            # Redirects to http and https were followed before they came here.
            return self.refused(found, "unsupported_scheme")
        if not 200 <= status < 300:
            return self.refused(found, f"http_{status}")
        directives = directives_of(response.headers)
        reserved = refusal(directives)
        if found.kind == "picture" or STOPPED in response.flags or is_picture(response.body):
            if reserved is not None:
                return self.refused(found, reserved)
            validators = {name: response.headers.get(name) for name in ("ETag", "Last-Modified")}
            return Fetched(found, response.body, validators, response.url, asked.earlier)
        if isinstance(response, TextResponse):
            return self._page(response, found, directives)
        return self.refused(found, "not_a_page")

    def refused(self, found: Found, reason: str) -> Came:
        return Came(Outcome(found, REFUSED, self.rules, reason=reason))

    def _not_modified(self, response: Response, asked: Asked, earlier: Outcome) -> Came:
        found = asked.found
        directives = directives_of(response.headers)
        reserved = refusal(directives)
        if earlier.status != READ:
            if reserved is not None:
                return self.refused(found, reserved)
            if denial(earlier, hosts=(), pictures=self.denied_pictures) is not None:
                denied = self.refused(found, DENIED_PICTURE).outcome
                return Came(replace(denied, image_id=earlier.image_id, fetched_sha256=earlier.fetched_sha256))
        outcome = unchanged(earlier, found=found, rules=self.rules)
        outcome = with_validators(outcome, response.headers, answered=response.url)
        links = asked.earlier_links or Links([], [])
        return self._led_to(outcome, links, directives)

    def _page(self, response: TextResponse, found: Found, directives: frozenset[str]) -> Came:
        if len(response.body) > self.job.settings.max_page_bytes:
            return self.refused(found, "too_many_bytes")
        text = text_of(response)
        page = page_links(text, base_url=base_url_of(text, response.url))
        directives |= page.directives
        # A later day that finds the page unchanged does not see what stands in it.
        pages = [] if NOFOLLOW in directives else [recorded_url(url) for url in page.pages]
        links = Links([recorded_url(url) for url in page.pictures], pages)
        outcome = Outcome(found, READ, self.rules, links=links.to_json())
        outcome = with_validators(outcome, response.headers, answered=response.url)
        return self._led_to(outcome, links, directives)

    def _led_to(self, outcome: Outcome, links: Links, directives: frozenset[str]) -> Came:
        """A page with what it leads to, as far as it allows; one that reserves its pictures is refused."""
        found = outcome.found
        reserved = refusal(directives)
        led_to = []
        if reserved is None:
            led_to += [Found(url, "picture", found.depth + 1) for url in links.pictures]
        if NOFOLLOW not in directives and found.depth < self.job.source.depth:
            led_to += [
                Found(url, "page", found.depth + 1)
                for url in links.pages
                if self.addresses.refusal(url) is None
            ]
        return Came(outcome if reserved is None else self.refused(found, reserved).outcome, led_to)


def text_of(response: TextResponse) -> str:
    """The text of a page; one that names no encoding of text (base64, say) is read as UTF-8."""
    try:
        return response.text
    except (LookupError, ValueError):
        return response.body.decode(errors="replace")


def base_url_of(text: str, url: str) -> str:
    """The address that those in a page are relative to."""
    try:
        return get_base_url(text[:4096], url)
    except ValueError:
        # The page names a malformed one.
        return url


def directives_of(headers: Headers) -> frozenset[str]:
    """The directives in the headers of an answer that count for this crawler."""
    said = [[value.decode("latin-1") for value in headers.getlist(name)] for name in (ROBOTS_HEADER, TDM)]
    return header_directives(*said)


def was_conditional(response: Response) -> bool:
    """Whether the request that was answered asked for news only."""
    headers = response.request.headers if response.request is not None else {}
    return "If-None-Match" in headers or "If-Modified-Since" in headers
