"""Bring a folder of rated pictures in as a source."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.import_checks import check_splits, refuse_bad_rows
from selfai_pipeline.labels.left_out import LeftOut, count_reasons, list_path, match_names, write_list
from selfai_pipeline.labels.picture_folder import check_name_and_day, name_of_folder, pictures_in
from selfai_pipeline.labels.picture_names import PictureNames
from selfai_pipeline.labels.ratings_file import Rows, read_pictures, read_ratings
from selfai_pipeline.labels.redacting import Unwanted, UnwantedLines, unwanted_lines, without_lines
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.labels.text_table import read_table
from selfai_pipeline.sources.picture_files import PictureFileError, clean_picture
from selfai_pipeline.sources.settings import (
    FolderSource,
    PicturesFile,
    RatingsFile,
    load_sources,
    text_with_source,
)
from selfai_pipeline.sources.spellings import inside_folder
from selfai_pipeline.sources.tabular.reading import ending_of
from selfai_pipeline.sources.tombstones import Tombstones
from selfai_pipeline.storage import replace_file
from selfai_pipeline.store import open_store
from selfai_pipeline.turns import writing

logger = logging.getLogger("selfai.labels")

COUNT_COLUMNS = ("annotators", "ratings", "count")


@dataclass(frozen=True)
class ImportSummary:
    """What an import brought in.

    `lowest` and `highest` are on the scale of the files (None without any scores); `unrated` counts pictures
    that no score or rating names. `left_out` counts rows that cannot be used, by reason; `listed` is the file
    that lists them.
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
    left_out: dict[str, int]
    listed: Path
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
        if self.left_out:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
            found.append(f"{sum(self.left_out.values())} rows left out ({reasons}), listed in {self.listed}")
        return "; ".join(found)


def import_folder(
    folder: Path,
    *,
    home: Home,
    day: str,
    name: str | None = None,
    scores: Path | None = None,
    ratings: Path | None = None,
    pictures: Path | None = None,
    licence: str = "",
    picture_column: str = "image",
    score_column: str = "score",
    annotator_column: str = "annotator",
    annotator_group_column: str = "",
    count_column: str = "",
    rated_at_column: str = "",
    minimum: float = 0.0,
    maximum: float = 9.0,
    strict: bool = False,
) -> ImportSummary:
    """Declare a folder of pictures with its scores as a source; the pictures stay where they are.

    Everything is validated before anything is written. Then the files of scores, ratings and attributes are
    copied into the home, named by their content, and the source is added to sources.yaml, or replaces the
    folder source of that name; that last step makes the import count, so an interrupted one changes nothing.
    Rows that cannot be used, or whose name fits no picture or several, are left out and listed.

    Args:
        folder: the pictures, subfolders included.
        day: YYYY-MM-DD on which the pictures fall.
        name: of the source; lower-case letters, digits and single hyphens. None: made of the folder's name,
            which replaces a source of this very folder only.
        scores: table (CSV, JSON Lines, Parquet, or a JSON array) with one mean score a picture.
        ratings: table with one row a rating, or an export of Label Studio (see `read_export`).
        pictures: table with further columns about the pictures (person, group, split ...).
        picture_column, score_column, annotator_column, annotator_group_column, rated_at_column: names of the
            columns in these files; `picture_column` holds for all three, annotator, their group and moment
            for `ratings` only.
        count_column: of `scores`, the number of ratings behind a mean; empty: a column called annotators,
            ratings or count, where there is one.
        minimum, maximum: the scale of scores and ratings, mapped to 0..9.
        strict: refuse the import at the first row that cannot be used.

    Raises:
        InputError: the folder has no pictures or cannot be read, a file cannot be used, more than half of its
            rows cannot, or a given split is none or contradicts another.
        StorageError: the home cannot be written.
    """
    with writing(home):
        return _import_folder(
            folder.expanduser().resolve(),
            home=home,
            day=day,
            name=name,
            scores=scores,
            ratings=ratings,
            pictures=pictures,
            licence=licence,
            picture_column=picture_column,
            score_column=score_column,
            annotator_column=annotator_column,
            annotator_group_column=annotator_group_column,
            count_column=count_column,
            rated_at_column=rated_at_column,
            minimum=minimum,
            maximum=maximum,
            strict=strict,
        )


