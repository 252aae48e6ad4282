"""What one crawl of one source on one day is told, as it travels to the process that does it."""

import hashlib
import json
from dataclasses import dataclass

from pydantic import TypeAdapter

from selfai_pipeline.home import Home
from selfai_pipeline.sources.address_guard import AddressRules
from selfai_pipeline.sources.deny_lists import DENIED_PICTURE
from selfai_pipeline.sources.outcomes import REFUSED, STORED, Found, Outcome
from selfai_pipeline.sources.picture_files import PictureFileError, clean_picture
from selfai_pipeline.sources.settings import CrawlSettings, FolderSource, PagesSource, UrlListSource
from selfai_pipeline.sources.tombstones import PICTURE, REMOVED, Tombstones
from selfai_pipeline.storage import Storage
from selfai_pipeline.store import Store

CrawledSource = PagesSource | UrlListSource
LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "::1"]


@dataclass(frozen=True)
class CrawlJob:
    """One source of pages or one list on one day; the journal holds the addresses that are left to ask."""

    day: str
    source: CrawledSource
    settings: CrawlSettings
    home: str
    files_url: str

    def to_json(self) -> str:
        return json.dumps(
            {
                "day": self.day,
                "source": self.source.model_dump(mode="json"),
                "settings": {name: getattr(self.settings, name) for name in CrawlSettings.model_fields},
                "home": self.home,
                "files_url": self.files_url,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "CrawlJob":
        values = json.loads(text)
        adapter: TypeAdapter[CrawledSource] = TypeAdapter(CrawledSource)
        return cls(
            day=values["day"],
            source=adapter.validate_python(values["source"]),
            settings=CrawlSettings.model_validate(values["settings"]),
            home=values["home"],
            files_url=values["files_url"],
        )

    @property
    def store(self) -> Store:
        return Store(Home.at(self.home), Storage(self.files_url))

    @property
    def rules(self) -> str:
        return rules_fingerprint(self.source, self.settings)

    @property
    def address_rules(self) -> AddressRules:
        return AddressRules.of(
            domains=domains_of(self.source, self.settings),
            denied_hosts=self.settings.deny_hosts,
            allowed_addresses=self.source.allowed_addresses,
        )


def domains_of(source: CrawledSource, settings: CrawlSettings) -> list[str]:
    """The hosts that may be asked; empty: any. Where no contact is set, a list may name this machine only."""
    if source.domains or settings.contact:
        return source.domains
    return LOOPBACK_HOSTS


def rules_fingerprint(source: CrawledSource | FolderSource, settings: CrawlSettings) -> str:
    """Hashes of what a refusal may come from: where they changed, such a refusal is asked again.

    The limits come first, then behind a dot the deny lists, so that a change of these leaves the rest alone.
    """
    limits: dict[str, object] = {"max_bytes": settings.max_bytes, "max_pixels": settings.max_pixels}
    denials: dict[str, object] = {"deny_pictures": sorted(settings.deny_pictures)}
    if not isinstance(source, FolderSource):
        limits |= {
            "domains": domains_of(source, settings),
            "allowed_addresses": source.allowed_addresses,
            "redirect_limit": settings.redirect_limit,
            "max_crawl_delay_s": settings.max_crawl_delay_s,
            "max_page_bytes": settings.max_page_bytes,
        }
        denials["deny_hosts"] = sorted(settings.deny_hosts)
    return f"{_hash_of(limits)}.{_hash_of(denials)}"


def _hash_of(values: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def judge_picture(
    content: bytes, *, found: Found, settings: CrawlSettings, rules: str, removed: Tombstones
) -> tuple[Outcome, bytes | None]:
    """What becomes of a picture, and if it is to be stored, its bytes without metadata.

    Of one that was removed, or looks the same, the outcome has no hash: nothing may tell of it but the
    address, which is a new one.
    """
    fetched_sha256 = hashlib.sha256(content).hexdigest()
    if removed.find(PICTURE, fetched_sha256):
        return Outcome(found, REFUSED, rules, reason=REMOVED), None
    if fetched_sha256 in settings.deny_pictures:
        return Outcome(found, REFUSED, rules, reason=DENIED_PICTURE, fetched_sha256=fetched_sha256), None
    try:
        facts, cleaned = clean_picture(content, max_pixels=settings.max_pixels)
    except PictureFileError as error:
        return Outcome(found, REFUSED, rules, reason=error.reason, fetched_sha256=fetched_sha256), None
    image_id = fetched_sha256 if cleaned == content else hashlib.sha256(cleaned).hexdigest()
    if image_id in settings.deny_pictures:
        denied = Outcome(
            found, REFUSED, rules, reason=DENIED_PICTURE, image_id=image_id, fetched_sha256=fetched_sha256
        )
        return denied, None
    if removed.refuses_picture(cleaned, hashes=[image_id], orientation=facts.orientation):
        return Outcome(found, REFUSED, rules, reason=REMOVED), None
    stored = Outcome(
        found,
        STORED,
        rules,
        image_id=image_id,
        format=facts.format,
        bytes=len(cleaned),
        width=facts.width,
        height=facts.height,
        orientation=facts.orientation,
        fetched_sha256=fetched_sha256,
    )
    return stored, cleaned
