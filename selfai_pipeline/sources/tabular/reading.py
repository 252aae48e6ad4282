"""Tables from outside, read in a stream: a row at a time, whatever the format."""

import gzip
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.tabular.csv_rows import csv_rows
from selfai_pipeline.sources.tabular.json_rows import json_array, json_lines
from selfai_pipeline.sources.tabular.parquet_rows import parquet_rows
from selfai_pipeline.sources.tabular.rows import Report, Row

STREAMED_ENDINGS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", ".parquet")
"""Formats with a row a line, or with rows that can be found: those of long lists."""

TABLE_ENDINGS = (*STREAMED_ENDINGS, ".json")


def read_rows(
    path: Path, columns: Sequence[str], *, name: str, report: Report, setting: str = ""
) -> Iterator[Row]:
    """The rows of a table; what is left out is given to `report`.

    Args:
        path: of the file on this machine.
        columns: those that the file has to have, in the order of `Row.cells`; an empty name gives None.
        name: how the file is called in messages; its ending, one of `TABLE_ENDINGS`, tells the format.
        setting: where the names of the columns are given, for messages.

    Raises:
        InputError: the file is missing, empty, damaged, of another format, or lacks one of the columns.
    """
    ending = ending_of(name)
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise InputError("it is no file", where=name, mend="Give the path of a file.")
        if facts.st_size == 0:
            raise InputError("the file is empty", where=name, mend="Fill it, or leave it out.")
        with path.open("rb") as file:
            if ending == ".parquet":
                yield from parquet_rows(file, columns, name=name, report=report, setting=setting)
                return
            if ending == ".json":
                yield from json_array(file, columns, name=name, report=report, setting=setting)
                return
            reader = csv_rows if ending.startswith(".csv") else json_lines
            with gzip.GzipFile(fileobj=file) if ending.endswith(".gz") else nullcontext(file) as text:
                yield from reader(text, columns, name=name, report=report, setting=setting)
    except FileNotFoundError:
        raise InputError("there is no such file", where=name, mend="Mend its path.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"it is no whole gzip file ({error})", where=name, mend="Put a whole one in its place."
        ) from error
    except OSError as error:
        raise InputError(
            f"it cannot be read ({error.strerror or error})", where=name, mend="Mend its permissions."
        ) from error


def ending_of(name: str) -> str:
    """The one of `TABLE_ENDINGS` that a name has.

    Raises:
        InputError: it has none.
    """
    ending = next((one for one in TABLE_ENDINGS if name.lower().endswith(one)), None)
    if ending is None:
        raise InputError(
            "its name does not tell its format",
            where=name,
            mend=f"Give it the ending of what it is, one of {', '.join(TABLE_ENDINGS)}.",
        )
    return ending


def unit_of(name: str) -> str:
    """What `Row.line` counts in a file of this name: lines, rows or items."""
    return {".parquet": "row", ".json": "item"}.get(Path(name).suffix.lower(), "line")
