"""Files of ratings and of columns about pictures, without the rows that a removal takes out.

The other rows keep their bytes (of CSV and JSON Lines) or their values (of Parquet and JSON).
"""

import gzip
import io
import json
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.label_studio import annotator_of, is_export, picture_name
from selfai_pipeline.labels.text_table import Misfit, TextTable, collect_table, rows_of
from selfai_pipeline.sources.settings import PicturesFile, RatingsFile
from selfai_pipeline.sources.tabular.reading import ending_of


@dataclass(frozen=True)
class Unwanted:
    """What a row of a source's file must not be about.

    Args:
        is_picture: whether a name in the file means a removed picture.
        is_annotator: whether an annotator, as the file calls them (without the source), was removed.
        persons: values of the column `person_column`.
        person_column: of files about pictures, and of further columns of ratings.
    """

    is_picture: Callable[[str], bool] = field(default=lambda name: False)
    is_annotator: Callable[[str], bool] = field(default=lambda annotator: False)
    persons: frozenset[str] = frozenset()
    person_column: str = ""

    def is_in(self, cells: dict[str, Any], file: RatingsFile | PicturesFile) -> bool:
        """Whether a row, as text by column, is about any of it."""
        annotator = file.annotator_column if isinstance(file, RatingsFile) else ""
        return (
            (bool(cells.get(file.picture_column)) and self.is_picture(str(cells[file.picture_column])))
            or (bool(annotator) and self.is_annotator(cells.get(annotator) or ""))
            or (bool(self.person_column) and cells.get(self.person_column) in self.persons)
        )


def unwanted_lines(path: Path, file: RatingsFile | PicturesFile, unwanted: Unwanted) -> list[int]:
    """The lines on which rows that are unwanted begin (of Parquet rows, of a JSON array items), sorted.

    A row that is none (too few cells, say) is unwanted where its cells could be about anything: nothing tells
    whom it names. None of them counts where no other row of the file is unwanted.

    Raises:
        InputError: the file cannot be read as a table.
    """
    if _is_of_label_studio(path):
        items = json.loads(path.read_bytes())
        return [
            number
            for number, item in enumerate(items, start=1)
            if isinstance(item, dict) and _without(item, file, unwanted) != item
        ]
    misfits: list[Misfit] = []
    table = collect_table(path, rows_of(path, misfits), misfits)
    found = [line for line, cells in _rows(table) if unwanted.is_in(cells, file)]
    return sorted([*found, *(one.line for one in misfits)]) if found else []


def _rows(table: TextTable) -> Iterator[tuple[int, dict[str, str]]]:
    for row, line in enumerate(table.lines):
        yield line, {name: cells[row] for name, cells in table.columns.items()}


def without_lines(
    path: Path, lines: Collection[int], file: RatingsFile | PicturesFile, unwanted: Unwanted
) -> bytes:
    """The bytes of a file without the rows that begin on `lines`, as `unwanted_lines` found them.

    Of a task of Label Studio only the annotations of unwanted annotators go, where its picture may stay.
    """
    content, ending = path.read_bytes(), ending_of(path.name)
    if ending == ".parquet":
        return _parquet_without(content, frozenset(lines))
    if ending == ".json":
        items = json.loads(content)
        if _is_of_label_studio(path):
            kept = [_without(item, file, unwanted) for item in items]
        else:
            kept = [None if number in lines else item for number, item in enumerate(items, start=1)]
        return json.dumps([item for item in kept if item is not None], ensure_ascii=False, indent=1).encode()
    text = gzip.decompress(content) if ending.endswith(".gz") else content
    if ending.startswith(".csv"):
        rest = _csv_without(text, path, frozenset(lines))
    else:
        numbered = enumerate(io.BytesIO(text), start=1)
        rest = b"".join(line for number, line in numbered if number not in lines)
    return gzip.compress(rest, mtime=0) if ending.endswith(".gz") else rest


def _csv_without(text: bytes, path: Path, lines: frozenset[int]) -> bytes:
    """A row of a CSV ends where the next one begins."""
    misfits: list[Misfit] = []
    starts = sorted([1, *(line for line, _ in rows_of(path, misfits)), *(one.line for one in misfits)])
    kept = []
    for number, line in enumerate(io.BytesIO(text), start=1):
        if starts[bisect_right(starts, number) - 1] not in lines:
            kept.append(line)
    return b"".join(kept)


def _parquet_without(content: bytes, rows: frozenset[int]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(use_threads=False)
    kept = table.filter(pa.array([number not in rows for number in range(1, table.num_rows + 1)], pa.bool_()))
    sink = io.BytesIO()
    pq.write_table(kept, sink)
    return sink.getvalue()


def _is_of_label_studio(path: Path) -> bool:
    if ending_of(path.name) != ".json":
        return False
    try:
        items = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError("it is no JSON", where=str(path), mend="Put a whole file in its place.") from error
    return isinstance(items, list) and bool(items) and isinstance(items[0], dict) and is_export(items[0])


def _without(
    item: dict[str, Any], file: RatingsFile | PicturesFile, unwanted: Unwanted
) -> dict[str, Any] | None:
    """A task or record of an export without what is unwanted; None where nothing may stay."""
    data = item.get("data") if isinstance(item.get("data"), dict) else item
    assert isinstance(data, dict)
    name = picture_name(data.get(file.picture_column))
    if (name and unwanted.is_picture(name)) or data.get(unwanted.person_column) in unwanted.persons:
        return None
    if isinstance(item.get("annotations"), list):
        kept = [
            one
            for one in item["annotations"]
            if not (isinstance(one, dict) and unwanted.is_annotator(annotator_of(one.get("completed_by"))))
        ]
        return {**item, "annotations": kept} if len(kept) < len(item["annotations"]) else item
    return None if unwanted.is_annotator(annotator_of(item.get("annotator"))) else item
