"""The faces that can be labelled: those with a crop, each picture's from the first partition that has one."""

from typing import TYPE_CHECKING

import numpy as np

from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ["image_id", "face", "source", "crop_sha256", "perceptual_hash", "thumbnail"]


def first_crops(aligned_faces: Snapshot, store: Store) -> "pa.Table":
    """Faces with a crop, sorted by (image_id, face): `COLUMNS` of aligned_faces, and `partition`.

    A picture of several partitions has the faces of the first, in their order, that has a crop of it.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from selfai_pipeline.schemas import ALIGNED_FACES

    empty = pa.schema([ALIGNED_FACES.field(name) for name in COLUMNS]).empty_table()
    parts = [empty.append_column("partition", pa.array([], pa.string()))]
    for partition, ref in aligned_faces.tables.items():
        table = store.tables.read(ref, COLUMNS)
        cropped = pc.and_(pc.greater_equal(table["face"], 0), table["crop_sha256"].is_valid())
        table = table.filter(cropped)
        parts.append(table.append_column("partition", pa.repeat(partition, table.num_rows)))
    faces = pa.concat_tables([part.replace_schema_metadata(None).cast(parts[0].schema) for part in parts])
    picture = faces["image_id"].combine_chunks().dictionary_encode()
    code = picture.indices.to_numpy()
    day = np.repeat(np.arange(len(parts)), [part.num_rows for part in parts])
    first = np.full(len(picture.dictionary), len(parts))
    np.minimum.at(first, code, day)
    mine = faces.filter(pa.array(day == first[code]))
    return mine.sort_by([("image_id", "ascending"), ("face", "ascending")])
