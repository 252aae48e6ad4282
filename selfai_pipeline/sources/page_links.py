"""Pictures and further pages that an HTML page names.

A page is hostile until read: everything here takes time in proportion to its length, up to a limit.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from lxml import etree  # type: ignore[import-untyped]

from selfai_pipeline.sources.addresses import absolute_url
from selfai_pipeline.sources.opt_outs import meta_directives

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp")
MOST_ELEMENTS = 200_000
"""How many elements of one page are looked at, from its beginning on."""

MOST_CHARACTERS = 20_000_000
"""Of all addresses of one page together: a long base makes each short reference as long."""

DEEPEST = 2048
"""How many elements may lie within each other; a page is read as far as that holds."""

LONGEST_SRCSET = 100_000
"""Characters; a longer `srcset` is passed over."""

# The parts of a candidate as in https://html.spec.whatwg.org/#parsing-a-srcset-attribute: its address, and
# what follows up to a comma outside of parentheses. Possessive repeats keep the search linear.
SRCSET_ADDRESS = re.compile(r"[ \t\n\f\r,]*+([^ \t\n\f\r]++)")
SRCSET_DESCRIPTORS = re.compile(r"((?:[^,(]++|\([^)]*+\)?)*+),?")
SRCSET_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)[wx]")

# A reference and its width or density, 0 where none is given.
Candidate = tuple[str, float]
NOTHING: Candidate = ("", -1.0)


@dataclass(frozen=True)
class PageLinks:
    """Absolute addresses in the order of the page, each once, and the directives of its meta tags."""

    pictures: list[str]
    pages: list[str]
    directives: frozenset[str] = frozenset()


Attributes = Mapping[str, str]
BYTES_AT_ONCE = 65536


def page_links(text: str, *, base_url: str) -> PageLinks:
    """Collect pictures (img, srcset, picture, Open Graph, links to picture files) and links to pages.

    Of the sizes in which a page offers the same picture, only the largest is taken.

    Args:
        text: the page.
        base_url: what relative addresses are relative to.
    """
    # A parser that builds a tree takes quadratic time for an element with many attributes.
    reader = _Reader(base_url)
    parser = etree.HTMLParser(target=reader, encoding="utf-8", huge_tree=True)
    content = text.replace("\0", "").encode(errors="replace")
    for start in range(0, len(content), BYTES_AT_ONCE):
        parser.feed(content[start : start + BYTES_AT_ONCE])
        if reader.seen > MOST_ELEMENTS or reader.depth > DEEPEST:
            break
    if content:
        parser.close()
    pages = [url for url in reader.pages if url not in reader.pictures]
    return PageLinks(list(reader.pictures), pages, reader.directives)


class _Reader:
    """Takes the elements of a page one by one from lxml, which calls `start`, `end` and `close`."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.pictures: dict[str, None] = {}
        self.pages: dict[str, None] = {}
        self.directives: frozenset[str] = frozenset()
        self.seen = self.depth = self.characters = 0
        self.offers: list[Candidate] = []
        """The best that the sources of each <picture> around the place offer."""

    def start(self, tag: str, attributes: Attributes) -> None:
        self.seen += 1
        self.depth += 1
        if self.seen > MOST_ELEMENTS:
            return
        if tag == "picture":
            self.offers.append(NOTHING)
        elif tag == "source" and self.offers:
            self.offers[-1] = _larger(self.offers[-1], _largest(attributes))
        elif tag == "img":
            offered = self.offers[-1] if self.offers else NOTHING
            reference, _ = _larger(_largest(attributes), offered)
            self.show(reference or attributes.get("src", ""))
        elif tag == "meta":
            self.directives |= meta_directives(attributes)
            if attributes.get("property") == "og:image":
                self.show(attributes.get("content", ""))
        elif tag == "a" and "href" in attributes:
            self.link(attributes["href"], rel=attributes.get("rel", ""))

    def end(self, tag: str) -> None:
        self.depth -= 1
        if tag == "picture" and self.offers:
            self.offers.pop()

    def close(self) -> None:
        pass

    def show(self, reference: str) -> None:
        if reference.strip():
            self.add(self.pictures, absolute_url(reference, self.base_url))

    def link(self, reference: str, *, rel: str) -> None:
        url = absolute_url(reference, self.base_url)
        if _path(url).endswith(PICTURE_SUFFIXES):
            self.add(self.pictures, url)
        elif url.startswith(("http://", "https://")) and "nofollow" not in rel.lower():
            self.add(self.pages, url)

    def add(self, addresses: dict[str, None], url: str) -> None:
        self.characters += len(url)
        if self.characters <= MOST_CHARACTERS:
            addresses[url] = None


def _largest(attributes: Attributes) -> Candidate:
    """The candidate with the largest width or density in the `srcset` of an element."""
    srcset = attributes.get("srcset", "")
    best = NOTHING
    if len(srcset) <= LONGEST_SRCSET:
        for candidate in srcset_candidates(srcset):
            best = _larger(best, candidate)
    return best


def _larger(first: Candidate, second: Candidate) -> Candidate:
    return second if second[1] > first[1] else first


def srcset_candidates(srcset: str) -> Iterator[Candidate]:
    """The addresses that a `srcset` names, each with its width or density."""
    position = 0
    while address := SRCSET_ADDRESS.match(srcset, position):
        position = address.end()
        reference, size = address[1].rstrip(","), 0.0
        if reference == address[1]:
            following = SRCSET_DESCRIPTORS.match(srcset, position)
            assert following is not None
            position = following.end()
            sizes = [found[1] for found in map(SRCSET_SIZE.fullmatch, following[1].split()) if found]
            size = float(sizes[0]) if sizes else 0.0
        yield reference, size


def _path(url: str) -> str:
    try:
        return urlsplit(url).path.lower()
    except ValueError:
        return ""
