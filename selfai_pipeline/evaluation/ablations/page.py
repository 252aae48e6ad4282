"""The comparison as one HTML page, with the figures as JSON beside it."""

import json
from pathlib import Path

from selfai_pipeline.evaluation.ablations.arms import ARMS
from selfai_pipeline.evaluation.charts import training_size_chart
from selfai_pipeline.evaluation.page import fill
from selfai_pipeline.storage import replace_file
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

PAGE = "ablations.html"
FIGURES = "ablations.json"


def page_of(comparison: TableRef, *, store: Store) -> Path:
    """Where the page of a comparison lies, whether it is written or not."""
    return store.home.reports / comparison.sha256 / PAGE


def write_page(comparison: TableRef, *, store: Store) -> Path:
    """Write the page and its figures; writing again replaces them.

    Raises:
        StorageError: the folder cannot be written.
    """
    rows, facts = store.tables.read(comparison).to_pylist(), store.tables.facts(comparison)
    path = page_of(comparison, store=store)
    content = json.dumps({"arms": rows, "figures": facts}, indent=1, allow_nan=False)
    replace_file(path.with_name(FIGURES), content.encode())
    sizes = training_size_chart(facts["training_size"]["sizes"], ceiling=facts["noise_ceiling"])
    page = fill(PAGE, rows=rows, facts=facts, arms=list(ARMS.values()), size_chart=sizes)
    replace_file(path, page.encode())
    return path
