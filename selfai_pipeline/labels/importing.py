"""Bring a folder of rated pictures in as a source."""

import hashlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.csv_file import read_csv
from selfai_pipeline.labels.picture_names import PictureNames
from selfai_pipeline.labels.ratings_file import read_picture_attributes, read_ratings
from selfai_pipeline.sources.settings import (
    SOURCE_NAME,
    FolderSource,
    PicturesFile,
    RatingsFile,
    is_day,
    load_sources,
    save_sources,
)

logger = logging.getLogger("selfai.labels")

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp"}
COUNT_COLUMNS = ("annotators", "ratings", "count")
SHOWN = 5


@dataclass(frozen=True)
class ImportSummary:
    """What an import brought in.

    `lowest` and `highest` are on the scale of the files (None without any scores); `unrated` counts pictures
    that no score or rating names.
    """

    source: str
    pictures: int
    rated: int
    unrated: int
    ratings: int
    means: int
    annotators: int
    repeated: int
    superseded: int
    lowest: float | None
    highest: float | None
    replaced: bool

    def __str__(self) -> str:
        found = [
            f"{self.source}: {self.pictures} pictures, {self.rated} of them rated, {self.unrated} not",
            f"{self.ratings} ratings by {self.annotators} annotators and {self.means} means",
        ]
        if self.lowest is not None and self.highest is not None:
            found.append(f"scores from {self.lowest:g} to {self.highest:g}")
        if self.repeated or self.superseded:
            found.append(f"{self.repeated} repeated and {self.superseded} superseded rows left out")
        return "; ".join(found)


def import_folder(
    folder: Path,
    *,
    home: Home,
    name: str,
    day: str,
    scores: Path | None = None,
    ratings: Path | None = None,
    pictures: Path | None = None,
    licence: str = "",
    picture_column: str = "image",
    score_column: str = "score",
    annotator_column: str = "annotator",
    count_column: str = "",
    rated_at_column: str = "",
    minimum: float = 0.0,
    maximum: float = 9.0,
) -> ImportSummary:
    """Declare a folder of pictures with its scores as a source; the pictures stay where they are.

    Everything is validated before anything is written. Then the files of scores, ratings and attributes are
    copied into the home, named by their content, and the source is added to sources.yaml, or replaces the
    folder source of that name; that last step makes the import count, so an interrupted one changes nothing.

    Args:
        folder: the pictures, subfolders included.
        name: of the source; lower-case letters, digits and single hyphens.
        day: YYYY-MM-DD on which the pictures fall.
        scores: CSV with one mean score a picture.
        ratings: CSV with one row a rating.
        pictures: CSV with further columns about the pictures (person, group, split ...).
        picture_column, score_column, annotator_column, rated_at_column: names of the columns in these files;
            `picture_column` holds for all three, annotator and moment for `ratings` only.
        count_column: of `scores`, the number of ratings behind a mean; empty: a column called annotators,
            ratings or count, where there is one.
        minimum, maximum: the scale of scores and ratings, mapped to 0..9.

    Raises:
        InputError: the folder has no pictures, a file cannot be used, or names a picture that is not there.
        StorageError: the home cannot be written.
    """
    _check_name_and_day(name, day)
    folder = folder.expanduser().resolve()
    files = _picture_files(folder)
    known = PictureNames((file, file) for file in files)
    declared = []
    for path, annotator in ((ratings, annotator_column), (scores, "")):
        if path is not None:
            file = _declare(
                path.expanduser().resolve(),
                picture_column=picture_column,
                score_column=score_column,
                annotator_column=annotator,
                count_column="" if annotator else count_column,
                rated_at_column=rated_at_column if annotator else "",
                minimum=minimum,
                maximum=maximum,
            )
            declared.append(file if annotator or count_column else _with_count(file))
    described = None
    if pictures is not None:
        described = PicturesFile(path=str(pictures.expanduser().resolve()), picture_column=picture_column)
        _pictures_of(list(read_picture_attributes(described, home=home)), known, where=described.path)

    read = [read_ratings(file, home=home) for file in declared]
    rated: set[str] = set()
    for part in read:
        rated.update(_pictures_of(part.names, known, where=part.file.path))
    source = _source(name, folder, day, licence, declared, described)
    existing = load_sources(home.sources_file) if home.sources_file.exists() else []
    same = next((one for one in existing if one.name == name), None)
    if same is not None and not isinstance(same, FolderSource):
        raise InputError(
            f"there is a source {name!r} already, and it is no folder",
            where=str(home.sources_file),
            mend="Give the import another name.",
        )
    changed = [source if one.name == name else one for one in existing]
    if same is None:
        changed.append(source)
    _copy(source, [*declared, *([described] if described else [])], home=home)
    save_sources(home.sources_file, changed)
    if same is not None:
        _drop_unused(source, home=home)

    summary = ImportSummary(
        source=name,
        pictures=len(files),
        rated=len(rated),
        unrated=len(files) - len(rated),
        ratings=sum(len(part) for part in read if part.annotators is not None),
        means=sum(len(part) for part in read if part.annotators is None),
        annotators=len({who for part in read for who in part.annotators or ()}),
        repeated=sum(part.repeated for part in read),
        superseded=sum(part.superseded for part in read),
        lowest=min((float(part.original_scores.min()) for part in read), default=None),
        highest=max((float(part.original_scores.max()) for part in read), default=None),
        replaced=same is not None,
    )
    logger.info(
        "imported %s: %d pictures, %d of them rated (%d ratings, %d means, %d annotators)",
        name,
        summary.pictures,
        summary.rated,
        summary.ratings,
        summary.means,
        summary.annotators,
    )
    return summary


