"""The files that `selfai import` copied into the home, without the rows about what goes, and without its
addresses in further cells of other rows."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.annotations import ratings_fingerprint
from selfai_pipeline.labels.redacting import (
    Unwanted,
    UnwantedLines,
    unwanted_lines,
    without_lines,
)
from selfai_pipeline.removal.declared import declared_files, picture_names
from selfai_pipeline.removal.subjects import Known, Subjects
from selfai_pipeline.removal.texts import Needles
from selfai_pipeline.sources.settings import PicturesFile, RatingsFile, Source, load_sources
from selfai_pipeline.sources.tabular.reading import ending_of
from selfai_pipeline.sources.tombstones import spellings
from selfai_pipeline.storage import replace_file

COPY = re.compile(r"(ratings|scores|pictures)-[0-9a-f]{12}\.[a-z.]+")
LIST = "left_out.csv"
"""What was wrong with rows, with the names of pictures and annotators: made again by the next run."""


def fingerprint(known: Known) -> str:
    """That of all declared files, as the records of the ratings have it; empty where a file is gone."""
    home = known.archive.store.home
    try:
        return ratings_fingerprint(load_sources(home.sources_file), home)
    except InputError:
        return ""


def files_with(
    subjects: Subjects, known: Known, *, person_column: str
) -> Iterator[tuple[Source, RatingsFile | PicturesFile, Unwanted, UnwantedLines]]:
    """The declared files with rows about any of it, or that name it in a further cell, and these rows."""
    home = known.archive.store.home
    for source, file in declared_files(home):
        unwanted = _unwanted(source.name, subjects, known, person_column)
        path = file.file(home)
        try:
            lines = unwanted_lines(path, file, unwanted) if path.is_file() else UnwantedLines()
        except InputError:
            # What cannot be read as a table gave no ratings; the search at the end names it.
            continue
        if lines:
            yield source, file, unwanted, lines


def _unwanted(source: str, subjects: Subjects, known: Known, person_column: str) -> Unwanted:
    names = picture_names(known.pictures(), source)
    prefix = f"{source}/"
    persons = {one.removeprefix(prefix) for one in subjects.persons if one.startswith(prefix)}
    return Unwanted(
        # An address may have given no picture, and be rated all the same.
        is_picture=lambda name: (
            subjects.has_address(name)
            or f"{source}/{name}" in subjects.names
            or not subjects.image_ids.isdisjoint(names.find(name))
        ),
        is_annotator=lambda annotator: f"{source}/{annotator}" in subjects.annotators,
        persons=frozenset(persons),
        person_column=person_column,
        scrubbed=Needles.of(subjects).scrubbed,
    )


def redact_ratings(subjects: Subjects, known: Known, *, person_column: str) -> None:
    """Write the copies anew, under the names that their hashes give, and have sources.yaml name these.

    A file outside of the home is the user's own, and stays. Lists of rows that were left out are deleted
    where they name it, and so is every copy that no source declares: killed imports and removals leave such,
    and nothing tells which columns to look at.
    """
    home = known.archive.store.home
    for source, file, unwanted, lines in list(files_with(subjects, known, person_column=person_column)):
        path = file.file(home)
        if not path.resolve().is_relative_to(home.root):
            continue
        content = without_lines(path, lines, file, unwanted)
        new = path
        if COPY.fullmatch(path.name) and path.parent == home.imports / source.name:
            kind = path.name.partition("-")[0]
            digest = hashlib.sha256(content).hexdigest()[:12]
            new = path.with_name(f"{kind}-{digest}{ending_of(path.name)}")
        replace_file(new, content)
        if new != path:
            text = home.sources_file.read_text(encoding="utf-8")
            declared = Path(file.path)
            replace_file(
                home.sources_file, text.replace(file.path, str(declared.with_name(new.name))).encode()
            )
            path.unlink(missing_ok=True)
    declared_paths = {file.file(home).resolve() for _, file in declared_files(home)}
    names = _names_by_source(subjects)
    for path in sorted(home.imports.glob("*/*")):
        is_undeclared = COPY.fullmatch(path.name) and path.resolve() not in declared_paths
        named = {*subjects.urls, *subjects.hosts, *names.get(path.parent.name, ())}
        if is_undeclared or (path.name == LIST and _names_any(path, named)):
            path.unlink(missing_ok=True)


def _names_by_source(subjects: Subjects) -> dict[str, set[str]]:
    """By source what its files may call the pictures, annotators and persons."""
    found: dict[str, set[str]] = {}
    for qualified in sorted(subjects.names):
        source, _, name = qualified.partition("/")
        found.setdefault(source, set()).update(one for one in spellings(name) if one)
    for qualified in sorted(subjects.annotators | subjects.persons):
        source, _, name = qualified.partition("/")
        found.setdefault(source, set()).add(name)
    return found


def _names_any(path: Path, names: set[str]) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    return any(name in text for name in names)
