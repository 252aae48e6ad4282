"""`SELFAI_HOME`: the one folder that holds everything the pipeline writes."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from selfai_pipeline.errors import StorageError


@dataclass(frozen=True)
class Home:
    """The folders and files under `SELFAI_HOME`; every path is absolute."""

    root: Path

    @classmethod
    def from_environment(cls) -> "Home":
        """`SELFAI_HOME`, or `.selfai` in the working directory where it is not set."""
        return cls.at(os.environ.get("SELFAI_HOME") or ".selfai")

    @classmethod
    def at(cls, path: str | Path) -> "Home":
        return cls(Path(path).expanduser().resolve())

    @property
    def sources_file(self) -> Path:
        return self.root / "sources.yaml"

    @property
    def imports(self) -> Path:
        """Ratings and picture attributes brought in by `selfai import`, one folder a source."""
        return self.root / "imports"

    @property
    def journal_url(self) -> str:
        """Address of the journal of fetches, as SQLAlchemy reads it."""
        return f"sqlite:///{self.root / 'journal.sqlite'}"

    @property
    def dagster(self) -> Path:
        return self.root / "dagster"

    @property
    def mlflow(self) -> Path:
        return self.root / "mlflow"

    @property
    def previews(self) -> Path:
        """Contact sheets and thumbnails: files, so that removal can reach them."""
        return self.root / "previews"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def cache(self) -> Path:
        """What can be made again at any time: pixel caches, recovery points of unfinished training."""
        return self.root / "cache"

    def create(self) -> "Home":
        """Make the folders, and prove that they can be written.

        Raises:
            StorageError: the folder is read-only, not permitted, or its disk is full.
        """
        try:
            for folder in (
                self.root,
                self.imports,
                self.dagster,
                self.mlflow,
                self.previews,
                self.reports,
                self.cache,
            ):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{os.getpid()}"
            probe.write_bytes(b"selfai" * 1024)
            probe.unlink()
        except OSError as error:
            raise StorageError(
                f"{self.root}: cannot be written ({error.strerror}). "
                "Free some space, mend the permissions, or set SELFAI_HOME to a folder that you can write."
            ) from error
        return self

    def free_bytes(self) -> int:
        """Free space on the disk that holds the home, in bytes."""
        existing = self.root
        while not existing.exists():
            existing = existing.parent
        return shutil.disk_usage(existing).free
