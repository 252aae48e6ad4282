"""What the pages of the annotation site work on."""

import logging
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from selfai_pipeline.errors import AlteredVersion, MissingVersion
from selfai_pipeline.labels.site.database import SiteDatabase
from selfai_pipeline.labels.site.door import Door, not_found
from selfai_pipeline.labels.site.faces import lose_crop
from selfai_pipeline.labels.site.settings import SiteSettings
from selfai_pipeline.store import Store

logger = logging.getLogger("selfai.site")

FOLDER = Path(__file__).parent


def _templates() -> Environment:
    """Every value is escaped, whatever a template is called."""
    return Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined
    )


@dataclass(frozen=True)
class Site:
    """One annotation site: its database, the crops that it shows, and who is let in.

    `key` is that of the hashes of links and sessions; `draws` decides who is shown gold and repeats.
    """

    database: SiteDatabase
    store: Store
    settings: SiteSettings
    key: bytes
    door: Door
    draws: random.Random
    templates: Environment = field(default_factory=_templates)

    def page(self, template: str, /, *, status: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(self.templates.get_template(template).render(**values), status)

    def crop(self, sha256: str | None) -> Response:
        """The crop of this hash as an answer; not found where it is None or lost."""
        if sha256 is None:
            raise not_found()
        try:
            return Response(self.store.crops.get(sha256), media_type="image/png")
        except (MissingVersion, AlteredVersion):
            # Or it would be scored unseen. The message of the error would name the picture.
            lose_crop(self.database, sha256)
            logger.warning(
                "a crop to be shown is lost or damaged; its face is shown to nobody until the site starts "
                "again or its day is made anew (the checks of aligned_faces tell which)"
            )
            raise not_found() from None
