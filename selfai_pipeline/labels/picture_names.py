"""Which picture a name in a ratings file means."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property

from selfai_pipeline.sources.spellings import as_compared, is_address, path_ends


class PictureNames:
    """Pictures by the names that a file may call them by.

    A name means the picture with exactly this name; else the one whose path or address ends with it
    (`001.jpg` means `faces/001.jpg`), as long as there is only one. In a folder, an absolute path or an
    address means the picture whose path it ends with, the longest one (`/data/all/faces/001.jpg` means
    `faces/001.jpg`, and not `001.jpg`). Accents may be written composed or decomposed, as macOS does.

    Args:
        pictures: pairs (name, path or address; picture), in any order.
    """

    def __init__(self, pictures: Iterable[tuple[str, str]]) -> None:
        self._exact: defaultdict[str, set[str]] = defaultdict(set)
        self._by_last: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        for spelled, picture in pictures:
            name = unicodedata.normalize("NFC", spelled)
            self._exact[name].add(picture)
            self._by_last[name.rpartition("/")[2]].add((name, picture))
        self._are_crawled = any(name.startswith(("http://", "https://")) for name in self._exact)

    @cached_property
    def addresses(self) -> frozenset[str]:
        """The names that are whole addresses; any other may be the name of several pictures."""
        return frozenset(filter(is_address, self._exact))

    def find(self, name: str) -> list[str]:
        """The pictures that `name` can mean, sorted: one where it is clear, none where nothing fits."""
        asked = as_compared(name)
        found = self._exact.get(asked)
        if not found:
            candidates = self._by_last.get(asked.rpartition("/")[2], set())
            found = {picture for full, picture in candidates if full.endswith(f"/{asked}")}
        if not found and not self._are_crawled:
            found = next((self._exact[end] for end in path_ends(asked) if end in self._exact), set())
        return sorted(found)
