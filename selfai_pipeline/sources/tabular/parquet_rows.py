"""Rows of a Parquet file, a batch at a time."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import IO, Any

from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.tabular.rows import Report, Row, check_header

ROWS_AT_ONCE = 2_000
LARGEST_BATCH = 400_000_000
"""Bytes of the rows that are held at once: a file of some kilobytes can claim far more."""

NO_FORM = object()


def parquet_rows(
    file: IO[bytes], columns: Sequence[str], *, name: str, report: Report, setting: str
) -> Iterator[Row]:
    """The rows of a Parquet file; see `read_rows`. Columns of bytes are left out.

    A cell that Python has no form for (a moment of the year 20000, say) is `NO_FORM` in `Row.cells`, and is
    missing among the further columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # A text that many rows share is read once: written out for each, it could take more than memory has.
        texts = [field.name for field in pq.read_schema(file) if _is_text(field.type)]
        content = pq.ParquetFile(file, pre_buffer=False, read_dictionary=texts)
        schema = content.schema_arrow
        check_header(schema.names, columns, where=name, setting=setting)
        # Bytes, in structures too, are pictures and the like, which say nothing in a table of text.
        wanted = [field.name for field in schema if "binary" not in str(field.type)]
        others = [column for column in wanted if column not in columns]
        line = 0
        for batch in content.iter_batches(batch_size=ROWS_AT_ONCE, columns=wanted, use_threads=False):
            if sum(map(_bytes_written_out, batch.columns)) > LARGEST_BATCH:
                raise InputError(
                    f"{batch.num_rows} of its rows have more than {LARGEST_BATCH} bytes",
                    where=f"{name}, row {line + 1}",
                    mend="Leave out the columns that say nothing about a picture.",
                )
            none = [None] * batch.num_rows
            asked = [_values(batch.column(column)) if column in wanted else none for column in columns]
            lazily = _Batch(batch, others)
            for place in range(batch.num_rows):
                line += 1
                yield Row(line, tuple([cells[place] for cells in asked]), partial(lazily.row, place))
    except (pa.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        raise InputError(
            f"it is no Parquet file that can be read ({str(error).partition(chr(10))[0]})",
            where=name,
            mend="Write it again.",
        ) from error


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _bytes_written_out(column: Any) -> int:
    """Bytes of a column with every row's text of its own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    if not _is_text(column.type.value_type):
        return int(column.dictionary_decode().nbytes)
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    return int(pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0)


class _Batch:
    """The further columns of a batch, made Python's own when the first row is asked for them."""

    def __init__(self, batch: Any, names: Sequence[str]) -> None:
        self._batch, self._names = batch, names
        self._columns: dict[str, list[Any]] = {}

    def row(self, place: int) -> dict[str, Any]:
        if not self._columns:
            self._columns = {name: _values(self._batch.column(name)) for name in self._names}
        cells = {name: values[place] for name, values in self._columns.items()}
        return {name: value for name, value in cells.items() if value is not NO_FORM}


def _values(column: Any) -> list[Any]:
    """The values of a column; `NO_FORM` for one that Python has no form for (a moment of the year 20000)."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_float32(column.type) or pa.types.is_float16(column.type):
        narrow = column.type.to_pandas_dtype()
        # 3.1 in four bytes is 3.0999999046 in eight: the number that was meant is the shortest one.
        return [None if value is None else float(str(narrow(value))) for value in column.to_pylist()]
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):
        values = [_value(cell) for cell in column]
    return values


def _value(cell: Any) -> Any:
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        # What is no UTF-8 becomes half characters, which are no text for anybody who reads the row.
        return cell.as_buffer().to_pybytes().decode(errors="surrogateescape")
    except (ValueError, OverflowError):
        return NO_FORM
