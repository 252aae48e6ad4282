"""What the site does beside answering: takes in new faces, and sees which need further annotators."""

import logging
import threading
from types import TracebackType

import sqlalchemy as sa

from selfai_pipeline.errors import SelfaiError
from selfai_pipeline.labels.site.crowd import renew_targets
from selfai_pipeline.labels.site.database import SiteDatabase, answers
from selfai_pipeline.labels.site.faces import current_faces, take_in_faces
from selfai_pipeline.labels.site.settings import SiteSettings
from selfai_pipeline.store import Store
from selfai_pipeline.turns import writing

logger = logging.getLogger("selfai.site")


class Keeper:
    """Keeps the site up to date in a thread of its own; a context manager."""

    def __init__(self, database: SiteDatabase, *, store: Store, settings: SiteSettings) -> None:
        self.database, self.store, self.settings = database, store, settings
        self._versions = ""
        self._answers = -1
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="annotation site", daemon=True)

    def __enter__(self) -> "Keeper":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(timeout=10)

    def look(self) -> None:
        """Take in what changed since the last look.

        Raises:
            StorageError, MissingVersion, AlteredVersion: database or store cannot be used.
        """
        # A removal must not be overtaken by faces that were read before it.
        with writing(self.store.home):
            versions = current_faces(self.store)
            fingerprint = versions.fingerprint
            if fingerprint != self._versions:
                take_in_faces(self.database, versions, store=self.store, settings=self.settings)
                self._versions = fingerprint
        with self.database.reading() as connection:
            latest = connection.scalar(sa.select(sa.func.max(answers.c.id))) or 0
        if latest != self._answers:
            renew_targets(self.database, settings=self.settings)
            self._answers = latest

    def _go_on(self) -> None:
        while not self._end.wait(self.settings.renew_every_s):
            try:
                self.look()
            except SelfaiError as error:
                # The site goes on with what it has, and looks again.
                logger.error("%s", error)
            except Exception:
                # A thread that ended here would leave new faces out for ever, and say so once.
                logger.exception("the site could not be brought up to date; it looks again")
