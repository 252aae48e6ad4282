"""Some columns of a table version, without the others and without proof that its bytes are as they were.

A table of 30,000 faces has 120 MB of thumbnails, and to hash them takes longer than an audit may. The proof
is asked for with `--verify`.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from selfai_pipeline.errors import AlteredVersion, MissingVersion
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

if TYPE_CHECKING:
    import pyarrow as pa


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_columns(ref: TableRef, columns: Iterable[str], *, store: Store) -> "pa.Table":
    """Those of `columns` that the version has, in their order; an earlier schema may lack one.

    Where a removal took rows out of the version, what is left of it is read.

    Raises:
        MissingVersion: the file is not in the store.
        AlteredVersion: it is no Parquet file any more.
    """
    return read_file(store.tables.present(ref), columns, store=store)


def read_file(ref: TableRef, columns: Iterable[str], *, store: Store) -> "pa.Table":
    """As `read_columns`, of the file itself: where a removal took rows out of it, they may be back."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = store.files.path(store.tables.path(ref))
    try:
        with ExitStack() as stack:
            is_local = store.files.is_local
            opened = path if is_local else stack.enter_context(store.files.filesystem.open(path, "rb"))
            file = stack.enter_context(pq.ParquetFile(opened, pre_buffer=False, memory_map=is_local))
            known = set(file.schema_arrow.names)
            return file.read([name for name in columns if name in known], use_threads=False)
    except FileNotFoundError:
        raise MissingVersion(f"{path} is missing") from None
    except (pa.ArrowException, OSError) as error:
        raise AlteredVersion(f"{path}: it cannot be read ({str(error).splitlines()[0]})") from error


def readable_columns(asset: str) -> list[str]:
    """The columns of an asset's table that a person can read: all but perceptual hashes and thumbnails."""
    from selfai_pipeline.schemas import TABLES

    return [name for name in TABLES[asset].names if name not in ("thumbnail", "perceptual_hash")]


def row_at(table: "pa.Table", number: int) -> dict[str, Any]:
    """A row as plain values. Arrow loads pandas to make a moment a Python one, which takes half a second."""
    scalars = {name: table[name][number] for name in table.column_names}
    return {
        name: EPOCH + timedelta(microseconds=scalar.value)
        if scalar.is_valid and str(scalar.type).startswith("timestamp[us")
        else scalar.as_py()
        for name, scalar in scalars.items()
    }
