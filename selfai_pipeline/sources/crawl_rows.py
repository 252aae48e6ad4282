"""The rows of `raw_crawl`, made of what the journal and the lists say."""

import datetime
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from selfai_pipeline.errors import AlteredVersion, MissingVersion
from selfai_pipeline.sources.folder import is_below
from selfai_pipeline.sources.folder_files import root_address
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.outcomes import HELD, READ, UNCHANGED, Found, Outcome
from selfai_pipeline.sources.settings import FolderSource, PagesSource, Source
from selfai_pipeline.sources.url_list import Listed, attributes_of, name_in
from selfai_pipeline.store import Store

logger = logging.getLogger("selfai.sources")

NOT_CRAWLED = "not_crawled"


def rows_of(
    source: Source,
    day: str,
    *,
    is_today: bool,
    store: Store,
    journal: Journal,
    listed: dict[str, Listed],
) -> Iterator[dict[str, Any]]:
    """The rows of one source; pages that were read are the way to the pictures, and no rows.

    Args:
        listed: what the list of a source says about its pictures now. What it no longer has keeps licence and
            attributes of the day's table as it is.
    """
    if isinstance(source, FolderSource):
        if source.day and source.day != day:
            return
        root = root_address(source, day, store.home)
        for outcome in journal.outcomes(source.name, day):
            if is_below(root, outcome):
                name = unquote_to_bytes(outcome.found.url.removeprefix(f"{root}/")).decode(errors="replace")
                yield _row(source, outcome, url=f"file:{name}", about=_about(name))
    else:
        earlier = None
        for outcome in journal.outcomes(source.name, day):
            if outcome.status == READ:
                continue
            url = outcome.found.url
            about = listed.get(url)
            if about is None and not isinstance(source, PagesSource):
                earlier = _earlier(source, day, store) if earlier is None else earlier
                about = earlier.get(url)
            yield _row(source, outcome, url=url, about=about or _about(name_in(url)))
    if source.is_live and not is_today and not journal.knows(source.name, day):
        address = source.start_urls[0] if isinstance(source, PagesSource) else source.path
        midnight = datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.UTC)
        never = Outcome(Found(address, "page"), NOT_CRAWLED, "", reason="not_today", fetched_at=midnight)
        yield _row(source, never, url=address, about=_about(""))


def _about(name: str) -> Listed:
    return Listed(None, attributes_of(name, {}))


def _earlier(source: Source, day: str, store: Store) -> dict[str, Listed]:
    """What the current table of the day says about the pictures of a list."""
    record = store.tables.current("raw_crawl", day)
    if record is None:
        return {}
    try:
        columns = ["source", "url", "licence", "attributes"]
        rows = store.tables.read(record.ref, columns).to_pylist()  # type: ignore[arg-type]
    except (MissingVersion, AlteredVersion) as error:
        logger.warning(
            "source %s, %s: what its list no longer has loses its licence: %s", source.name, day, error
        )
        return {}
    return {
        row["url"]: Listed(row["licence"], row["attributes"]) for row in rows if row["source"] == source.name
    }


def _row(source: Source, outcome: Outcome, *, url: str, about: Listed) -> dict[str, Any]:
    return {
        "image_id": outcome.image_id if outcome.status in HELD else None,
        "url": url,
        "source": source.name,
        "fetched_at": outcome.fetched_at,
        "status": outcome.status,
        "reason": outcome.reason,
        "licence": about.licence or source.licence or None,
        "format": outcome.format,
        "bytes": outcome.bytes,
        "width": outcome.width,
        "height": outcome.height,
        "orientation": outcome.orientation,
        "fetched_sha256": outcome.fetched_sha256,
        "unchanged_since": outcome.unchanged_since if outcome.status == UNCHANGED else None,
        "attributes": about.attributes,
    }