def _import_folder(
    folder: Path,
    *,
    home: Home,
    day: str,
    name: str | None,
    scores: Path | None,
    ratings: Path | None,
    pictures: Path | None,
    licence: str,
    picture_column: str,
    score_column: str,
    annotator_column: str,
    annotator_group_column: str,
    count_column: str,
    rated_at_column: str,
    minimum: float,
    maximum: float,
    strict: bool,
) -> ImportSummary:
    source_name = name_of_folder(folder) if name is None else name
    check_name_and_day(source_name, day)
    gone = _Gone.of(folder, pictures_in(folder), source_name, Tombstones.of(open_store(home)))
    files = gone.others
    known = PictureNames((file, file) for file in files)
    declared = []
    for path, annotator in ((ratings, annotator_column), (scores, "")):
        if path is not None:
            file = _declare(
                path.expanduser().resolve(),
                picture_column=picture_column,
                score_column=score_column,
                annotator_column=annotator,
                annotator_group_column=annotator_group_column if annotator else "",
                count_column="" if annotator else count_column,
                rated_at_column=rated_at_column if annotator else "",
                minimum=minimum,
                maximum=maximum,
            )
            declared.append(file if annotator or count_column else _with_count(file))
    described = None
    if pictures is not None:
        described = PicturesFile(path=str(pictures.expanduser().resolve()), picture_column=picture_column)

    read = [read_ratings(file, home=home, is_removed=gone.unwanted.is_annotator) for file in declared]
    about = [read_pictures(described, home=home)] if described else []
    parts: list[Rows] = [*read, *about]
    left_out: list[LeftOut] = []
    named: list[list[str | None]] = []
    for part in parts:
        found, unmatched = match_names(
            part.names,
            part.lines,
            known=known,
            file=part.file.path,
            is_removed=gone.unwanted.is_picture,
        )
        lost = [row for row in (*part.left_out, *unmatched) if not gone.unwanted.is_picture(row.name)]
        refuse_bad_rows(lost, read=part.read, strict=strict)
        left_out += lost
        named.append(found)
    check_splits(parts, named, column=LabelSettings().split_column)

    originals: list[RatingsFile | PicturesFile] = [*declared, *([described] if described else [])]
    contents = [gone.content(file) for file in originals]
    source = _source(source_name, folder, day, licence, declared, described, contents)
    replaced = _replaced(source, home=home, named=name is not None)
    text = text_with_source(home.sources_file, source)
    for copy, content in zip(_files_of(source), contents, strict=True):
        replace_file(copy.file(home), content)
    write_list(left_out, list_path(home, source_name))
    replace_file(home.sources_file, text.encode())
    if replaced:
        _drop_unused(source, home=home)

    used = [
        (part, [row for row, picture in enumerate(found) if picture is not None])
        for part, found in zip(read, named, strict=False)
    ]
    rated = {picture for found in named[: len(read)] for picture in found if picture is not None}
    scored = np.concatenate([part.original_scores[rows] for part, rows in used] or [np.zeros(0)])
    summary = ImportSummary(
        source=source_name,
        pictures=len(files),
        rated=len(rated),
        unrated=len(files) - len(rated),
        ratings=sum(len(rows) for part, rows in used if part.annotators is not None),
        means=sum(len(rows) for part, rows in used if part.annotators is None),
        annotators=len({part.annotators[row] for part, rows in used if part.annotators for row in rows}),
        repeated=sum(part.repeated for part in read),
        superseded=sum(part.superseded for part in read),
        lowest=float(scored.min()) if len(scored) else None,
        highest=float(scored.max()) if len(scored) else None,
        left_out=count_reasons(left_out),
        listed=list_path(home, source_name),
        replaced=replaced,
    )
    logger.info(
        "imported %s: %d pictures, %d of them rated (%d ratings, %d means, %d annotators)",
        source_name,
        summary.pictures,
        summary.rated,
        summary.ratings,
        summary.means,
        summary.annotators,
    )
    return summary


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
    header = read_table(Path(file.path)).columns
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
    contents: list[bytes],
) -> FolderSource:
    """The source as it will stand in sources.yaml, with its files inside the home."""
    copies = [
        file.model_copy(
            update={
                "path": _path_in_home(
                    file, "ratings" if file.annotator_column else "scores", name, content=content
                )
            }
        )
        for file, content in zip(ratings, contents, strict=False)
    ]
    about = pictures and pictures.model_copy(
        update={"path": _path_in_home(pictures, "pictures", name, content=contents[-1])}
    )
    return FolderSource(name=name, path=str(folder), day=day, licence=licence, ratings=copies, pictures=about)


