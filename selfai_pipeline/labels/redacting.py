"""Files of ratings and of columns about pictures, without the rows that a removal takes out.

The other rows keep their bytes (of CSV and JSON Lines) or their values (of Parquet and JSON), but for further
cells that name what goes.
"""

import csv
import gzip
import io
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.label_studio import annotator_of, is_export, picture_name
from selfai_pipeline.labels.text_table import Misfit, TextTable, collect_table, read_table, rows_of, text_of
from selfai_pipeline.sources.settings import PicturesFile, RatingsFile
from selfai_pipeline.sources.tabular.lines import BYTE_ORDER_MARK
from selfai_pipeline.sources.tabular.reading import ending_of

WRITTEN_BY = frozenset({"annotator", "completed_by"})
"""Keys of Label Studio that hold an annotator."""


@dataclass(frozen=True)
class Unwanted:
    """What a row of a source's file must not be about.

    Args:
        is_picture: whether a name in the file means a removed picture.
        is_annotator: whether an annotator, as the file calls them (without the source), was removed.
        persons: values of the column `person_column`.
        person_column: of files about pictures, and of further columns of ratings.
        scrubbed: a text of a further cell without what must not be named in it; the same where it names none.
    """

    is_picture: Callable[[str], bool] = field(default=lambda name: False)
    is_annotator: Callable[[str], bool] = field(default=lambda annotator: False)
    persons: frozenset[str] = frozenset()
    person_column: str = ""
    scrubbed: Callable[[str], str] = field(default=lambda text: text)

    def is_in(self, cells: dict[str, Any], file: RatingsFile | PicturesFile) -> bool:
        """Whether a row, as text by column, is about any of it."""
        annotator = file.annotator_column if isinstance(file, RatingsFile) else ""
        return (
            (bool(cells.get(file.picture_column)) and self.is_picture(str(cells[file.picture_column])))
            or (bool(annotator) and self.is_annotator(cells.get(annotator) or ""))
            or (bool(self.person_column) and cells.get(self.person_column) in self.persons)
        )


@dataclass(frozen=True)
class UnwantedLines:
    """The lines on which rows begin (of Parquet rows, of a JSON array items), sorted.

    Args:
        gone: of rows that are unwanted.
        named: of other rows, of which a further cell names what is unwanted.
    """

    gone: list[int] = field(default_factory=list)
    named: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.gone or self.named)


def unwanted_lines(path: Path, file: RatingsFile | PicturesFile, unwanted: Unwanted) -> UnwantedLines:
    """The rows that are unwanted, and those that name what is.

    A row that is none (too few cells, say) is unwanted where its cells could be about anything: nothing tells
    whom it names. None of them counts where no other row of the file is unwanted, or names what is.

    Raises:
        InputError: the file cannot be read as a table.
    """
    if _is_of_label_studio(path):
        items = [*enumerate(json.loads(path.read_bytes()), start=1)]
        left = {number: _without(item, file, unwanted) for number, item in items if isinstance(item, dict)}
        return UnwantedLines(
            [number for number, item in items if number in left and left[number] != item],
            [number for number, item in items if number in left and _scrubbed(item, file, unwanted) != item],
        )
    misfits: list[Misfit] = []
    table = collect_table(path, rows_of(path, misfits), misfits)
    gone = {line for line, cells in _rows(table) if unwanted.is_in(cells, file)}
    named: set[int] = set()
    for name in table.columns.keys() - file.own_columns:
        cells = table.columns[name]
        naming = {cell for cell in set(cells) if unwanted.scrubbed(cell) != cell}
        if naming:
            named.update(line for line, cell in zip(table.lines, cells, strict=True) if cell in naming)
    if gone or named:
        gone.update(one.line for one in misfits)
    return UnwantedLines(sorted(gone), sorted(named - gone))


def _rows(table: TextTable) -> Iterator[tuple[int, dict[str, str]]]:
    for row, line in enumerate(table.lines):
        yield line, {name: cells[row] for name, cells in table.columns.items()}


def rows_in(path: Path, file: RatingsFile | PicturesFile) -> Iterator[dict[str, str]]:
    """Each row as text by column; of an export of Label Studio each annotation, cancelled ones too, with what
    its task says of the picture.

    Raises:
        InputError: as `unwanted_lines`.
    """
    if not _is_of_label_studio(path):
        yield from (cells for _, cells in _rows(read_table(path)))
        return
    who = file.annotator_column if isinstance(file, RatingsFile) else ""
    for item in json.loads(path.read_bytes()):
        if not isinstance(item, dict):
            continue
        data = item["data"] if isinstance(item.get("data"), dict) else item
        cells = {name: text_of(value)[0] for name, value in data.items()}
        cells[file.picture_column] = picture_name(data.get(file.picture_column))
        said = [one for one in item.get("annotations") or [] if isinstance(one, dict)]
        for annotator in [one.get("completed_by") for one in said] or [item.get("annotator")]:
            yield {**cells, who: annotator_of(annotator)} if who else cells


