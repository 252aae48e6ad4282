"""The report as one HTML page: everything is inside it, nothing is asked from elsewhere."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from selfai_pipeline.evaluation.words import count, interval_in_words, number, percent, value_in_words
from selfai_pipeline.sources.settings import SAMPLE_GALLERY

FOLDER = Path(__file__).parent
TEMPLATE = "report.html"


def render_page(content: Mapping[str, Any]) -> str:
    """The page of an evaluation.

    Args:
        content: `facts` of the evaluation table, `charts` (`Charts`), `occlusion` (`OcclusionMaps` or None),
            `galleries` (rows of cards), `champion`, `drift`, `training_size` and `published` as in the JSON,
            `drift_chart` and `size_chart` (or None), `drift_least_faces` that a day needs,
            `origin` (hashes and settings of what it was made from), `settings`.
    """
    facts = content["facts"]
    faces = sum(facts["sources"].values())
    return fill(
        TEMPLATE,
        **content,
        rated_faces=faces,
        rendered_faces=facts["sources"].get(SAMPLE_GALLERY, 0),
        shown_level=next(
            (
                one
                for one in facts["intervals"]["levels"]
                if one["coverage"] == facts["intervals"]["coverage"]
            ),
            None,
        ),
    )


def fill(template: str, /, *, folder: Path = FOLDER, **values: Any) -> str:
    """A template with its values; each is escaped, as names of groups come from outside.

    Args:
        folder: where the template lies; what it includes may lie here.
    """
    # Autoescape by file name would leave a renamed template open: it is on for every one.
    environment = Environment(
        loader=FileSystemLoader([folder, FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(
        number=number,
        value=value_in_words,
        interval=interval_in_words,
        percent=percent,
        settings=lambda values: json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False),
    )
    environment.globals.update(count=count)
    return environment.get_template(template).render(**values)