def _picture_files(folder: Path) -> list[str]:
    """Pictures in the folder and its subfolders by their ending, as relative paths, sorted."""
    if not folder.is_dir():
        raise InputError(
            "there is no such folder", where=str(folder), mend="Give the folder of the pictures."
        )
    files = []
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(one for one in inner if not one.startswith("."))
        for file in sorted(names):
            path = Path(place, file)
            if path.suffix.lower() in PICTURE_SUFFIXES and not file.startswith("."):
                files.append(path.relative_to(folder).as_posix())
    if not files:
        raise InputError(
            f"there are no pictures in it ({', '.join(sorted(PICTURE_SUFFIXES))})",
            where=str(folder),
            mend="Give the folder of the pictures; they can be in subfolders.",
        )
    return sorted(files)


def _check_name_and_day(name: str, day: str) -> None:
    if not re.fullmatch(SOURCE_NAME, name):
        raise InputError(
            f"{name!r} cannot be the name of a source",
            where="name",
            mend="Use lower-case letters, digits and single hyphens.",
        )
    if not is_day(day):
        raise InputError(f"{day!r} is not a day", where="day", mend="Write it as 2026-01-31.")


def _declare(path: Path, **columns: str | float) -> RatingsFile:
    try:
        return RatingsFile.model_validate({"path": str(path), **columns})
    except ValidationError as error:
        first = error.errors()[0]
        message = str(first["msg"]).removeprefix("Value error, ")
        field = "".join(f"{part}: " for part in first["loc"])
        raise InputError(f"{field}{message}", where=str(path), mend="Mend that option.") from None


def _with_count(file: RatingsFile) -> RatingsFile:
    """With the column that holds the counts, by its usual names, where the file of means has one."""
    header = read_csv(Path(file.path)).columns
    used = {file.picture_column, file.score_column, file.rated_at_column}
    count = next((one for one in COUNT_COLUMNS if one in header and one not in used), "")
    return file.model_copy(update={"count_column": count})


def _source(
    name: str,
    folder: Path,
    day: str,
    licence: str,
    ratings: list[RatingsFile],
    pictures: PicturesFile | None,
) -> FolderSource:
    """The source as it will stand in sources.yaml, with its files inside the home."""
    copies = [
        file.model_copy(
            update={"path": _path_in_home(file, "ratings" if file.annotator_column else "scores", name)}
        )
        for file in ratings
    ]
    about = pictures and pictures.model_copy(update={"path": _path_in_home(pictures, "pictures", name)})
    return FolderSource(name=name, path=str(folder), day=day, licence=licence, ratings=copies, pictures=about)


def _path_in_home(file: RatingsFile | PicturesFile, kind: str, name: str) -> str:
    """Named by content, so that what sources.yaml declares is never half old and half new."""
    digest = hashlib.sha256(Path(file.path).read_bytes()).hexdigest()
    return f"imports/{name}/{kind}-{digest[:12]}.csv"


def _pictures_of(names: list[str], known: PictureNames, *, where: str) -> set[str]:
    """The pictures that names stand for.

    Raises:
        InputError: names that stand for no picture, or for several.
    """
    found = {name: known.find(name) for name in dict.fromkeys(names)}
    missing = [name for name, files in found.items() if not files]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(found)} names match no picture in the folder: {_first(missing)}",
            where=where,
            mend="Mend the names, drop the rows, or give the right folder.",
        )
    unclear = [name for name, files in found.items() if len(files) > 1]
    if unclear:
        raise InputError(
            f"{len(unclear)} names match several pictures: {_first(unclear)}",
            where=where,
            mend=f"Write the path inside the folder, such as {found[unclear[0]][0]!r}.",
        )
    return {files[0] for files in found.values()}


def _first(names: list[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (" ..." if len(names) > SHOWN else "")


def _files_of(source: FolderSource) -> list[RatingsFile | PicturesFile]:
    files: list[RatingsFile | PicturesFile] = [*source.ratings]
    if source.pictures is not None:
        files.append(source.pictures)
    return files


def _copy(source: FolderSource, originals: list[RatingsFile | PicturesFile], *, home: Home) -> None:
    targets = [file.file(home) for file in _files_of(source)]
    for original, target in zip(originals, targets, strict=True):
        temporary = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(Path(original.path).read_bytes())
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"{target}: cannot be written ({error.strerror}). Free some space or mend the permissions."
            ) from error


def _drop_unused(source: FolderSource, *, home: Home) -> None:
    """Delete copies that an earlier import of the same name left and the source no longer declares."""
    used = {file.file(home) for file in _files_of(source)}
    folder = home.imports / source.name
    for kind in ("ratings", "scores", "pictures"):
        for file in sorted(folder.glob(f"{kind}-*.csv")):
            if file not in used:
                file.unlink()
