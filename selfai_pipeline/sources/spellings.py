"""How a file may write the name of a picture: one reading for all who compare such names."""

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

ABSOLUTE = re.compile(r"([A-Za-z][\w+.-]*:)?/")


def as_compared(name: str) -> str:
    """A name in the form in which names are compared: accents composed, `/` between folders."""
    return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./")


def path_ends(asked: str) -> Iterator[str]:
    """The ends of an absolute path or an address, the longest first; none of a relative path."""
    if not ABSOLUTE.match(asked):
        return
    try:
        path = unquote(urlsplit(asked).path) if "://" in asked else asked
    except ValueError:
        return
    _, *parts = path.split("/")
    yield from ("/".join(parts[first:]) for first in range(len(parts)))


def inside_folder(path: str) -> str:
    """The address that the tables have of a picture at a path inside the folder of its source."""
    return f"file:{path}"


def is_address(name: str) -> bool:
    """Whether a name of a picture, as the tables have it, is its address."""
    return name.startswith("file:") or "://" in name
