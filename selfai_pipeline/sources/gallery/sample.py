"""Makes the sample ready: pictures rendered once, ratings simulated, the gallery declared as a source."""

import contextlib
import datetime
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from selfai_pipeline.errors import StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.gallery.annotators import ratings_csv, simulate_ratings
from selfai_pipeline.sources.gallery.files import other_file, portrait_file
from selfai_pipeline.sources.gallery.pages import ROBOTS, day_page, front_page
from selfai_pipeline.sources.gallery.plan import PRIVATE_ADDRESS, Item, Kind, plan_gallery
from selfai_pipeline.sources.gallery.server import GALLERY_HOST, REDIRECTS_FILE, SERVED_FOLDER, gallery_folder
from selfai_pipeline.sources.gallery.settings import GallerySettings
from selfai_pipeline.sources.settings import SAMPLE_GALLERY
from selfai_pipeline.storage import replace_file

logger = logging.getLogger("selfai.sources")

ATTRIBUTES_FILE = "portraits.json"
STAMP_FILE = "gallery.json"
ADDRESS = re.compile(rf"{re.escape(GALLERY_HOST)}:\d+")
PROGRESS_EVERY = 50
LEFTOVER_AGE_S = 3600


def prepare_sample(home: Home, settings: GallerySettings) -> None:
    """Render the gallery, simulate its ratings, and declare it; what is there already stays.

    Written are `cache/gallery/<fingerprint>/` (moved into place when it is whole),
    `imports/sample-gallery/ratings.csv` (again only for other settings) and, where there is none,
    `sources.yaml`.

    Raises:
        StorageError: the home is full or cannot be written; a second call goes on from what is whole.
    """
    home.create()
    plan = plan_gallery(settings)
    with _storage_errors(home.root):
        folder = gallery_folder(home, settings)
        if not folder.exists():
            _render_gallery(folder, plan, settings)
        _write_ratings(home, plan, settings)
        _declare(home, settings)


def sources_text(port: int) -> str:
    """A commented `sources.yaml` that declares the gallery served on `port` of 127.0.0.1."""
    return f"""\
# Where pictures come from. Every source has a name; its pictures are crawled a day at a time.
# After a change, materialize raw_crawl again: what was fetched before is not asked for a second time.
sources:
  # The sample gallery: rendered portraits with simulated ratings, served by this machine to itself.
  # Take it out once you have sources of your own.
  - name: {SAMPLE_GALLERY}
    kind: pages                 # web pages; the other kind is `folder`, made by `selfai import`
    licence: CC0-1.0 (rendered by a program, nobody's photograph)
    start_urls:                 # {{day}} stands for the day that is crawled, such as 2026-01-01
      - http://{GALLERY_HOST}:{port}/{{day}}/index.html
    allowed_domains:            # nothing is fetched from any other host
      - {GALLERY_HOST}
    depth: 1                    # how many links away from the start page to look
    allowed_addresses:          # private addresses are refused but for the ones named here
      - {GALLERY_HOST}:{port}
    ratings:                    # who gave which picture how many points; one row a rating
      - path: imports/{SAMPLE_GALLERY}/ratings.csv
        picture_column: image   # the last part of the picture's address
        score_column: score
        annotator_column: annotator
        rated_at_column: rated_at
        minimum: 0              # the ends of the scale; another scale is mapped to 0..9
        maximum: 9
"""


def _declare(home: Home, settings: GallerySettings) -> None:
    """Write `sources.yaml`; one that is as it was written, but for the port, gets the port of `settings`."""
    address, declaration = f"{GALLERY_HOST}:{settings.port}", sources_text(settings.port)
    text = home.sources_file.read_text(encoding="utf-8") if home.sources_file.exists() else None
    if text is None or (text != declaration and ADDRESS.sub(address, text) == declaration):
        replace_file(home.sources_file, declaration.encode())
        logger.info("declared the sample gallery in %s", home.sources_file)
    elif SAMPLE_GALLERY in text and address not in text:
        logger.warning(
            "%s names the sample gallery at another address than %s, where it is served now: "
            "mend the file, or delete it to have it written again.",
            home.sources_file,
            address,
        )


