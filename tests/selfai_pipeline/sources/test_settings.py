"""sources.yaml: what is accepted, and what a wrong line is answered with."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.addresses import bare_host, host_and_port
from selfai_pipeline.sources.settings import (
    CrawlSettings,
    FolderSource,
    PagesSource,
    PicturesFile,
    RatingsFile,
    SourceLimits,
    UrlListSource,
    load_sources,
    save_sources,
)

GALLERY = PagesSource(name="gallery", start_urls=["http://127.0.0.1:8650/{day}/index.html"])
FACES = FolderSource(
    name="faces",
    path="imports/faces",
    day="2026-01-01",
    licence="CC-BY 4.0",
    ratings=[RatingsFile(path="imports/faces/ratings.csv", minimum=1, maximum=7)],
    pictures=PicturesFile(path="imports/faces/pictures.csv"),
)


LISTED = UrlListSource(
    name="listed",
    path="s3://bucket/list.parquet",
    date_column="date",
    limits=SourceLimits(requests_per_second=2, deny_hosts=["Bad.example"]),
)


def test_saved_sources_are_loaded_again_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    save_sources(path, [GALLERY, FACES, LISTED])
    assert load_sources(path) == [GALLERY, FACES, LISTED]
    assert [entry.name for entry in tmp_path.iterdir()] == ["sources.yaml"]


def test_a_day_needs_no_quotes(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text("sources:\n  - {name: faces, kind: folder, path: faces, day: 2026-01-01}\n")
    (source,) = load_sources(path)
    assert isinstance(source, FolderSource)
    assert source.day == "2026-01-01"


@pytest.mark.parametrize("text", ["", "sources:\n", "sources: []\n", "# nothing yet\n"])
def test_a_file_without_sources_is_an_empty_list(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(text)
    assert load_sources(path) == []


PAGES = "sources:\n  - name: a\n    start_urls: ['http://x.org/']\n"
LIST = "sources:\n  - name: a\n    kind: url_list\n"
FOLDER = "sources:\n  - name: faces\n    kind: folder\n    path: faces\n    day: 2026-01-01\n"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (f"{FOLDER}    pathh: x\n", 6, "pathh: no such key"),
        (f"{FOLDER}    ratings:\n      - path: r.csv\n        scale: 5\n", 8, "ratings.0.scale: no such key"),
        (f"{FOLDER}    ratings:\n      - path: r.csv\n        minimum: 9\n", 7, "has to be below maximum"),
        (
            f"{FOLDER}  - name: faces\n    start_urls: ['http://x.org']\n",
            6,
            "a second source is called 'faces'",
        ),
        (f"{FOLDER}    path: other\n", 6, "the key 'path' stands twice"),
        (
            "sources:\n  - name: a\n    kind: ftp\n",
            3,
            "no kind of source is called 'ftp'; it has to be one of: ",
        ),
        ("sources:\n  - name: a\n    kind:\n", 3, "has to be one of: pages, url_list, folder"),
        ("sources:\n  - name: a\n    kind: [folder]\n", 3, "has to be one of: pages, url_list, folder"),
        ("sources:\n  - name: a\n    start_urls: [ftp://x.org]\n", 3, "is not an http or https address"),
        ("sources:\n  - name: a\n    start_urls:\n      - http://x.org\n    depth: deep\n", 5, "depth"),
        ("sources:\n  - name: a\n    kind: folder\n    path: x\n    day: 2026-02-30\n", 5, "not a day"),
        ("sources:\n  - name: A B\n    start_urls: ['http://x.org']\n", 2, "name: string should match"),
        ("sources:\n  - faces\n", 2, "valid dictionary"),
        ("sauces:\n  - faces\n", 1, "sauces: no such key"),
        ("sources:\n  a: 1\n", 1, "no list of sources"),
        ("sources: [\n", 2, "no YAML"),
        ("- name: a\n", 1, "no list of sources"),
        ("sources: &a\n  - *a\n", 1, "used again by an alias"),
        ("sources:\n  - &a {name: x, start_urls: ['http://x.org']}\n  - *a\n", 2, "used again by an alias"),
        ("sources:\n  - name: a\n    start_urls: ['http://x']\n    depth: !!int '['\n", 4, "valid integer"),
        (f"sources:\n  - name: a\n    start_urls: ['http://x']\n    depth: {'9' * 5000}\n", 4, "depth"),
        (FOLDER.replace("path: faces", "path: ~nosuchuser/x"), 4, "no home folder for '~nosuchuser/x'"),
        (FOLDER.replace("path: faces", 'path: "a\\0b"'), 4, "null"),
        (f"{FOLDER}    ratings:\n      - path: ~nosuchuser/x\n", 7, "no home folder"),
        (f"{FOLDER}    pictures:\n      path: ~nosuchuser/x\n", 7, "no home folder"),
        ("sources:\n  - name: a\n    start_urls: ['http://ann:pw@x.org/']\n", 3, "a user name or a password"),
        (f"{FOLDER}    limits:\n      max_byte: 5000\n", 7, "limits.max_byte: no such key"),
        (f"{FOLDER}    limits:\n      max_bytes: 5\n", 7, "limits.max_bytes: input should be greater than"),
        (f"{FOLDER}    limits: 5\n", 6, "limits: it has keys of its own"),
        (f"{FOLDER}    limits:\n      retries: 5\n", 6, "retries means nothing for a folder"),
        (f"{PAGES}    limits:\n      contact: me@x.org\n", 5, "there is one contact for all sources"),
        (f"{PAGES}    limits:\n      deny_hosts: [www.x.org, x.org]\n", 2, "x.org is in deny_hosts too"),
        (f"{PAGES}    allowed_domains: [y.org]\n", 3, "x.org is outside of allowed_domains"),
        (f"{PAGES}    depth: 0\n    allowed_domains: [a.x.org]\n", 3, "x.org is outside of allowed_domains"),
        (
            f"{PAGES}    allowed_addresses: ['a.x.org:80']\n    limits: {{deny_hosts: [a.x.org]}}\n",
            2,
            "a.x.org is in deny_hosts too, and is never asked",
        ),
        (FOLDER.replace("path: faces", "path: faces/{day}"), 5, "the path has {day} already"),
        (
            FOLDER.replace("path: faces", "path: ftp://x/y"),
            4,
            "'ftp://x/y' is neither a path on this machine",
        ),
        (
            FOLDER.replace("path: faces", "path: 's3://'"),
            4,
            "begins with s3://, gs://, az://, abfs://, memory://",
        ),
        (FOLDER.replace("path: faces", "path: zip::s3://a/b.zip"), 4, "neither a path on this machine"),
        (f"{LIST}    path: list.txt\n", 4, "the name of a list ends in one of .csv, .csv.gz, .jsonl"),
        (f"{LIST}    path: http://x.org/list.csv\n", 4, "neither a path on this machine nor an address"),
        (f"{LIST}    path: a.csv\n    date_column: url\n", 5, "the column 'url' has another meaning already"),
        (f"{LIST}    path: a.csv\n    start_urls: ['http://x']\n", 5, "start_urls: no such key"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_sources(path)
    assert f"{path}, line {line}:" in str(caught.value)
    assert says in caught.value.what


def test_values_that_lie_too_deep_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(f"sources: {'[' * 5000}{']' * 5000}\n")
    with pytest.raises(InputError, match="too deeply"):
        load_sources(path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="selfai init"):
        load_sources(tmp_path / "sources.yaml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_bytes(b"\xff\xfe\x00sources")
    with pytest.raises(InputError, match="UTF-8"):
        load_sources(path)


def test_a_source_is_live_unless_its_addresses_name_the_day() -> None:
    live = PagesSource(name="news", start_urls=["https://example.org/"])
    assert live.is_live
    assert not GALLERY.is_live
    assert GALLERY.start_urls_of("2026-01-02") == ["http://127.0.0.1:8650/2026-01-02/index.html"]
    assert live.domains == ["example.org"]


def test_start_urls_with_and_without_a_day_do_not_mix() -> None:
    with pytest.raises(ValidationError, match="two sources"):
        PagesSource(name="mixed", start_urls=["http://x.org/{day}", "http://x.org/"])


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:8650", ("::1", 8650)), ("Intra.Net:1", ("intra.net", 1))],
)
def test_host_and_port(address: str, expected: tuple[str, int]) -> None:
    assert host_and_port(address) == expected


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "host:", ":80", "host:0", "host:70000", "::1:80", "host:+1"]
)
def test_an_allowed_address_needs_a_port(address: str) -> None:
    with pytest.raises(ValidationError):
        PagesSource(name="a", start_urls=["http://x.org"], allowed_addresses=[address])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("Evil.DE.", "evil.de"),
        ("bücher.de", "xn--bcher-kva.de"),
        ("XN--BCHER-KVA.de", "xn--bcher-kva.de"),
        ("straße.de", "xn--strae-oqa.de"),
        ("evil\u3002de\u3002", "evil.de"),
        ("[::1]", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("my_host", "my_host"),
    ],
)
def test_a_host_is_compared_in_one_form(host: str, expected: str) -> None:
    assert bare_host(host) == expected
    assert CrawlSettings(deny_hosts=[host]).deny_hosts == [expected]
    source = UrlListSource(name="a", path="list.csv", allowed_domains=[host])
    assert source.domains == [expected]


@pytest.mark.parametrize(
    "host",
    ["", "http://worse.de", "worse.de/", "ann@worse.de", "worse.de:80", "*.worse.de", " a.de", "a..ü.de"],
)
def test_what_is_no_host_name_can_be_neither_denied_nor_allowed(host: str) -> None:
    with pytest.raises(ValidationError, match="not a host name"):
        CrawlSettings(deny_hosts=[host])
    with pytest.raises(ValidationError, match="not a host name"):
        PagesSource(name="a", start_urls=["http://x.org"], allowed_domains=[host])


def test_denied_pictures_are_hashes_in_one_form() -> None:
    assert CrawlSettings(deny_pictures=["AB" * 32]).deny_pictures == ["ab" * 32]
    for written in ("", "ab" * 31, "xy" * 32, f"{'ab' * 32} ", "http://x.org/a.jpg"):
        with pytest.raises(ValidationError, match="no SHA-256"):
            CrawlSettings(deny_pictures=[written])


def test_a_record_tells_that_the_deny_lists_changed_and_not_what_they_name() -> None:
    """It outlives the removal of what they name."""
    assert CrawlSettings().recorded()["deny_pictures"] == []
    one, both = (
        CrawlSettings(deny_pictures=["ab" * 32, "cd" * 32][:count], deny_hosts=["x.example"]).recorded()
        for count in (1, 2)
    )
    assert one["deny_hosts"] == both["deny_hosts"]
    assert one["deny_pictures"] != both["deny_pictures"]
    assert not any(name in str(both) for name in ("abab", "x.example"))


@pytest.mark.parametrize("contact", ["me@example.org\r\nX-Other: 1", "bücher.de", "a\tb"])
def test_a_contact_has_to_fit_into_a_header(contact: str) -> None:
    with pytest.raises(ValidationError, match="on one line"):
        CrawlSettings(contact=contact)


def test_the_defaults_of_the_sample_are_fields_that_exist() -> None:
    assert set(CrawlSettings.sample) <= set(CrawlSettings.model_fields)


def test_the_settings_load_light() -> None:
    """Dagster imports them with the definitions, in every process that it starts."""
    heavy = ["idna", "scrapy", "aiohttp", "sqlalchemy", "yaml", "numpy", "pyarrow", "pandas", "torch", "cv2"]
    code = f"import sys, selfai_pipeline.sources.settings; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_scheduled_crawls_take_the_contact_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CrawlSettings().contact == ""
    monkeypatch.setenv("SELFAI_CONTACT", "crawler@example.org")
    assert CrawlSettings().contact == "crawler@example.org"
    assert CrawlSettings(contact="other@example.org").contact == "other@example.org"


def test_a_source_sets_some_limits_and_has_the_others_of_the_run() -> None:
    run = CrawlSettings(requests_per_second=9, timeout_s=5, deny_hosts=["worse.example"], contact="me@x.org")
    limits = LISTED.limits.over(run)
    assert (limits.requests_per_second, limits.timeout_s, limits.contact) == (2, 5, "me@x.org")
    assert limits.deny_hosts == ["worse.example", "bad.example"]
    assert FACES.limits.over(run) is run


def test_a_limit_that_is_set_to_its_default_is_set_all_the_same() -> None:
    default = CrawlSettings().requests_per_second
    limits = SourceLimits(requests_per_second=default)
    assert limits != SourceLimits()
    assert limits.over(CrawlSettings(requests_per_second=9)).requests_per_second == default
    source = GALLERY.model_copy(update={"limits": limits})
    assert PagesSource.model_validate(source.model_dump(mode="json")) == source != GALLERY
