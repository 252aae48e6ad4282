"""Pictures and further pages that an HTML page names."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp")

# A candidate of `srcset`: an address without white space (commas inside are its own), its width or density.
SRCSET_CANDIDATE = re.compile(r"\s*([^\s,]\S*[^\s,]|[^\s,])(?:\s+([0-9.]+)[wx])?\s*(?:,|$)")


@dataclass(frozen=True)
class PageLinks:
    """Absolute addresses in the order of the page, each once."""

    pictures: list[str]
    pages: list[str]


def page_links(document: Any, *, base_url: str) -> PageLinks:
    """Collect pictures (img, srcset, picture, Open Graph, links to picture files) and links to pages.

    Of the sizes in which a page offers the same picture, only the largest is taken.

    Args:
        document: a parsel selector over the page.
        base_url: what relative addresses are relative to.
    """
    pictures: dict[str, None] = {}
    pages: dict[str, None] = {}
    for reference in document.css('meta[property="og:image"]::attr(content)').getall():
        pictures[_absolute(reference, base_url)] = None
    for image in document.css("img"):
        sets = [image.attrib.get("srcset", "")]
        sets += image.xpath("ancestor::picture//source/@srcset").getall()
        reference = _largest(sets) or image.attrib.get("src", "")
        if reference.strip():
            pictures[_absolute(reference, base_url)] = None
    for anchor in document.css("a[href]"):
        url = _absolute(anchor.attrib["href"], base_url)
        if _path(url).endswith(PICTURE_SUFFIXES):
            pictures[url] = None
        elif (
            url.startswith(("http://", "https://")) and "nofollow" not in anchor.attrib.get("rel", "").lower()
        ):
            pages[url] = None
    return PageLinks(list(pictures), [url for url in pages if url not in pictures])


def _largest(sets: list[str]) -> str:
    """The candidate with the largest width or density over several `srcset`; empty where there is none."""
    best, best_size = "", -1.0
    for candidates in sets:
        for reference, size in SRCSET_CANDIDATE.findall(candidates):
            number = float(size) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", size) else 0.0
            if number > best_size:
                best, best_size = reference, number
    return best


def _absolute(reference: str, base_url: str) -> str:
    """The address without its fragment; a malformed one comes back as it stands, to be refused by name."""
    # Browsers drop tabs and line ends anywhere inside an address; PostgreSQL keeps no null characters.
    cleaned = re.sub(r"[\t\r\n\0]", "", reference.strip())
    try:
        return urldefrag(urljoin(base_url, cleaned)).url
    except ValueError:
        return cleaned


def _path(url: str) -> str:
    try:
        return urlsplit(url).path.lower()
    except ValueError:
        return ""
