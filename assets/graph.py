"""The whole graph in one place, and which parts of it are out of date."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from assets.aligned_faces import FaceConfig, aligned_faces, aligned_faces_checks
from assets.annotations import annotations, annotations_checks
from assets.balanced_label_table import LabelConfig, balanced_label_table, balanced_label_table_checks
from assets.evaluation_report import EvaluationConfig, evaluation_report, evaluation_report_checks
from assets.finetuned_scorer import FinetuneConfig, finetuned_scorer
from assets.pruned_set import PruneConfig, pruned_set, pruned_set_checks
from assets.raw_crawl import CrawlConfig, raw_crawl, raw_crawl_checks
from assets.siamese_checkpoint import SiameseConfig, siamese_checkpoint, siamese_checkpoint_checks
from assets.widened_checkpoint import WidenConfig, widened_checkpoint, widened_checkpoint_checks
from selfai_pipeline.environment import Settings
from selfai_pipeline.sources.settings import load_sources, sources_fingerprint
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, TableStore

DAILY = [raw_crawl, pruned_set, aligned_faces]
WHOLE_SET = [
    annotations,
    balanced_label_table,
    siamese_checkpoint,
    widened_checkpoint,
    finetuned_scorer,
    evaluation_report,
]
ALL_ASSETS = [*DAILY, *WHOLE_SET]
ALL_CHECKS = [
    raw_crawl_checks,
    pruned_set_checks,
    aligned_faces_checks,
    annotations_checks,
    balanced_label_table_checks,
    siamese_checkpoint_checks,
    widened_checkpoint_checks,
    evaluation_report_checks,
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
}


def _declared_sources(store: Store) -> dict[str, str]:
    return {"sources": sources_fingerprint(load_sources(store.home.sources_file))}


def _ratings_files(store: Store) -> dict[str, str]:
    from selfai_pipeline.labels.annotations import ratings_fingerprint

    return {"ratings": ratings_fingerprint(load_sources(store.home.sources_file), store.home)}


EXTERNAL: Mapping[str, Callable[[Store], dict[str, str]]] = {
    "raw_crawl": _declared_sources,
    "annotations": _ratings_files,
}


def is_current(definition: dg.AssetsDefinition, partition: str, *, store: Store) -> bool:
    """Whether the current version was made by this code, with the default settings, from today's inputs."""
    name = definition.key.to_user_string()
    record = store.tables.current(name, partition)
    if record is None or record.code_version != definition.specs_by_key[definition.key].code_version:
        return False
    if dict(record.settings) != CONFIGS[name]().model_dump(mode="json"):
        return False
    if dict(record.external) != (EXTERNAL[name](store) if name in EXTERNAL else {}):
        return False
    return dict(record.inputs) == _inputs_now(definition, partition, store.tables)


def _inputs_now(definition: dg.AssetsDefinition, partition: str, tables: TableStore) -> dict[str, Any]:
    inputs = {}
    for key in definition.keys_by_input_name.values():
        snapshot = tables.snapshot(key.to_user_string())
        wanted = (partition, WHOLE) if partition != WHOLE else snapshot.refs
        inputs[key.to_user_string()] = {
            name: sha256 for name, sha256 in snapshot.hashes.items() if name in wanted
        }
    return inputs


def stale_days(days: Sequence[str], *, store: Store) -> list[str]:
    """Days of which a data stage is missing or out of date."""
    return [day for day in days if not all(is_current(asset, day, store=store) for asset in DAILY)]


def stale_assets(*, store: Store) -> list[dg.AssetsDefinition]:
    """Assets without partitions from the first one that is out of date on, in the order of the graph."""
    for position, asset in enumerate(WHOLE_SET):
        if not is_current(asset, WHOLE, store=store):
            return WHOLE_SET[position:]
    return []
