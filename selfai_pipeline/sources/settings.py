"""What is crawled (`sources.yaml`) and within which limits (the knobs of a crawl)."""

import datetime
import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from selfai_pipeline.environment import Settings
from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.declarations import line_of, read_declarations
from selfai_pipeline.storage import replace_file

SAMPLE_GALLERY = "sample-gallery"
"""Name of the source that `selfai init` declares for the rendered sample gallery."""

SOURCE_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"
DAY_PLACEHOLDER = "{day}"
HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def is_day(text: str) -> bool:
    """Whether `text` is a day of the calendar, written YYYY-MM-DD."""
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def bare_host(host: str) -> str:
    """A host name or literal address in the one form in which hosts are compared.

    It is the form that goes over the wire: lower case, international names in ASCII (IDNA 2008), without
    brackets and without a dot at the end. What is no host name stays as it is, in lower case.
    """
    bare = host.strip("[]").lower()
    if not bare.isascii():
        # Its tables would slow down every start of Dagster, and few hosts need them.
        import idna

        try:
            bare = idna.encode(bare, uts46=True).decode()
        except UnicodeError:
            return bare
    return bare.rstrip(".")


def host_names(names: list[str]) -> list[str]:
    """`names` as `bare_host` writes them.

    Raises:
        ValueError: one of them is neither a host name nor a literal address.
    """
    hosts = [bare_host(name) for name in names]
    for name, host in zip(names, hosts, strict=True):
        if not HOST_NAME.fullmatch(host) and not _is_address(host):
            raise ValueError(
                f"{name!r} is not a host name; write it without http://, without a port and without a path"
            )
    return hosts


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def host_and_port(address: str) -> tuple[str, int]:
    """Split `host:port` or `[IPv6]:port`; the host as `bare_host` writes it.

    Raises:
        ValueError: there is no host, or no port of 1..65535.
    """
    host, _, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = bare_host(host)
    if not host or (":" in host) != bracketed or not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError(f"{address!r} is not host:port")
    if not 1 <= int(port) <= 65535:
        raise ValueError(f"{address!r} has no port of 1..65535")
    return host, int(port)


def is_loopback_host(host: str) -> bool:
    """Whether a host name or a literal address means this machine."""
    bare = bare_host(host)
    return bare == "localhost" or (_is_address(bare) and ipaddress.ip_address(bare).is_loopback)


def _local_path(path: str) -> str:
    """Raises ValueError where `path` can name no file."""
    if "\0" in path:
        raise ValueError("a path has no null characters")
    try:
        Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"there is no home folder for {path!r}") from None
    return path


LocalPath = Annotated[str, AfterValidator(_local_path)]


class RatingsFile(Settings):
    """A CSV with ratings of a source's pictures: one row a rating, or one row a mean over several."""

    path: LocalPath = Field(min_length=1, description="The CSV; absolute, or relative to SELFAI_HOME.")
    picture_column: str = Field("image", min_length=1, description="Column with the picture's name.")
    score_column: str = Field("score", min_length=1, description="Column with the score.")
    annotator_column: str = Field(
        "annotator", description="Column with the annotator; empty: each row is a mean over annotators."
    )
    count_column: str = Field("", description="Column with the number of ratings behind a mean; empty: none.")
    rated_at_column: str = Field("", description="Column with the moment of the rating; empty: none.")
    minimum: float = Field(0.0, description="Lowest score of the scale, mapped to 0.")
    maximum: float = Field(9.0, description="Highest score of the scale, mapped to 9.")
    attribute_columns: list[str] | None = Field(
        None, description="Further columns to keep as attributes; unset: all of them."
    )

    @model_validator(mode="after")
    def _scale_has_a_width(self) -> "RatingsFile":
        if not self.minimum < self.maximum:
            raise ValueError(f"minimum ({self.minimum:g}) has to be below maximum ({self.maximum:g})")
        return self

    def file(self, home: Home) -> Path:
        return home.root / Path(self.path).expanduser()


class PicturesFile(Settings):
    """A CSV with further columns about a source's pictures (person, age, group ...), one row a picture."""

    path: LocalPath = Field(min_length=1, description="The CSV; absolute, or relative to SELFAI_HOME.")
    picture_column: str = Field("image", min_length=1, description="Column with the picture's name.")

    def file(self, home: Home) -> Path:
        return home.root / Path(self.path).expanduser()


class _DeclaredSource(Settings):
    """What every kind of source declares."""

    name: str = Field(pattern=SOURCE_NAME, description="Lower-case letters, digits and single hyphens.")
    licence: str = Field("", description="Licence of the pictures, as the source states it.")
    ratings: list[RatingsFile] = Field(default=[], description="Ratings of its pictures.")
    pictures: PicturesFile | None = Field(default=None, description="Further columns about its pictures.")


