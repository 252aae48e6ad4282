"""The limits of a crawl: what can be changed in the Launchpad."""

import hashlib
import json
import os
import re
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_serializer

from selfai_pipeline.environment import Settings
from selfai_pipeline.sources.addresses import host_names


class CrawlSettings(Settings):
    """Limits of a crawl; they hold for each source on its own."""

    sample: ClassVar[dict[str, Any]] = {
        "requests_per_second": 500.0,
        "concurrency_per_host": 8,
        "throttle_concurrency": 8.0,
        "timeout_s": 10.0,
        "retries": 1,
    }

    contact: str = Field(
        default_factory=lambda: os.environ.get("SELFAI_CONTACT", ""),
        # Left out of records: what was crawled is not out of date because somebody else answers now.
        exclude=True,
        description="E-mail or URL for the User-Agent, by default SELFAI_CONTACT; needed before any host but "
        "loopback is crawled.",
    )
    requests_per_second: float = Field(
        2.0, gt=0, le=10_000, description="Most requests a second to one host."
    )
    concurrency: int = Field(8, ge=1, le=256, description="Most requests under way at once.")
    concurrency_per_host: int = Field(
        4, ge=1, le=256, description="Most requests under way at once to one host."
    )
    throttle_concurrency: float = Field(
        2.0,
        ge=0,
        le=256,
        description="Requests that one host has under way on average: the slower it answers, the longer the "
        "pauses between them. 0: the pauses stay as requests_per_second has them.",
    )
    max_throttle_delay_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="Longest pause in seconds that a slow host is given between requests.",
    )
    max_crawl_delay_s: float = Field(
        60.0,
        ge=0,
        le=86_400,
        description="Longest crawl-delay in seconds that is kept; a host whose robots.txt asks for more is "
        "refused.",
    )
    max_retry_after_s: float = Field(
        120.0,
        ge=0,
        le=86_400,
        description="Longest wait in seconds for a host that answers 429 or 503; one that asks for more, or "
        "answers nothing else for longer, is left to the next run.",
    )
    timeout_s: float = Field(30.0, gt=0, le=3600, description="Seconds that one download may take.")
    retries: int = Field(2, ge=0, le=10, description="How often a failed request is tried again in one run.")
    redirect_limit: int = Field(5, ge=0, le=20, description="Most redirects from one address.")
    max_bytes: int = Field(20_000_000, ge=1000, description="Most bytes of one page or picture.")
    max_page_bytes: int = Field(
        5_000_000, ge=1000, description="Most bytes of one page, unpacked, where max_bytes allows more."
    )
    max_pixels: int = Field(50_000_000, ge=1, description="Most pixels of one picture, read from its header.")
    max_addresses: int = Field(
        200_000, ge=1, description="Most pages and pictures of one source on one day; further links are left."
    )
    deny_hosts: list[str] = Field(
        default=[], description="Hosts that are never asked, with their subdomains."
    )

    deny_pictures: list[str] = Field(
        default=[],
        description="SHA-256 in hexadecimal of pictures that are never kept: of the bytes as a site sends "
        "them, or of the stored ones (image_id).",
    )

    def recorded(self) -> dict[str, Any]:
        """With a hash in place of the pictures and hosts that are denied: a record outlives their removal."""
        values = super().recorded()
        for name in ("deny_hosts", "deny_pictures"):
            if listed := sorted(values[name]):
                values[name] = f"SHA-256 {hashlib.sha256(json.dumps(listed).encode()).hexdigest()}"
        return values

    @field_validator("contact")
    @classmethod
    def _contact_fits_a_header(cls, contact: str) -> str:
        if not re.fullmatch(r"[ -~]*", contact):
            raise ValueError("it goes into the User-Agent: letters of ASCII, on one line")
        return contact

    @field_validator("deny_hosts")
    @classmethod
    def _denied_are_host_names(cls, hosts: list[str]) -> list[str]:
        return host_names(hosts)

    @field_validator("deny_pictures")
    @classmethod
    def _denied_are_hashes(cls, hashes: list[str]) -> list[str]:
        for written in hashes:
            if not re.fullmatch(r"[0-9a-fA-F]{64}", written):
                raise ValueError(f"{written!r} is no SHA-256 of 64 hexadecimal digits")
        return [written.lower() for written in hashes]


class SourceLimits(CrawlSettings):
    """Limits that one source sets for itself; only what is set counts, the rest is as the run has it."""

    @field_validator("contact")
    @classmethod
    def _contact_is_of_the_run(cls, contact: str) -> str:
        raise ValueError("there is one contact for all sources; set it in the settings of the crawl")

    @model_serializer
    def set_values(self) -> dict[str, Any]:
        """What is set, by name."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}

    def __eq__(self, other: object) -> bool:
        # A limit that is set to the default holds against another one of the run.
        return isinstance(other, SourceLimits) and self.set_values() == other.set_values()

    __hash__ = None  # type: ignore[assignment]

    def over(self, settings: CrawlSettings) -> CrawlSettings:
        """The settings of a run with these in their place; lists are added to those of the run.

        Raises:
            pydantic.ValidationError: they contradict those of the run.
        """
        own = self.set_values()
        if not own:
            return settings
        values = {name: getattr(settings, name) for name in CrawlSettings.model_fields}
        for name, value in own.items():
            values[name] = [*values[name], *value] if isinstance(value, list) else value
        return CrawlSettings.model_validate(values)
