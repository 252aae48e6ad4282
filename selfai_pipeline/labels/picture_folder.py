"""A folder of pictures that is brought in: what is in it, and what its source is called."""

import os
import re
import unicodedata
from pathlib import Path

from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.settings import SOURCE_NAME, is_day

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp"}


def pictures_in(folder: Path) -> list[str]:
    """Pictures in the folder and its subfolders by their ending, as relative paths, sorted.

    Raises:
        InputError: there is no such folder, it has no pictures, or a part of it cannot be read.
    """
    if not folder.is_dir():
        raise InputError(
            "there is no such folder", where=str(folder), mend="Give the folder of the pictures."
        )

    def refuse(error: OSError) -> None:
        raise InputError(
            f"it cannot be read ({error.strerror})",
            where=str(error.filename),
            mend="Mend its permissions, or move it out of the folder of the pictures.",
        ) from error

    files = []
    for place, inner, names in os.walk(folder, onerror=refuse):
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


def name_of_folder(folder: Path) -> str:
    """The folder's name as that of a source: `My Photos` becomes `my-photos`, `Été` becomes `ete`.

    Raises:
        InputError: it has no letter or digit to make one of.
    """
    plain = unicodedata.normalize("NFKD", folder.name).encode("ascii", "ignore").decode().lower()
    name = "-".join(re.findall(r"[a-z0-9]+", plain))
    if not name:
        raise InputError(
            f"no name of a source can be made of {folder.name!r}",
            where=str(folder),
            mend="Give it with --name.",
        )
    return name


def check_name_and_day(name: str, day: str) -> None:
    """Raises InputError where a source cannot be called so, or the day is none."""
    if not re.fullmatch(SOURCE_NAME, name):
        raise InputError(
            f"{name!r} cannot be the name of a source",
            where="--name",
            mend="Use lower-case letters, digits and single hyphens.",
        )
    if not is_day(day):
        raise InputError(f"{day!r} is not a day", where="--day", mend="Write it as 2026-01-31.")
