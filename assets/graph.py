"""The whole graph in one place, and which parts of it are out of date."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from assets.ablation_report import ComparisonConfig, ablation_report, ablation_report_checks
from assets.ablation_run import AblationConfig, ablation_run, ablation_run_checks
from assets.aligned_faces import FaceConfig, aligned_faces, aligned_faces_checks
from assets.annotations import annotations, annotations_checks, ratings_external
from assets.balanced_label_table import LabelConfig, balanced_label_table, balanced_label_table_checks
from assets.champion import champion, champion_checks
from assets.champion_comparison import (
    PromotionConfig,
    champion_comparison,
    champion_comparison_checks,
    comparison_external,
)
from assets.common import crawl_days
from assets.evaluation_report import (
    EvaluationConfig,
    evaluation_report,
    evaluation_report_checks,
    report_external,
)
from assets.finetuned_scorer import FinetuneConfig, finetuned_scorer
from assets.pruned_set import PruneConfig, pruned_set, pruned_set_checks
from assets.raw_crawl import CrawlConfig, raw_crawl, raw_crawl_checks
from assets.release_bundle import ReleaseConfig, release_bundle, release_bundle_checks
from assets.removed_inputs import removed_checks
from assets.siamese_checkpoint import SiameseConfig, siamese_checkpoint, siamese_checkpoint_checks
from assets.widened_checkpoint import WidenConfig, widened_checkpoint, widened_checkpoint_checks
from selfai_pipeline.environment import Settings
from selfai_pipeline.knobs import check_sections
from selfai_pipeline.sources.fingerprints import crawl_fingerprints
from selfai_pipeline.sources.settings import Source, load_sources
from selfai_pipeline.store import Store
from selfai_pipeline.tables import PROMOTION_CHECK, WHOLE, CheckpointRef, Ref, TableRef

BEHIND_CRAWL = [pruned_set, aligned_faces]
DAILY = [raw_crawl, *BEHIND_CRAWL]
LABELS = [annotations, balanced_label_table]
MODELS = [siamese_checkpoint, widened_checkpoint, finetuned_scorer, evaluation_report]
RELEASE = [champion_comparison, champion, release_bundle]
WHOLE_SET = [*LABELS, *MODELS, *RELEASE]
ABLATIONS = [ablation_run, ablation_report]
"""Made by hand or by a backfill: nothing else in the graph stands on them."""
ALL_ASSETS = [*DAILY, *WHOLE_SET, *ABLATIONS]
ALL_CHECKS = [
    raw_crawl_checks,
    pruned_set_checks,
    aligned_faces_checks,
    annotations_checks,
    balanced_label_table_checks,
    siamese_checkpoint_checks,
    widened_checkpoint_checks,
    evaluation_report_checks,
    champion_comparison_checks,
    champion_checks,
    release_bundle_checks,
    ablation_run_checks,
    ablation_report_checks,
    *removed_checks,
]
CONFIGS: Mapping[str, type[Settings]] = {
    "raw_crawl": CrawlConfig,
    "pruned_set": PruneConfig,
    "aligned_faces": FaceConfig,
    "annotations": Settings,
    "balanced_label_table": LabelConfig,
    "siamese_checkpoint": SiameseConfig,
    "widened_checkpoint": WidenConfig,
    "finetuned_scorer": FinetuneConfig,
    "evaluation_report": EvaluationConfig,
    "champion_comparison": PromotionConfig,
    "champion": Settings,
    "release_bundle": ReleaseConfig,
    "ablation_run": AblationConfig,
    "ablation_report": ComparisonConfig,
}
OTHER_SECTIONS = {"compute", "detector", "annotation_site"}
check_sections(OTHER_SECTIONS | {name for name, config in CONFIGS.items() if config.model_fields})


def _sources(store: Store) -> list[Source]:
    return load_sources(store.home.sources_file)


def _ratings_external(store: Store) -> dict[str, str]:
    from selfai_pipeline.labels.site.ratings import site_ratings

    return ratings_external(_sources(store), store.home, site_ratings(store.home))


def _report_external(store: Store) -> dict[str, str]:
    scorer = store.tables.current("finetuned_scorer")
    return report_external(scorer.ref, store) if scorer and isinstance(scorer.ref, CheckpointRef) else {}


EXTERNAL: Mapping[str, Callable[[Store, str], dict[str, str]]] = {
    "raw_crawl": lambda store, day: crawl_fingerprints(day, sources=_sources(store), home=store.home),
    "annotations": lambda store, _: _ratings_external(store),
    "evaluation_report": lambda store, _: _report_external(store),
    "champion_comparison": lambda store, _: comparison_external(store),
}


def is_current(definition: dg.AssetsDefinition, partition: str, *, store: Store) -> bool:
    """Whether nothing is to be done: the current version passed its checks and nothing that made it changed.

    That is the code, the default settings, the upstream versions and what comes from outside the graph. A
    crawl with failures that are tried again is never current.
    """
    ref = _unchanged(definition, partition, store)
    return ref is not None and store.tables.has_passed(ref)


def _unchanged(definition: dg.AssetsDefinition, partition: str, store: Store) -> Ref | None:
    """The current version where nothing that made it changed, whatever its checks said."""
    name = definition.key.to_user_string()
    record = store.tables.current(name, partition)
    same = (
        record is not None
        and record.code_version == definition.specs_by_key[definition.key].code_version
        and dict(record.settings) == CONFIGS[name]().recorded()
        and dict(record.inputs) == _inputs_now(definition, partition, store)
        and dict(record.external) == (EXTERNAL[name](store, partition) if name in EXTERNAL else {})
        and not (name == "raw_crawl" and _has_failures(record.ref, store))
    )
    return record.ref if record is not None and same else None


def _has_failures(crawl: Ref, store: Store) -> bool:
    """Whether fetches of a day failed for a passing cause."""
    assert isinstance(crawl, TableRef)
    return "failed" in store.tables.read(crawl, ["status"]).column("status").to_pylist()


def _inputs_now(definition: dg.AssetsDefinition, partition: str, store: Store) -> dict[str, Any]:
    """The versions that a run would read: of a daily asset the same day, or every day that the graph has."""
    inputs, tables, name = {}, store.tables, definition.key.to_user_string()
    for key in definition.keys_by_input_name.values():
        upstream = key.to_user_string()
        if partition == WHOLE:
            names = [name for name in tables.partitions(upstream) if name == WHOLE or _is_day(name)]
        else:
            names = [partition]
        snapshot = tables.snapshot(upstream, names)
        if (name, upstream) == ("balanced_label_table", "aligned_faces"):
            snapshot = store.tables.only_passed(snapshot)
        inputs[upstream] = snapshot.hashes
    return inputs


def _is_day(name: str) -> bool:
    return crawl_days.has_partition_key(name)


def stale_days(days: Sequence[str], *, store: Store) -> list[str]:
    """Those of `days`, sorted, of which a data stage is missing, out of date, or did not pass its checks."""
    return sorted(
        day
        for day in set(filter(_is_day, days))
        if not all(is_current(asset, day, store=store) for asset in DAILY)
    )


def days_behind(store: Store) -> list[str]:
    """Crawled days, sorted, of which pruning or alignment is missing or out of date.

    A removal leaves such days, and so does a new version of the code. The crawl is taken as it is: where it
    is out of date, on a day long past, a site would be asked anew. A day that failed its checks, and would
    fail them again, is left out: it would stop every run.
    """
    crawled = store.tables.only_passed(store.tables.snapshot("raw_crawl"))
    return sorted(day for day in filter(_is_day, crawled.refs) if _is_behind(day, store))


def _is_behind(day: str, store: Store) -> bool:
    """Whether making pruning and alignment of a day again would give something else, or its verdicts."""
    for asset in BEHIND_CRAWL:
        ref = _unchanged(asset, day, store)
        if ref is None:
            return True
        if not store.tables.has_passed(ref):
            # Where no check has failed, some were never made: the run was killed before them.
            return all(store.tables.verdicts(ref).values())
    return False


def awaits_ratings(store: Store) -> bool:
    """Whether no labels can be made yet: no source declares ratings, and nobody scored a face on the site."""
    from selfai_pipeline.labels.site.ratings import site_ratings

    if store.tables.current("annotations") is not None or any(source.ratings for source in _sources(store)):
        return False
    return not site_ratings(store.home)


def stale_assets(group: Sequence[dg.AssetsDefinition], *, store: Store) -> list[dg.AssetsDefinition]:
    """Of a group without partitions, in the order of the graph: from the first that is out of date on.

    Behind a comparison after which the champion stays, nothing is.
    """
    for position, asset in enumerate(group):
        if not is_current(asset, WHOLE, store=store):
            return list(group[position:])
        if asset is champion_comparison and not may_be_champion(store):
            break
    return []


def may_be_champion(store: Store) -> bool:
    """Whether the current comparison passed the check that the champion moves by."""
    record = store.tables.current("champion_comparison")
    return record is not None and store.tables.verdicts(record.ref).get(PROMOTION_CHECK, False)