class PagesSource(_DeclaredSource):
    """Web pages whose pictures are crawled.

    With `{day}` in each start URL any day can be crawled; without it the source is live: it has today's
    pictures only.
    """

    kind: Literal["pages"] = "pages"
    start_urls: list[str] = Field(min_length=1, description="First pages; `{day}` stands for YYYY-MM-DD.")
    allowed_domains: list[str] = Field(
        default=[],
        description="Hosts that pages and pictures may come from, with their subdomains; "
        "empty: the hosts of the start URLs.",
    )
    depth: int = Field(default=1, ge=0, le=20, description="How many links away from a start page to read.")
    allowed_addresses: list[str] = Field(
        default=[],
        description="host:port or IP:port inside a private network that may be reached all the same.",
    )

    @field_validator("start_urls")
    @classmethod
    def _start_urls_are_web_addresses(cls, urls: list[str]) -> list[str]:
        for url in urls:
            parts = urlsplit(url.replace(DAY_PLACEHOLDER, "2026-01-01"))
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{url!r} is not an http or https address")
            if "@" in parts.netloc:
                raise ValueError("an address with a user name or a password is not crawled")
        if len({DAY_PLACEHOLDER in url for url in urls}) > 1:
            raise ValueError(f"either every start URL has {DAY_PLACEHOLDER} or none: make two sources of it")
        return urls

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
    def is_live(self) -> bool:
        """Whether it has the pictures of today only."""
        return not any(DAY_PLACEHOLDER in url for url in self.start_urls)

    def start_urls_of(self, day: str) -> list[str]:
        return [url.replace(DAY_PLACEHOLDER, day) for url in self.start_urls]

    @property
    def domains(self) -> list[str]:
        """The hosts that may be asked, as `bare_host` writes them."""
        if self.allowed_domains:
            return self.allowed_domains
        hosts = [urlsplit(url).hostname or "" for url in self.start_urls_of("2026-01-01")]
        return sorted(set(map(bare_host, hosts)))


class FolderSource(_DeclaredSource):
    """A folder of pictures on this machine; all of them fall on one day."""

    kind: Literal["folder"] = "folder"
    path: LocalPath = Field(min_length=1, description="The folder; absolute, or relative to SELFAI_HOME.")
    day: str = Field(description="YYYY-MM-DD, the day on which its pictures fall.")

    @field_validator("day")
    @classmethod
    def _day_is_a_day(cls, day: str) -> str:
        if not is_day(day):
            raise ValueError(f"{day!r} is not a day written YYYY-MM-DD")
        return day

    def folder(self, home: Home) -> Path:
        return home.root / Path(self.path).expanduser()


Source = Annotated[PagesSource | FolderSource, Field(discriminator="kind")]


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


def load_sources(path: Path) -> list[Source]:
    """The sources declared in a `sources.yaml`, in its order.

    Raises:
        InputError: the file is missing or cannot be read, or a key, a value or a name in it is wrong; the
            message names the line.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(
            "there is no such file", where=str(path), mend="Make one with `selfai init`."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"it cannot be read ({error})", where=str(path), mend="It has to be a text file in UTF-8."
        ) from error
    declarations, lines = read_declarations(text, path)
    adapter: TypeAdapter[Source] = TypeAdapter(Source)
    sources: list[Source] = []
    for index, declaration in enumerate(declarations):
        if isinstance(declaration, dict):
            declaration.setdefault("kind", "pages")
        try:
            source = adapter.validate_python(declaration)
        except ValidationError as error:
            first = error.errors()[0]
            tagged = first["loc"][:1] in (("pages",), ("folder",))
            location = first["loc"][1:] if tagged else first["loc"]
            raise InputError(
                f"{'.'.join(map(str, location)) or 'source'}: {_problem(first)}",
                where=f"{path}, line {line_of(lines, ('sources', index, *location))}",
                mend="Mend that line; docs/sources.md lists every key.",
            ) from None
        if any(source.name == other.name for other in sources):
            raise InputError(
                f"a second source is called {source.name!r}",
                where=f"{path}, line {line_of(lines, ('sources', index, 'name'))}",
                mend="Give each source a name of its own.",
            )
        sources.append(source)
    return sources


def save_sources(path: Path, sources: list[Source]) -> None:
    """Write `sources` as a new `sources.yaml`; a reader sees the old file or the new one, never a part.

    Raises:
        StorageError: the file cannot be written.
    """
    import yaml

    from selfai_pipeline.sources.source_text import HEAD

    declarations = [_declaration(source) for source in sources]
    text = yaml.safe_dump({"sources": declarations}, sort_keys=False, allow_unicode=True, width=110)
    replace_file(path, f"{HEAD}{text}".encode())


def text_with_source(path: Path, source: Source) -> str:
    """`sources.yaml` with a source in place of the one of its name, or added; all else in the text stays.

    Raises:
        InputError: the file is no valid one, or is written so that one source cannot be changed alone.
    """
    from selfai_pipeline.sources.source_text import with_source

    text = path.read_text(encoding="utf-8-sig") if path.exists() else ""
    return with_source(text, _declaration(source), path=path)


def _declaration(source: Source) -> dict[str, Any]:
    """The source as plain values, without those that are the default."""
    values = source.model_dump(mode="json", exclude_defaults=True)
    return {"name": source.name, "kind": source.kind, **values}


def _problem(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "no such key"
    if error["type"] == "union_tag_invalid":
        return "kind has to be pages or folder"
    message = str(error["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
