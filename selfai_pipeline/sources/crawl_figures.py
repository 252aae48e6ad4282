"""What is shown of a day's crawl beside its table: counts and sizes, no address and no picture's name."""

from collections import Counter
from typing import Any

from selfai_pipeline.sources.addresses import host_of
from selfai_pipeline.sources.crawl import CrawlDoings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

MOST_HOSTS = 20


def crawl_figures(ref: TableRef, *, store: Store, doings: CrawlDoings) -> dict[str, Any]:
    """Figures of a day's crawl by their names.

    They are `counts` of rows by reason or status, `hosts` with the rows of the twenty hosts that have most,
    `bytes_stored`, and where there is something to say: `pictures_per_s` of the call that made the table,
    `unavailable` sources with what is wrong, `left_out` rows of lists by source and reason.
    """
    facts = store.tables.facts(ref)
    table = store.tables.read(ref, ["url", "bytes", "status"])
    hosts = Counter(filter(None, map(host_of, table.column("url").to_pylist())))
    sizes = zip(table.column("status").to_pylist(), table.column("bytes").to_pylist(), strict=True)
    figures: dict[str, Any] = {
        "counts": facts.get("counts", {}),
        "hosts": dict(hosts.most_common(MOST_HOSTS)),
        "bytes_stored": sum(size or 0 for status, size in sizes if status == "stored"),
    }
    if doings.stored and doings.seconds:
        figures["pictures_per_s"] = round(doings.stored / doings.seconds, 2)
    if facts.get("unavailable"):
        figures["unavailable"] = facts["unavailable"]
    left_out = {**doings.left_out}
    for source, reasons in facts.get("left_out", {}).items():
        left_out[source] = {
            **left_out.get(source, {}),
            **{reason: {"rows": n} for reason, n in reasons.items()},
        }
    if left_out:
        figures["left_out"] = left_out
    return figures
