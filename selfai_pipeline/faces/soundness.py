"""Independent checks of a day's faces: against the pruned set, and beside the days before."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from selfai_pipeline.errors import AlteredVersion, MissingVersion
from selfai_pipeline.faces.drift import Comparison, residual_comparison, share_comparison
from selfai_pipeline.faces.settings import FaceRule
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef, differing

EARLIER_DAYS = 14
"""With how many of the days before it a day is compared."""

Values = npt.NDArray[np.float64]


def rows_amiss(rows: Iterable[Mapping[str, Any]], kept: Iterable[str], *, rule: FaceRule) -> int:
    """How many rows of `aligned_faces` are lost, too many, or of a face that their picture does not have.

    A kept picture has one row; under the rule `all` it has one of each of its faces.

    Args:
        rows: with image_id, face and faces_found.
        kept: image_ids of the kept pictures, each once.
    """
    numbers: dict[str, list[int]] = {image_id: [] for image_id in kept}
    found: dict[str, int] = defaultdict(int)
    strangers = 0
    for row in rows:
        found[row["image_id"]] = row["faces_found"]
        if row["image_id"] in numbers:
            numbers[row["image_id"]].append(row["face"])
        else:
            strangers += 1
    amiss = strangers
    for image_id, of_picture in numbers.items():
        wanted = range(found[image_id]) if found[image_id] else [-1]
        if rule is FaceRule.ALL:
            amiss += differing(wanted, of_picture)
        else:
            amiss += abs(len(of_picture) - 1) + sum(number not in wanted for number in of_picture)
    return amiss


def beside_earlier_days(faces: TableRef, *, store: Store) -> dict[str, Comparison]:
    """`face_share` and `residuals` of a day beside those of up to 14 earlier days that were made.

    Residuals of a day with another template are in other units, and left out. An earlier day whose table or
    pointer is lost or altered is left out too: its own check says so.
    """
    days = [day for day in store.tables.partitions(faces.asset) if day < faces.partition][-EARLIER_DAYS:]
    share, residuals = _share_and_residuals(faces, store=store)
    template = store.tables.facts(faces).get("template")
    shares_before, residuals_before = [], []
    for day in days:
        try:
            for ref in store.tables.snapshot(faces.asset, [day]).tables.values():
                share_before, values = _share_and_residuals(ref, store=store)
                shares_before.append(share_before)
                if store.tables.facts(ref).get("template") == template:
                    residuals_before.append(values)
        except (MissingVersion, AlteredVersion):
            continue
    return {
        "face_share": share_comparison(share, shares_before),
        "residuals": residual_comparison(residuals, np.concatenate([*residuals_before, np.zeros(0)])),
    }


def _share_and_residuals(ref: TableRef, *, store: Store) -> tuple[tuple[int, int], Values]:
    """Pictures with a crop and pictures of a day, and the residuals of its faces, refused ones too."""
    rows = store.tables.read(ref, ["image_id", "crop_sha256", "residual_px"]).to_pylist()
    with_crop = {row["image_id"] for row in rows if row["crop_sha256"]}
    residuals = [row["residual_px"] for row in rows if row["residual_px"] is not None]
    return (len(with_crop), len({row["image_id"] for row in rows})), np.array(residuals, dtype=np.float64)
