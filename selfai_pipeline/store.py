"""Everything that the pipeline keeps, in one handle: tables, pictures, crops, checkpoints."""

import os
from dataclasses import dataclass
from pathlib import Path

from selfai_pipeline.environment import Environment, current_environment
from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.picture_store import PictureStore
from selfai_pipeline.storage import Storage
from selfai_pipeline.tables import TableStore


@dataclass(frozen=True)
class Store:
    """The stores of one `SELFAI_HOME`.

    `files` holds tables, pictures, crops and checkpoints, in the home or in an object store; what belongs to
    one machine (previews, reports, caches) is always under `home`, and so is the journal unless
    `SELFAI_JOURNAL_URL` names another place.
    """

    home: Home
    files: Storage

    @classmethod
    def open(cls, home: str | Path | Home, url: str = "") -> "Store":
        """The store of `home`; `url` (such as `s3://bucket/selfai`) moves `files` there."""
        place = home if isinstance(home, Home) else Home.at(home)
        return cls(place, Storage(url or place.root))

    @property
    def tables(self) -> TableStore:
        return TableStore(self.files)

    @property
    def pictures(self) -> PictureStore:
        """Crawled pictures, metadata stripped; their SHA-256 is the `image_id`."""
        return PictureStore(self.files, "pictures")

    @property
    def crops(self) -> PictureStore:
        """Aligned faces as lossless PNG, named by `crop_sha256`."""
        return PictureStore(self.files, "crops")


def open_store(home: str | Path | Home) -> Store:
    """The store of `home` in the current environment: in production its files are at `SELFAI_STORAGE_URL`.

    Raises:
        InputError: `SELFAI_ENV` is production and `SELFAI_STORAGE_URL` is not set, or cannot be opened.
    """
    if current_environment() is not Environment.PRODUCTION:
        return Store.open(home)
    url = os.environ.get("SELFAI_STORAGE_URL", "")
    if not url:
        raise InputError(
            "production keeps tables and pictures in a store of their own, and none is named",
            where="SELFAI_STORAGE_URL",
            mend="Set it to an address such as s3://bucket/selfai, or to a folder.",
        )
    return Store.open(home, url)
