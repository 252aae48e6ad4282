"""Content-addressed bytes: each picture and crop lives once, under the SHA-256 of its bytes."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from selfai_pipeline.storage import Storage

SHA256_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PictureStore:
    """Bytes named by their SHA-256, under `folder` of a storage.

    Writing the same bytes twice stores them once; a reader never sees half a file.
    """

    storage: Storage
    folder: str

    def relative_path(self, sha256: str) -> str:
        if not SHA256_HEX.fullmatch(sha256):
            raise ValueError(f"not a SHA-256 in lower-case hexadecimal: {sha256!r}")
        return f"{self.folder}/{sha256[:2]}/{sha256[2:4]}/{sha256}"

    def put(self, content: bytes) -> str:
        """Store `content`, in place of a damaged copy too; returns its SHA-256 in hexadecimal."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.put_all({sha256: content})
        return sha256

    def put_all(self, contents: Mapping[str, bytes]) -> None:
        """As `put`, many at once, which costs a part of the time.

        Args:
            contents: bytes by their SHA-256 in hexadecimal.
        """
        paths = {self.relative_path(sha256): content for sha256, content in contents.items()}
        new = {path: content for path, content in paths.items() if not self.storage.holds(path, content)}
        if new:
            self.storage.write_all(new, parts=self.parts)

    def sweep(self) -> None:
        """Delete what killed processes left half-written; it was never part of the store."""
        self.storage.sweep(self.parts)

    @property
    def parts(self) -> str:
        return f"{self.folder}/parts"

    def get(self, sha256: str) -> bytes:
        """The stored bytes, checked against their name.

        Raises:
            MissingVersion: nothing is stored under this hash.
            AlteredVersion: the stored bytes have another hash.
        """
        mend = "Put the file back from a copy, or materialize the stage that stored it again."
        return self.storage.read_verified(self.relative_path(sha256), sha256, mend=mend)

    def __contains__(self, sha256: str) -> bool:
        """Whether bytes are stored under this hash; an empty file, as a full disk leaves it, is none."""
        return bool(self.storage.size(self.relative_path(sha256)))

    def __iter__(self) -> Iterator[str]:
        """The SHA-256 of everything that is stored."""
        return filter(SHA256_HEX.fullmatch, self.storage.names_below(self.folder))

    def delete(self, sha256: str) -> None:
        self.storage.delete(self.relative_path(sha256))
