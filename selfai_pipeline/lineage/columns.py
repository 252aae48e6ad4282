"""Some columns of a table version, without the others and without proof that its bytes are as they were.

A table of 30,000 faces has 120 MB of thumbnails, and to hash them takes longer than an audit may. The proof
is asked for with `--verify`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from selfai_pipeline.errors import AlteredVersion, MissingVersion
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

if TYPE_CHECKING:
    import pyarrow as pa


def read_columns(ref: TableRef, columns: Iterable[str], *, store: Store) -> "pa.Table":
    """Those of `columns` that the version has, in their order; an earlier schema may lack one.

    Raises:
        MissingVersion: the file is not in the store.
        AlteredVersion: it is no Parquet file any more.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = store.files.path(store.tables.path(ref))
    try:
        with store.files.filesystem.open(path, "rb") as opened:
            file = pq.ParquetFile(opened, pre_buffer=False)
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
