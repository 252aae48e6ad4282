"""What a site reserves: directives in the headers of an answer and in the meta tags of a page.

X-Robots-Tag and `<meta name="robots">` carry noindex, noimageindex, nofollow, none, and by convention noai
and noimageai; TDMRep (W3C, final community group report of May 2024) carries `tdm-reservation: 1`.
"""

import re
from collections.abc import Iterable, Mapping

AGENT = "selfai"
"""The name by which robots.txt and directives may address this crawler."""

ROBOTS_HEADER = "X-Robots-Tag"
TDM = "tdm-reservation"
NOFOLLOW = "nofollow"
TDM_RESERVATION = "tdm_reservation"
REFUSALS = ("noai", "noimageai", "noindex", "noimageindex", TDM_RESERVATION)
"""Reasons for which a picture is not taken, in the order in which the first one is named."""

ADDRESSED = (AGENT, "*", "robots")
AGENT_NAME = re.compile(r"[a-z*][a-z0-9_.*-]*")
WITH_VALUE = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
NOTHING: frozenset[str] = frozenset()


def header_directives(robots: Iterable[str], tdm: Iterable[str]) -> frozenset[str]:
    """The directives of an answer that count for this crawler, in lower case; `none` stands for its parts.

    A directive behind `name:` counts for that crawler alone, up to the next name; one without for everybody.
    The strictest counts: what is said to everybody is not taken back by what is said to one.

    Args:
        robots: each X-Robots-Tag header.
        tdm: each tdm-reservation header.
    """
    said: list[str] = []
    for value in robots:
        addressed = True
        for part in value.lower().split(","):
            name, colon, rest = (piece.strip() for piece in part.partition(":"))
            if colon and name not in WITH_VALUE and AGENT_NAME.fullmatch(name):
                addressed = name in ADDRESSED
                name = rest
            if addressed:
                said += name.split()
    return _directives(said, tdm)


def meta_directives(attributes: Mapping[str, str]) -> frozenset[str]:
    """The directives of one meta tag that count for this crawler; empty for any other meta tag."""
    name = attributes.get("name", "").strip().lower()
    content = attributes.get("content", "")
    if name == TDM:
        return _directives([], [content])
    if name in ("robots", AGENT):
        return _directives(re.split(r"[,\s]+", content.lower()), [])
    return NOTHING


def refusal(directives: frozenset[str]) -> str | None:
    """Why a picture, or the pictures of a page, may not be taken; None where they may."""
    return next((reason for reason in REFUSALS if reason in directives), None)


def _directives(said: list[str], tdm: Iterable[str]) -> frozenset[str]:
    found = {word for word in said if word in (*REFUSALS, NOFOLLOW)}
    if "none" in said:
        found |= {"noindex", NOFOLLOW}
    if any(value.strip() == "1" for value in tdm):
        found.add(TDM_RESERVATION)
    return frozenset(found)
