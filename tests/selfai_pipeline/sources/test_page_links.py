"""Pictures and pages that an HTML page names."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfai_pipeline.sources.address_guard import AddressRules
from selfai_pipeline.sources.page_links import (
    MOST_CHARACTERS,
    MOST_ELEMENTS,
    PageLinks,
    page_links,
    srcset_candidates,
)


def links(html: str) -> PageLinks:
    return page_links(html, base_url="http://x.org/day/index.html")


def test_pictures_are_taken_from_images_open_graph_and_links_to_files() -> None:
    found = links(
        '<meta property="og:image" content="/cover.png"><img src="a.jpg">'
        '<img src=" b.jpg#top "><img src="a.jpg">'
        '<a href="full/C.JPEG">large</a><a href="next.html">next</a>'
    )
    assert found.pictures == [
        "http://x.org/cover.png",
        "http://x.org/day/a.jpg",
        "http://x.org/day/b.jpg",
        "http://x.org/day/full/C.JPEG",
    ]
    assert found.pages == ["http://x.org/day/next.html"]


def test_of_several_sizes_only_the_largest_is_taken() -> None:
    found = links(
        '<img src="s.jpg" srcset="s.jpg 200w, m,1.jpg 400w , l.jpg 800w">'
        '<picture><source srcset="p2.webp 2x, p3.webp 3x"><img src="p1.jpg"></picture>'
        '<img srcset="only.jpg">'
    )
    assert found.pictures == [
        "http://x.org/day/l.jpg",
        "http://x.org/day/p3.webp",
        "http://x.org/day/only.jpg",
    ]


def test_links_that_are_no_pages_or_ask_not_to_be_followed_are_left() -> None:
    found = links(
        '<a href="mailto:a@x.org">m</a><a href="javascript:void(0)">j</a><a href="#top">t</a>'
        '<a href="http://y.org/" rel="external NOFOLLOW">n</a><a>nothing</a><img alt="none"><img src="">'
    )
    assert found.pictures == []
    assert found.pages == ["http://x.org/day/index.html"]


def test_a_malformed_address_is_kept_to_be_refused() -> None:
    assert links('<img src="http://[::1/a.jpg"><a href="http://[::1/">x</a>').pictures == [
        "http://[::1/a.jpg"
    ]


def test_files_and_embedded_pictures_are_named_to_be_refused() -> None:
    found = links('<img src="file:///etc/shadow.png"><img src="data:image/png;base64,AA==">')
    assert found.pictures == ["file:///etc/shadow.png", "data:image/png;base64,AA=="]


def test_an_empty_page_has_no_links() -> None:
    assert links("<html></html>") == PageLinks([], [])


def test_meta_tags_are_gathered_wherever_they_stand() -> None:
    found = links(
        '<META NAME="Robots" CONTENT="NoIndex"><meta name=robots content="noai, all"><img src="a.jpg">'
        '<p><meta name="selfai" content="nofollow"><meta name="tdm-reservation" content="1">'
        '<meta name="googlebot" content="noimageindex"><meta name="description" content="noimageai">'
    )
    assert found.directives == {"noindex", "noai", "nofollow", "tdm_reservation"}
    assert found.pictures == ["http://x.org/day/a.jpg"]


@pytest.mark.parametrize(
    ("srcset", "expected"),
    [
        ("a.jpg", [("a.jpg", 0)]),
        ("a.jpg 1x, b.jpg 1.5x", [("a.jpg", 1), ("b.jpg", 1.5)]),
        ("  a,b.jpg 100w ,, c.jpg 200w 50h,", [("a,b.jpg", 100), ("c.jpg", 200)]),
        ("a.jpg, b.jpg 2x", [("a.jpg", 0), ("b.jpg", 2)]),
        ("a.jpg (x, y) 3x, b.jpg", [("a.jpg", 3), ("b.jpg", 0)]),
        ("a.jpg (open, b.jpg", [("a.jpg", 0)]),
        ("data:image/gif;base64,AA 1x,b.jpg 2x", [("data:image/gif;base64,AA", 1), ("b.jpg", 2)]),
        ("a.jpg huge, b.jpg -1x", [("a.jpg", 0), ("b.jpg", 0)]),
        (" ,, , ", []),
        ("", []),
    ],
)
def test_the_candidates_of_a_srcset(srcset: str, expected: list[tuple[str, float]]) -> None:
    """As in https://html.spec.whatwg.org/#parsing-a-srcset-attribute."""
    assert list(srcset_candidates(srcset)) == expected


def repeated(piece: str, size: int) -> str:
    return piece * (size // len(piece))


@pytest.mark.parametrize(
    "page",
    [
        lambda size: f'<img srcset="{"a" * size} b">',
        lambda size: repeated(f'<img srcset="{"a" * 90_000} b">', size),
        lambda size: repeated(f'<img srcset="{"a (" * 30_000}">', size),
        lambda size: f"<picture>{repeated('<source srcset=a><img src=b>', size)}</picture>",
        lambda size: repeated("<picture><source srcset=a><img src=b>", size),
        lambda size: f"<img {' '.join(f'a{number}' for number in range(size // 8))} src=b>",
        lambda size: repeated("<b></i>", size),
        lambda size: repeated("<a href=b>", size),
    ],
    ids=[
        "srcset",
        "srcsets",
        "parentheses",
        "sources",
        "pictures",
        "attributes",
        "ends-of-nothing",
        "links",
    ],
)
@pytest.mark.timeout(60)
def test_no_page_holds_up_a_crawl(page: Callable[[int], str]) -> None:
    """8 MB take about a second; in quadratic time they would take minutes to hours."""
    assert len(links(page(8_000_000)).pictures) <= 1


def test_a_page_is_read_up_to_a_number_of_elements() -> None:
    assert links(f"<img src=first.jpg>{'<br>' * MOST_ELEMENTS}<img src=last.jpg>").pictures == [
        "http://x.org/day/first.jpg"
    ]


def test_short_references_to_a_long_base_take_no_more_memory_than_the_page_may() -> None:
    base = f"http://x.org/{'a' * 2000}/"
    page = "".join(f"<a href={number}>" for number in range(50_000))
    found = page_links(page, base_url=base)
    assert 0 < sum(map(len, found.pages)) <= MOST_CHARACTERS


PIECES = [
    *('<img src="', '<a href="', '<base href="', 'srcset="', '">', "</a>", "http://", "//", "[", "]", "::1"),
    *("x.org", ":99999", "@", "\\", "?", "#", "%zz", "&#0;", "&#xD800;", "\x00", " ", ",", ".jpg", "é"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@settings(max_examples=200, deadline=None)
def test_whatever_a_page_holds_each_address_can_be_judged_and_written_down(html: str) -> None:
    rules = AddressRules.of(domains=["x.org"], denied_hosts=[], allowed_addresses=[])
    found = links(html)
    for url in found.pictures + found.pages:
        assert "\x00" not in url
        assert url.encode().decode() == url
        assert rules.refusal(url) is None or rules.refusal(url).isidentifier()  # type: ignore[union-attr]