def _write_ratings(home: Home, plan: dict[str, list[Item]], settings: GallerySettings) -> None:
    """Written once a fingerprint, so that rows removed from the file since then do not come back."""
    folder = home.imports / SAMPLE_GALLERY
    target, stamp = folder / "ratings.csv", folder / STAMP_FILE
    content = json.dumps({"gallery": gallery_folder(home, settings).name, "simulated": True}) + "\n"
    if target.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == content:
        return
    ratings = simulate_ratings(plan, seed=settings.seed)
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(target, ratings_csv(ratings).encode())
    replace_file(stamp, content.encode())
    logger.info("simulated %d ratings of %d pictures", len(ratings), len({one.image for one in ratings}))


def _render_gallery(folder: Path, plan: dict[str, list[Item]], settings: GallerySettings) -> None:
    """Render into a folder beside `folder`, and move it there when it is whole."""
    started = time.monotonic()
    folder.parent.mkdir(parents=True, exist_ok=True)
    for leftover in folder.parent.glob(".part-*"):
        if time.time() - leftover.stat().st_mtime > LEFTOVER_AGE_S:
            shutil.rmtree(leftover, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        _write_pictures(part / SERVED_FOLDER, plan, settings)
        _write_pages(part / SERVED_FOLDER, plan)
        redirects = {
            f"/{item.path}": f"{PRIVATE_ADDRESS}/{item.name}"
            for items in plan.values()
            for item in items
            if item.kind is Kind.REDIRECT
        }
        (part / REDIRECTS_FILE).write_text(json.dumps(redirects, indent=1), encoding="utf-8")
        (part / ATTRIBUTES_FILE).write_text(json.dumps(_attributes(plan), indent=1), encoding="utf-8")
        try:
            part.rename(folder)
        except OSError:
            # Another process was faster; its bytes are the same.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    count = sum(len(items) for items in plan.values())
    logger.info("rendered the sample gallery: %d addresses in %.0f s", count, time.monotonic() - started)


def _write_pictures(root: Path, plan: dict[str, list[Item]], settings: GallerySettings) -> None:
    items = [item for day in plan.values() for item in day]
    for item in items:
        (root / item.path).parent.mkdir(parents=True, exist_ok=True)
    drawn = [item for item in items if item.portrait is not None and item.original is None]
    paths = {item.name: root / item.path for item in items}

    for done, item in enumerate(drawn, start=1):
        _write_of_day(paths[item.name], portrait_file(item, typical_side=settings.picture_size), item.day)
        if done % PROGRESS_EVERY == 0 or done == len(drawn):
            logger.info("rendered %d of %d portraits", done, len(drawn))
    for item in items:
        if item in drawn or item.kind is Kind.REDIRECT:
            continue
        original = paths[item.original].read_bytes() if item.original else b""
        content = other_file(item, original=original, typical_side=settings.picture_size)
        _write_of_day(paths[item.name], content, item.day)


def _write_pages(root: Path, plan: dict[str, list[Item]]) -> None:
    first = min(plan)
    _write_of_day(root / "robots.txt", ROBOTS.encode(), first)
    _write_of_day(root / "index.html", front_page(list(plan)).encode(), first)
    for day, items in plan.items():
        _write_of_day(root / day / "index.html", day_page(day, items).encode(), day)


def _write_of_day(path: Path, content: bytes, day: str) -> None:
    """Write a file dated to its day, which the server gives as Last-Modified."""
    path.write_bytes(content)
    noon = datetime.datetime.combine(
        datetime.date.fromisoformat(day), datetime.time(12), tzinfo=datetime.UTC
    ).timestamp()
    os.utime(path, (noon, noon))


def _attributes(plan: dict[str, list[Item]]) -> dict[str, object]:
    """What each portrait was drawn from, to hold an experiment against; the pipeline never reads it."""
    return {
        item.name: {"kind": item.kind, "appeal": item.portrait.appeal, **asdict(item.portrait)}
        for items in plan.values()
        for item in items
        if item.portrait is not None
    }


@contextlib.contextmanager
def _storage_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{error.filename or root}: the sample cannot be written ({error.strerror or error}). "
            "Free some space or mend the permissions, then run again."
        ) from error
