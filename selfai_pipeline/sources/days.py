"""The days on which a source has pictures, as far as it says so itself."""

import re
from pathlib import Path

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.folder_files import open_folder
from selfai_pipeline.sources.settings import FolderSource, Source, UrlListSource, is_day
from selfai_pipeline.sources.source_kinds import DAY_PLACEHOLDER, is_in_object_store
from selfai_pipeline.sources.stored_files import asking
from selfai_pipeline.sources.url_list import days_of_list


def days_of(source: Source, home: Home) -> set[str]:
    """The day that a folder names, the days that its subfolders are called by, or the dates of a list.

    Pages, and what is live, name none: every day can be asked of them, or only today.

    Raises:
        InputError, SourceUnreachable: the folder or list cannot be read.
    """
    if isinstance(source, FolderSource):
        return _days_of_folder(source, home)
    return days_of_list(source, home) if isinstance(source, UrlListSource) else set()


def _days_of_folder(source: FolderSource, home: Home) -> set[str]:
    if not source.has_subfolder_a_day:
        return {source.day} - {""}
    before, _, after = source.path.partition(DAY_PLACEHOLDER)
    start, slash, prefix = before.rpartition("/")
    suffix = after.partition("/")[0]
    named = re.compile(f"{re.escape(prefix)}([0-9-]{{10}}){re.escape(suffix)}")
    days = {match[1] for name in _names_in(start or slash, home) if (match := named.fullmatch(name))}
    return {day for day in days if is_day(day) and open_folder(source, day, home) is not None}


def _names_in(folder: str, home: Home) -> list[str]:
    if is_in_object_store(folder):
        with asking(folder) as storage:
            return list(storage.list())
    try:
        return [entry.name for entry in (home.root / Path(folder).expanduser()).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"the folders of its days cannot be listed ({error})",
            where=folder,
            mend="Mend its path in sources.yaml, or its permissions.",
        ) from error