def without_lines(
    path: Path, lines: UnwantedLines, file: RatingsFile | PicturesFile, unwanted: Unwanted
) -> bytes:
    """The bytes of a file without what is unwanted on `lines`, as `unwanted_lines` found them.

    Of a task of Label Studio only the annotations of unwanted annotators go, where its picture may stay.
    """
    content, ending = path.read_bytes(), ending_of(path.name)
    gone, named = frozenset(lines.gone), frozenset(lines.named)
    if ending == ".parquet":
        return _parquet_without(content, gone, file, unwanted)
    if ending == ".json":
        items = json.loads(content)
        if _is_of_label_studio(path):
            kept = [_without(item, file, unwanted) for item in items]
            kept = [None if item is None else _scrubbed(item, file, unwanted) for item in kept]
        else:
            kept = [
                _scrubbed(item, file, unwanted) if number in named else item
                for number, item in enumerate(items, start=1)
                if number not in gone
            ]
        return json.dumps([item for item in kept if item is not None], ensure_ascii=False, indent=1).encode()
    text = gzip.decompress(content) if ending.endswith(".gz") else content
    if ending.startswith(".csv"):
        rest = _csv_without(text, path, lines, file, unwanted)
    else:
        rest = b"".join(
            _line_of_json(line, file, unwanted) if number in named else line
            for number, line in enumerate(io.BytesIO(text), start=1)
            if number not in gone
        )
    return gzip.compress(rest, mtime=0) if ending.endswith(".gz") else rest


def _line_of_json(line: bytes, file: RatingsFile | PicturesFile, unwanted: Unwanted) -> bytes:
    end = line[len(line.rstrip(b"\r\n")) :]
    item = json.loads(line.removeprefix(BYTE_ORDER_MARK))
    return json.dumps(_scrubbed(item, file, unwanted), ensure_ascii=False).encode() + end


def _csv_without(
    text: bytes, path: Path, lines: UnwantedLines, file: RatingsFile | PicturesFile, unwanted: Unwanted
) -> bytes:
    """A row of a CSV ends where the next one begins."""
    misfits: list[Misfit] = []
    starts = sorted([1, *(line for line, _ in rows_of(path, misfits)), *(one.line for one in misfits)])
    gone, named = frozenset(lines.gone), frozenset(lines.named)
    kept: dict[int, bytes] = {}
    for number, line in enumerate(io.BytesIO(text), start=1):
        start = starts[bisect_right(starts, number) - 1]
        if start not in gone:
            kept[start] = kept.get(start, b"") + line
    plain = io.TextIOWrapper(io.BytesIO(text), encoding="utf-8-sig", errors="replace", newline="")
    header = next(filter(None, csv.reader(plain)))
    return b"".join(
        _row_of_csv(row, header, file, unwanted) if start in named else row for start, row in kept.items()
    )


def _row_of_csv(row: bytes, header: list[str], file: RatingsFile | PicturesFile, unwanted: Unwanted) -> bytes:
    text = row.decode()
    end = text[len(text.rstrip("\r\n")) :]
    cells = next(csv.reader(io.StringIO(text, newline=""), strict=True))
    own = file.own_columns
    left = [
        cell if name.strip() in own else unwanted.scrubbed(cell)
        for name, cell in zip(header, cells, strict=True)
    ]
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator=end).writerow(left)
    return written.getvalue().encode()


def _parquet_without(
    content: bytes, rows: frozenset[int], file: RatingsFile | PicturesFile, unwanted: Unwanted
) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(use_threads=False)
    kept = table.filter(pa.array([number not in rows for number in range(1, table.num_rows + 1)], pa.bool_()))
    for place, column in enumerate(kept.schema):
        kind = str(column.type)
        # As the reader of tables: what holds bytes is none of its columns.
        if column.name.strip() in file.own_columns or "string" not in kind or "binary" in kind:
            continue
        values = kept.column(place).to_pylist()
        left = [without_names(value, unwanted.scrubbed) for value in values]
        if left != values:
            kept = kept.set_column(place, column, pa.array(left, type=column.type))
    sink = io.BytesIO()
    pq.write_table(kept, sink)
    return sink.getvalue()


def without_names(value: Any, scrubbed: Callable[[str], str], *, but: frozenset[str] = frozenset()) -> Any:
    """A value with each text in it scrubbed, however deep it lies, but for what lies under some keys."""
    if isinstance(value, str):
        return scrubbed(value)
    if isinstance(value, dict):
        return {
            name: one if name in but else without_names(one, scrubbed, but=but) for name, one in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)([without_names(one, scrubbed, but=but) for one in value])
    return value


def _scrubbed(item: dict[str, Any], file: RatingsFile | PicturesFile, unwanted: Unwanted) -> dict[str, Any]:
    """A row or task as JSON has it, with its further cells scrubbed."""
    if is_export(item):
        left: dict[str, Any] = without_names(item, unwanted.scrubbed, but=file.own_columns | WRITTEN_BY)
        return left
    return {
        name: one if name.strip() in file.own_columns else without_names(one, unwanted.scrubbed)
        for name, one in item.items()
    }


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
