"""The arms of the ablations side by side."""

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from assets.common import OWNERS, check_specs, judged, materialized, preview_link, verdict
from assets.evaluation_report import EvaluationConfig
from selfai_pipeline.evaluation.ablations.settings import ComparisonSettings
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, Snapshot


class ComparisonConfig(defaults_of(ComparisonSettings, section="ablation_report"), dg.Config):  # type: ignore[misc]
    """How the arms are compared."""

    evaluation: EvaluationConfig = Field(EvaluationConfig(), description="Intervals.")


@dg.asset(group_name="ablations", kinds={"parquet"}, owners=OWNERS, code_version="2")
def ablation_report(
    context: dg.AssetExecutionContext,
    config: ComparisonConfig,
    ablation_run: Snapshot,
    balanced_label_table: Snapshot,
    store: dg.ResourceParam[Store],
) -> Snapshot:
    """The seed's table on this data: correlation, its interval and difference, time and work of each arm.

    Arms that were not materialized, or could not run, are named with the reason. All have to be of the
    current label table. The time to a given correlation says what Net2Net saves against a wide network from
    scratch.
    """
    from selfai_pipeline.evaluation.ablations.comparison import compare_arms
    from selfai_pipeline.evaluation.ablations.page import write_page

    inputs = [ablation_run, balanced_label_table]
    ref = compare_arms(ablation_run, balanced_label_table.table, store=store, settings=config)
    page = write_page(ref, store=store)
    rows = [dg.TableRecord(row) for row in store.tables.read(ref, SHOWN).to_pylist()]
    facts = {
        "report": preview_link(page.relative_to(store.home.root).as_posix()),
        "arms": dg.MetadataValue.table(rows, TABLE),
        "figures": dg.MetadataValue.json(store.tables.facts(ref)),
    }
    return materialized(context, {WHOLE: ref}, inputs=inputs, settings=config, metadata={WHOLE: facts})


SHOWN = [
    "title",
    "seeds",
    "pearson",
    "pearson_low",
    "pearson_high",
    "difference",
    "seconds",
    "operations",
    "seconds_to_target",
    "reason",
]
TABLE = dg.TableSchema([dg.TableColumn(name) for name in SHOWN])


@dg.multi_asset_check(
    specs=check_specs(
        "ablation_report",
        completeness="Every arm has a row, and one without figures has its reason; the page is there.",
        sanity="Correlations are defined and lie in -1..1, and every run took time and work.",
        floor="An arm has figures.",
    )
)
def ablation_report_checks(
    ablation_report: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of the comparison."""
    from selfai_pipeline.evaluation.ablations.arms import ARMS
    from selfai_pipeline.evaluation.ablations.page import page_of

    asset, ref = "ablation_report", ablation_report.table
    rows = store.tables.read(ref).to_pylist()
    silent = sum(row["seeds"] == 0 and not row["reason"] for row in rows)
    there = page_of(ref, store=store).exists()
    complete = [row["arm"] for row in rows] == list(ARMS) and not silent and there
    text = f"{len(rows)} of {len(ARMS)} arms, {silent} without figures or a reason"
    text += "" if there else ", the page is missing"
    results = [verdict(asset, "completeness", complete, text, silent=silent)]
    ended = [row for row in rows if row["seeds"]]
    odd = sum(
        row["pearson"] is None or not (-1 <= row["pearson"] <= 1 and row["seconds"] > 0 < row["operations"])
        for row in ended
    )
    text = f"{odd} of {len(ended)} arms have no correlation, or figures that cannot be"
    results.append(verdict(asset, "sanity", odd == 0, text, odd=odd))
    text = f"{len(ended)} arms have figures"
    results.append(verdict(asset, "quality_floor", bool(ended), text, ended=len(ended)))
    yield from judged(store, ref, results)
