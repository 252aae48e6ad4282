"""`SELFAI_HOME`: the one folder that holds everything the pipeline writes."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.storage import replace_file

PROJECT = Path(__file__).resolve().parent.parent
KEPT = b" kept"
LEAST_FREE_BYTES = 1_000_000_000
"""A run over the sample writes 130 MB; a disk that fills up during a run costs hours."""


@dataclass(frozen=True)
class Home:
    """The folders and files under `SELFAI_HOME`; every path is absolute."""

    root: Path

    @classmethod
    def from_environment(cls) -> "Home":
        """`SELFAI_HOME`, or `.selfai` in the project's folder where it is not set."""
        return cls.at(os.environ.get("SELFAI_HOME") or PROJECT / ".selfai")

    @classmethod
    def existing(cls) -> "Home":
        """As `from_environment`, for commands that have nothing to do in a new one.

        Raises:
            InputError: there is no such folder: the name may be mistyped.
        """
        home = cls.from_environment()
        if not home.root.is_dir():
            raise InputError("there is no such folder", where=str(home.root), mend="Check SELFAI_HOME.")
        return home

    @classmethod
    def at(cls, path: str | Path) -> "Home":
        return cls(Path(path).expanduser().resolve())

    @property
    def sources_file(self) -> Path:
        return self.root / "sources.yaml"

    @property
    def settings_file(self) -> Path:
        """Defaults of settings that stay, where there are any; see `knobs.py`."""
        return self.root / "settings.yaml"

    @property
    def imports(self) -> Path:
        """Ratings and picture attributes brought in by `selfai import`, one folder a source."""
        return self.root / "imports"

    @property
    def own_journal(self) -> Path:
        """The journal of fetches where `SELFAI_JOURNAL_URL` names no other."""
        return self.root / "journal.sqlite"

    @property
    def journal_url(self) -> str:
        """Address of the journal of fetches, as SQLAlchemy reads it; it may hold a password.

        It is looked up whenever it is needed, so that it is kept nowhere but in the environment.
        """
        return os.environ.get("SELFAI_JOURNAL_URL", "").strip() or f"sqlite:///{self.own_journal}"

    @property
    def own_annotations(self) -> Path:
        """The database of the annotation site where `SELFAI_ANNOTATIONS_URL` names no other."""
        return self.root / "annotations.sqlite"

    @property
    def own_annotations_url(self) -> str:
        return f"sqlite:///{self.own_annotations}"

    @property
    def annotations_url(self) -> str:
        """Address of the annotation site's database; looked up as that of the journal is."""
        return os.environ.get("SELFAI_ANNOTATIONS_URL", "").strip() or self.own_annotations_url

    @property
    def annotations_key(self) -> Path:
        """The key of the hashes of links and sessions: kept apart from their database."""
        return self.root / "annotations.key"

    @property
    def dagster(self) -> Path:
        return self.root / "dagster"

    @property
    def mlflow(self) -> Path:
        return self.root / "mlflow"

    @property
    def mlflow_database(self) -> Path:
        """MLflow's runs and registered models, where no shared server keeps them."""
        return self.mlflow / "mlflow.db"

    @property
    def previews(self) -> Path:
        """Contact sheets and thumbnails: files, so that removal can reach them."""
        return self.root / "previews"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def releases(self) -> Path:
        """Release bundles, a folder each."""
        return self.root / "releases"

    @property
    def removals(self) -> Path:
        """Locks and plans of removals, and the key of their tombstones."""
        return self.root / "removals"

    @property
    def removal_key(self) -> Path:
        """The key of the hashes in tombstones: without it nobody can tell whose they are."""
        return self.removals / "key"

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
                self.releases,
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

    def require_free_space(self) -> None:
        """Raises StorageError where the disk that holds the home has too little space left for a run."""
        existing = self.root
        while not existing.exists():
            existing = existing.parent
        free = shutil.disk_usage(existing).free
        if free < LEAST_FREE_BYTES:
            raise StorageError(
                f"{self.root}: {free / 1e9:.1f} GB are free on its disk, and a run needs "
                f"{LEAST_FREE_BYTES / 1e9:.0f} GB. "
                "Free some space, or set SELFAI_HOME to a folder on another disk."
            )


def install_instance_file(home: Home) -> Path | None:
    """Put the project's dagster.yaml into the home, unless the user has written one of their own there.

    A stamp beside it holds the hash of what was offered last, and whether a user's own file was kept instead:
    a file that still has this hash was not changed since it was installed, and is brought up to date.

    Returns:
        The user's own file where it was kept, once a version of the project's; else None.

    Raises:
        StorageError: the folder cannot be read or written.
    """
    target, stamp = home.dagster / "dagster.yaml", home.dagster / "dagster.yaml.offered"
    ours = (PROJECT / "dagster.yaml").read_bytes()
    found, before = _content(target), _content(stamp)
    is_users_own = found not in (None, ours) and (before or b"")[:64] != _hexadecimal(found or b"")
    if found != ours and not is_users_own:
        replace_file(target, ours)
    now = _hexadecimal(ours) + (KEPT if is_users_own else b"")
    if now != before:
        replace_file(stamp, now)
    return target if is_users_own and now != before else None


def _hexadecimal(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be read ({error.strerror}). Mend the permissions, or move it out of the way."
        ) from error
