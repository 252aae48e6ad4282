"""Words from outside as they may be published: no address, no path, nothing that Markdown would act on."""

import re

LONGEST = 80
HOST = re.compile(r"(?i)(?<![\w.-])(?:[a-z0-9-]+\.)+[a-z]{2,}(?![\w-])|\d{1,3}(?:\.\d{1,3}){3}")
PLAIN = re.compile(r"[^\W_][\w .,+()'&-]*")
CREATIVE_COMMONS = re.compile(
    r"https?://(?:www\.)?creativecommons\.org/(?:licenses/(?P<kind>[a-z-]+)|publicdomain/(?P<free>zero|mark))"
    r"/(?P<version>\d\.\d)(?:/[a-z.]*)*"
)
FREE = {"zero": "CC0", "mark": "Public Domain Mark"}


def published(text: str) -> str | None:
    """The text on one line, where it may stand in what is published; None where it may not.

    Letters, digits, spaces and a few marks may; whatever looks like a host, an address, a path or a mail
    address may not, nor what is longer than 80 characters.
    """
    line = " ".join(text.split())
    if len(line) > LONGEST or not PLAIN.fullmatch(line) or HOST.search(line):
        return None
    return line


def published_licence(text: str) -> str | None:
    """A licence as it may be published; the address of a Creative Commons licence becomes its name."""
    match = CREATIVE_COMMONS.fullmatch(text.strip())
    if match is None:
        return published(text)
    name = FREE[match["free"]] if match["free"] else f"CC {match['kind'].upper()}"
    return f"{name} {match['version']}"
