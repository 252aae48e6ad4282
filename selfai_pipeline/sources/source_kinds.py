"""The kinds of sources that `sources.yaml` can declare."""

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from selfai_pipeline.environment import Settings
from selfai_pipeline.home import Home
from selfai_pipeline.sources.addresses import bare_host, host_and_port, host_names, is_within
from selfai_pipeline.sources.crawl_settings import CrawlSettings, SourceLimits
from selfai_pipeline.sources.label_files import PicturesFile, RatingsFile, local_path
from selfai_pipeline.sources.tabular.reading import STREAMED_ENDINGS

SOURCE_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"
DAY_PLACEHOLDER = "{day}"
SOME_DAY = "2026-01-01"
OBJECT_STORES = ("s3", "gs", "az", "abfs", "memory")
"""What `://` may follow in the path of a folder or list. Web addresses are crawled, with every guard on."""

FOLDER_LIMITS = ("max_bytes", "max_pixels", "deny_pictures")
"""The limits that mean something where nothing is asked over the network."""


def is_day(text: str) -> bool:
    """Whether `text` is a day of the calendar, written YYYY-MM-DD."""
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def today() -> str:
    """The day (UTC) on which live sources are crawled."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def is_in_object_store(path: str) -> bool:
    """Whether a path is an address that fsspec opens, and not one on this machine."""
    return "://" in path


def _local_or_stored_path(path: str) -> str:
    """Raises ValueError where `path` can be neither on this machine nor in an object store."""
    if not is_in_object_store(path):
        return local_path(path)
    scheme, _, rest = path.partition("://")
    if scheme not in OBJECT_STORES or not rest.strip("/") or "::" in path or "\0" in path:
        known = ", ".join(f"{name}://" for name in OBJECT_STORES)
        raise ValueError(
            f"{path!r} is neither a path on this machine nor an address that begins with {known}"
        )
    return path


LocalOrStoredPath = Annotated[str, AfterValidator(_local_or_stored_path)]


class _DeclaredSource(Settings):
    """What every kind of source declares."""

    name: str = Field(pattern=SOURCE_NAME, description="Lower-case letters, digits and single hyphens.")
    licence: str = Field("", description="Licence of the pictures, as the source states it.")
    ratings: list[RatingsFile] = Field(default=[], description="Ratings of its pictures.")
    pictures: PicturesFile | None = Field(default=None, description="Further columns about its pictures.")
    limits: SourceLimits = Field(
        default_factory=SourceLimits, description="Limits of a crawl that differ for this source."
    )


class _CrawledSource(_DeclaredSource):
    """What sources declare whose pictures come over the network."""

    allowed_domains: list[str] = Field(
        default=[],
        description="Hosts that may be asked, with their subdomains; empty: of pages the hosts of the start "
        "URLs, of a list any host.",
    )
    allowed_addresses: list[str] = Field(
        default=[],
        description="host:port or IP:port inside a private network that may be reached all the same.",
    )

    @field_validator("allowed_domains")
    @classmethod
    def _domains_are_host_names(cls, domains: list[str]) -> list[str]:
        return host_names(domains)

    @field_validator("allowed_addresses")
    @classmethod
    def _addresses_have_a_port(cls, addresses: list[str]) -> list[str]:
        for address in addresses:
            host_and_port(address)
        return addresses

    @property
    def hosts(self) -> list[str]:
        """The hosts that it names, as `bare_host` writes them."""
        return self.allowed_domains

    def refuse_contradictions(self, limits: CrawlSettings) -> None:
        """Raises ValueError where the limits of a crawl leave nothing of what the source declares."""
        reached = [host_and_port(address)[0] for address in self.allowed_addresses]
        denied = [host for host in (*reached, *self.hosts) if is_within(host, limits.deny_hosts)]
        if denied:
            raise ValueError(
                f"{denied[0]} is in deny_hosts too, and is never asked: leave one of the two out"
            )

    @model_validator(mode="after")
    def _own_limits_fit(self) -> "_CrawledSource":
        self.refuse_contradictions(self.limits)
        return self


class PagesSource(_CrawledSource):
    """Web pages whose pictures are crawled.

    With `{day}` in each start URL any day can be crawled; without it the source is live: it has today's
    pictures only.
    """

    kind: Literal["pages"] = "pages"
    start_urls: list[str] = Field(min_length=1, description="First pages; `{day}` stands for YYYY-MM-DD.")
    depth: int = Field(default=1, ge=0, le=20, description="How many links away from a start page to read.")

    @field_validator("start_urls")
    @classmethod
    def _start_urls_are_web_addresses(cls, urls: list[str]) -> list[str]:
        for url in urls:
            parts = urlsplit(url.replace(DAY_PLACEHOLDER, SOME_DAY))
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{url!r} is not an http or https address")
            if "@" in parts.netloc:
                raise ValueError("an address with a user name or a password is not crawled")
        if len({DAY_PLACEHOLDER in url for url in urls}) > 1:
            raise ValueError(f"either every start URL has {DAY_PLACEHOLDER} or none: make two sources of it")
        return urls

    @field_validator("start_urls")
    @classmethod
    def _start_urls_may_be_asked(cls, urls: list[str], info: ValidationInfo) -> list[str]:
        domains = info.data.get("allowed_domains")
        for host in _hosts_of(urls):
            if domains and not is_within(host, domains):
                raise ValueError(f"{host} is outside of allowed_domains, so that nothing would be read there")
        return urls

    @property
    def is_live(self) -> bool:
        """Whether it has the pictures of today only."""
        return not any(DAY_PLACEHOLDER in url for url in self.start_urls)

    def start_urls_of(self, day: str) -> list[str]:
        return [url.replace(DAY_PLACEHOLDER, day) for url in self.start_urls]

    @property
    def hosts(self) -> list[str]:
        """The hosts that it names: those of the start URLs, and the allowed domains."""
        return sorted({*_hosts_of(self.start_urls), *self.allowed_domains})

    def refuse_contradictions(self, limits: CrawlSettings) -> None:
        super().refuse_contradictions(limits)
        if limits.max_addresses < len(self.start_urls):
            raise ValueError(
                f"it has {len(self.start_urls)} start URLs, and max_addresses allows {limits.max_addresses}"
            )

    @property
    def domains(self) -> list[str]:
        """The hosts that may be asked, as `bare_host` writes them."""
        return self.allowed_domains or _hosts_of(self.start_urls)


class UrlListSource(_CrawledSource):
    """A list of addresses of pictures: a CSV, JSON Lines or Parquet file with a row a picture.

    A row with a date falls on its day. One without falls on the day of the crawl, unless another day of the
    source has its address. Without a `date_column` the source is live: it has today's pictures only.
    """

    kind: Literal["url_list"] = "url_list"
    path: LocalOrStoredPath = Field(
        min_length=1,
        description="The list; absolute, relative to SELFAI_HOME, or in an object store.",
    )
    url_column: str = Field("url", min_length=1, description="Column with the address of the picture.")
    date_column: str = Field("", description="Column with the day or moment of the picture; empty: none.")
    licence_column: str = Field("", description="Column with the picture's licence; empty: none.")
    depth: ClassVar[int] = 0

    @field_validator("path")
    @classmethod
    def _ending_tells_the_format(cls, path: str) -> str:
        if not path.lower().endswith(STREAMED_ENDINGS):
            raise ValueError(f"the name of a list ends in one of {', '.join(STREAMED_ENDINGS)}")
        return path

    @field_validator("date_column", "licence_column")
    @classmethod
    def _columns_differ(cls, column: str, info: ValidationInfo) -> str:
        if column and column in (info.data.get("url_column"), info.data.get("date_column")):
            raise ValueError(f"the column {column!r} has another meaning already")
        return column

    @property
    def is_live(self) -> bool:
        """Whether it has the pictures of today only."""
        return not self.date_column

    @property
    def domains(self) -> list[str]:
        """The hosts that may be asked, as `bare_host` writes them; empty: any."""
        return self.allowed_domains

    def file(self, home: Home) -> Path:
        """The list on this machine."""
        return home.root / Path(self.path).expanduser()


class FolderSource(_DeclaredSource):
    """A folder of pictures, on this machine or in an object store.

    With `day` all of them fall on that day; with `{day}` in the path each subfolder holds those of a day.
    With neither the source is live: a picture falls on the day on which it is first seen.
    """

    kind: Literal["folder"] = "folder"
    path: LocalOrStoredPath = Field(
        min_length=1,
        description="The folder; absolute, relative to SELFAI_HOME, or in an object store. "
        "`{day}` stands for YYYY-MM-DD.",
    )
    day: str = Field("", description="YYYY-MM-DD, the day on which its pictures fall.")

    @field_validator("day")
    @classmethod
    def _day_is_a_day(cls, day: str, info: ValidationInfo) -> str:
        if day and not is_day(day):
            raise ValueError(f"{day!r} is not a day written YYYY-MM-DD")
        if day and DAY_PLACEHOLDER in info.data.get("path", ""):
            raise ValueError(f"the path has {DAY_PLACEHOLDER} already: leave one of the two out")
        return day

    @field_validator("limits")
    @classmethod
    def _limits_apply(cls, limits: SourceLimits) -> SourceLimits:
        idle = sorted(limits.model_fields_set - set(FOLDER_LIMITS))
        if idle:
            raise ValueError(f"{idle[0]} means nothing for a folder, which has {', '.join(FOLDER_LIMITS)}")
        return limits

    @property
    def is_live(self) -> bool:
        """Whether new pictures fall on today."""
        return not self.day and not self.has_subfolder_a_day

    @property
    def has_subfolder_a_day(self) -> bool:
        return DAY_PLACEHOLDER in self.path

    def place(self, day: str) -> str:
        """The path, as it is declared, for one day."""
        return self.path.replace(DAY_PLACEHOLDER, day)

    def folder(self, home: Home, day: str = "") -> Path:
        """The folder on this machine, for one day."""
        return home.root / Path(self.place(day)).expanduser()


Source = Annotated[PagesSource | UrlListSource | FolderSource, Field(discriminator="kind")]
KINDS = ("pages", "url_list", "folder")


def _hosts_of(urls: Iterable[str]) -> list[str]:
    hosts = [urlsplit(url.replace(DAY_PLACEHOLDER, SOME_DAY)).hostname or "" for url in urls]
    return sorted(set(map(bare_host, hosts)))
