"""Whom the files that `selfai import` copied into the home name, also before any run has read them."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.picture_names import PictureNames
from selfai_pipeline.labels.redacting import rows_in
from selfai_pipeline.sources.fingerprints import sha256_of_file
from selfai_pipeline.sources.folder_files import LocalFiles
from selfai_pipeline.sources.settings import FolderSource, PicturesFile, RatingsFile, Source, load_sources
from selfai_pipeline.sources.source_kinds import is_in_object_store
from selfai_pipeline.sources.spellings import as_compared, inside_folder
from selfai_pipeline.sources.tombstones import addresses_in_text, spellings

PictureRow = tuple[str | None, str, str, str | None]
"""image_id, url, source and attributes, of a row of raw_crawl."""


def declared_files(home: Home) -> Iterator[tuple[Source, RatingsFile | PicturesFile]]:
    """The files of ratings and of columns about pictures that the sources declare."""
    path = home.sources_file
    for source in load_sources(path) if path.exists() else []:
        files: list[RatingsFile | PicturesFile] = [*source.ratings]
        if source.pictures is not None:
            files.append(source.pictures)
        yield from ((source, file) for file in files)


def copied_rows(home: Home) -> Iterator[tuple[Source, RatingsFile | PicturesFile, dict[str, str]]]:
    """Each row of the declared files inside the home, as text by column. Others are the user's own: they
    would name it after every removal.
    """
    for source, file in declared_files(home):
        path = file.file(home)
        if not path.is_file() or not path.resolve().is_relative_to(home.root):
            continue
        try:
            for cells in rows_in(path, file):
                yield source, file, cells
        except InputError:
            # What cannot be read as a table gave no ratings; the search at the end names it.
            continue


def annotators_called(value: str, home: Home) -> set[str]:
    """The annotators of the copied files that a name, or source/name, means, as source/name."""
    found = set()
    for source, file, cells in copied_rows(home):
        if isinstance(file, RatingsFile) and file.annotator_column:
            name = cells.get(file.annotator_column)
            if name and value in (name, f"{source.name}/{name}"):
                found.add(f"{source.name}/{name}")
    return found


def persons_called(value: str, column: str, home: Home) -> dict[str, tuple[Source, set[str]]]:
    """The persons of the copied files that a name, or source/name, means, as source/name; with the names of
    their pictures.
    """
    found: dict[str, tuple[Source, set[str]]] = {}
    for source, file, cells in copied_rows(home):
        person = cells.get(column)
        if person and value in (person, f"{source.name}/{person}"):
            _, names = found.setdefault(f"{source.name}/{person}", (source, set()))
            names.update(name for name in [cells.get(file.picture_column)] if name)
    return found


def addresses_in(home: Home) -> set[str]:
    """The whole addresses by which the copied files name pictures, and those in further cells."""
    found: set[str] = set()
    for _, _, cells in copied_rows(home):
        for cell in cells.values():
            if "://" in cell:
                found.update([cell, *addresses_in_text(cell)])
    return found


def picture_names(rows: Iterable[PictureRow], source: str) -> PictureNames:
    """The pictures of a source by the names that its files may call them by."""
    pictures = []
    for image_id, url, where, text in rows:
        if where == source and image_id:
            pictures.append((url, image_id))
            name = json.loads(text or "{}").get("name")
            if isinstance(name, str):
                pictures.append((name, image_id))
    return PictureNames(pictures)


@dataclass
class NamedPictures:
    """What the names of pictures in a source's file mean; the fields are those of `Subjects`."""

    image_ids: set[str] = field(default_factory=set)
    urls: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    fetched: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)


def pictures_called(
    asked: Iterable[str], source: Source, rows: Iterable[PictureRow], home: Home
) -> NamedPictures:
    """Stored pictures, and where none has the name the file in the source's folder, which no run has taken
    yet; a name that means several pictures is passed over.
    """
    stored, files = picture_names(rows, source.name), _local_files(source, home)
    below = [*files.names()] if files is not None else []
    in_folder = PictureNames((name, file) for file in below for name in (file, inside_folder(file)))
    found = NamedPictures()
    for name in asked:
        if known := stored.find(name):
            found.image_ids.update(known if len(known) == 1 else ())
        elif named := in_folder.find(name):
            if files is not None and len(named) == 1:
                path = files.root / named[0]
                found.urls.add(files.address(named[0]))
                found.paths.add(f"{source.name}/{inside_folder(named[0])}")
                calls = {as_compared(name), inside_folder(named[0]), *spellings(named[0])}
                # An end of its path may mean another picture as well.
                found.names.update(f"{source.name}/{one}" for one in calls if in_folder.find(one) == named)
                found.fetched.update([sha256_of_file(path)] if path.is_file() else [])
        else:
            found.names.add(f"{source.name}/{as_compared(name)}")
            found.urls.update([name] if "://" in name else [])
    return found


def _local_files(source: Source, home: Home) -> LocalFiles | None:
    """The folder of a source, where it has one on this machine for all of its days."""
    if not isinstance(source, FolderSource) or is_in_object_store(source.path) or source.has_subfolder_a_day:
        return None
    folder = source.folder(home)
    return LocalFiles(folder) if folder.is_dir() else None