def _path_in_home(file: RatingsFile | PicturesFile, kind: str, name: str, *, content: bytes) -> str:
    """Named by content, so that what sources.yaml declares is never half old and half new."""
    digest = hashlib.sha256(content).hexdigest()
    return f"imports/{name}/{kind}-{digest[:12]}{ending_of(file.path)}"


def _replaced(source: FolderSource, *, home: Home, named: bool) -> bool:
    """Whether a source of this name is there already and may be replaced.

    Raises:
        InputError: it may not: it is no folder, or another one and the name was not given on purpose.
    """
    existing = load_sources(home.sources_file) if home.sources_file.exists() else []
    same = next((one for one in existing if one.name == source.name), None)
    if same is None:
        return False
    if not isinstance(same, FolderSource):
        trouble = "and it is no folder"
    elif not named and same.folder(home) != source.folder(home):
        trouble = f"for the folder {same.path}"
    else:
        return True
    raise InputError(
        f"there is a source {source.name!r} already, {trouble}",
        where=str(home.sources_file),
        mend="Give the import another name with --name"
        + (", or the same to replace that source." if isinstance(same, FolderSource) else "."),
    )


def _files_of(source: FolderSource) -> list[RatingsFile | PicturesFile]:
    files: list[RatingsFile | PicturesFile] = [*source.ratings]
    if source.pictures is not None:
        files.append(source.pictures)
    return files


@dataclass(frozen=True)
class _Gone:
    """What of a folder was removed before: `others` are its pictures without it."""

    others: list[str]
    unwanted: Unwanted
    is_any: bool

    @classmethod
    def of(cls, folder: Path, files: list[str], source: str, removed: Tombstones) -> "_Gone":
        """Look at every picture of the folder, where something was removed.

        Raises:
            InputError: nothing else is in the folder.
        """
        if not removed:
            return cls(files, Unwanted(), False)
        gone = {file for file in files if _was_removed(folder / file, removed)}
        others = [file for file in files if file not in gone]
        if not others:
            raise InputError(
                "all pictures in it were removed by `selfai remove`",
                where=str(folder),
                mend="Take them out of the folder.",
            )
        known = PictureNames((name, file) for file in files for name in (file, inside_folder(file)))

        def is_picture(name: str) -> bool:
            return not gone.isdisjoint(known.find(name)) or removed.refuses_name(
                source, name, stored=known.addresses
            )

        def is_annotator(annotator: str) -> bool:
            return removed.refuses_annotator(source, annotator)

        return cls(others, Unwanted(is_picture, is_annotator, scrubbed=removed.scrubbed), True)

    def content(self, file: RatingsFile | PicturesFile) -> bytes:
        """The bytes of a file of ratings or of columns about pictures, without rows about what is gone."""
        path = Path(file.path)
        lines = unwanted_lines(path, file, self.unwanted) if self.is_any else UnwantedLines()
        return without_lines(path, lines, file, self.unwanted) if lines else path.read_bytes()


def _was_removed(path: Path, removed: Tombstones) -> bool:
    if removed.refuses_address(path.as_uri()):
        return True
    content = path.read_bytes()
    try:
        facts, cleaned = clean_picture(content)
    except PictureFileError:
        return False
    hashes = [hashlib.sha256(one).hexdigest() for one in (content, cleaned)]
    return removed.refuses_picture(cleaned, hashes=hashes, orientation=facts.orientation)


def _drop_unused(source: FolderSource, *, home: Home) -> None:
    """Delete copies that an earlier import of the same name left and the source no longer declares."""
    used = {file.file(home) for file in _files_of(source)}
    folder = home.imports / source.name
    for kind in ("ratings", "scores", "pictures"):
        for file in sorted(folder.glob(f"{kind}-{'[0-9a-f]' * 12}.*")):
            if file not in used:
                file.unlink()
