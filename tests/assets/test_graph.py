"""The whole asset graph as data: a change of lineage shows in review."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from pydantic import BaseModel

from assets.evaluation_report import evaluation_report_checks
from assets.graph import ALL_ASSETS, CONFIGS, DAILY
from assets.siamese_checkpoint import siamese_checkpoint_checks
from resources.compute import Compute
from resources.detector import FaceDetector
from selfai_pipeline.definitions import defs
from selfai_pipeline.labels.site.settings import SiteSettings
from selfai_pipeline.sources.gallery.settings import GallerySettings

SNAPSHOT = Path(__file__).with_name("graph.json")
HEAVY = ("torch", "mlflow", "cv2", "scrapy", "pandas", "faiss", "ray", "matplotlib")


def described() -> dict[str, object]:
    graph = defs.resolve_asset_graph()
    described: dict[str, object] = {}
    for asset in ALL_ASSETS:
        node = graph.get(asset.key)
        described[asset.key.to_user_string()] = {
            "depends_on": sorted(key.to_user_string() for key in node.parent_keys),
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "partitions": type(node.partitions_def).__name__ if node.partitions_def else None,
            "pool": asset.op.pool,
            "code_version": node.code_version,
            "checks": {
                key.name: graph.get_check_spec(key).blocking
                for key in sorted(node.check_keys, key=lambda key: key.name)
            },
        }
    return described


def test_the_graph_is_the_one_that_was_reviewed() -> None:
    """After a wanted change: run this with SELFAI_WRITE_SNAPSHOT=1, and review the file."""
    if os.environ.get("SELFAI_WRITE_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(described(), indent=2) + "\n")
    assert described() == json.loads(SNAPSHOT.read_text())


def test_the_definitions_load_without_heavy_modules(tmp_path: Path) -> None:
    code = f"import sys, selfai_pipeline.definitions; print([m for m in {HEAVY!r} if m in sys.modules])"
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("asset", ALL_ASSETS, ids=lambda asset: asset.key.to_user_string())
def test_every_asset_declares_what_the_house_asks_for(asset: dg.AssetsDefinition) -> None:
    spec = asset.specs_by_key[asset.key]
    assert spec.group_name in {"data", "labels", "training", "evaluation", "release", "ablations"}
    assert spec.kinds
    assert spec.owners
    assert spec.code_version
    assert len(spec.description or "") > 60
    if "pytorch" in spec.kinds:
        assert asset.op.pool == "gpu"
        assert "dagster-k8s/config" in asset.op.tags


@pytest.mark.parametrize("checks", [siamese_checkpoint_checks, evaluation_report_checks])
def test_checks_that_measure_a_model_are_gpu_work(checks: dg.AssetChecksDefinition) -> None:
    assert checks.node_def.pool == "gpu"


def test_the_data_stages_share_one_policy_and_one_set_of_days() -> None:
    assert len({asset.partitions_def for asset in DAILY}) == 1
    assert {asset.backfill_policy for asset in DAILY} == {dg.BackfillPolicy.single_run()}


ROOT = Path(__file__).parents[2]
READERS: dict[str, tuple[type[BaseModel], str]] = {
    "raw_crawl": (CONFIGS["raw_crawl"], "selfai_pipeline/sources"),
    "pruned_set": (CONFIGS["pruned_set"], "selfai_pipeline/pictures"),
    "aligned_faces": (CONFIGS["aligned_faces"], "selfai_pipeline/faces"),
    "balanced_label_table": (CONFIGS["balanced_label_table"], "selfai_pipeline/labels"),
    "siamese_checkpoint": (CONFIGS["siamese_checkpoint"], "selfai_pipeline/training"),
    "widened_checkpoint": (CONFIGS["widened_checkpoint"], "selfai_pipeline/training"),
    "finetuned_scorer": (CONFIGS["finetuned_scorer"], "selfai_pipeline/training"),
    "evaluation_report": (CONFIGS["evaluation_report"], "selfai_pipeline/evaluation"),
    "champion_comparison": (CONFIGS["champion_comparison"], "selfai_pipeline/release"),
    "release_bundle": (CONFIGS["release_bundle"], "selfai_pipeline/release"),
    "ablation_run": (CONFIGS["ablation_run"], "selfai_pipeline/evaluation/ablations"),
    "ablation_report": (CONFIGS["ablation_report"], "selfai_pipeline/evaluation/ablations"),
    "compute": (Compute, "selfai_pipeline/training"),
    "detector": (FaceDetector, "selfai_pipeline/faces"),
    "annotation_site": (SiteSettings, "selfai_pipeline/labels/site"),
    "gallery": (GallerySettings, "selfai_pipeline/sources/gallery"),
}
"""Settings, and the code that they are there for."""


def fields_read(code: str, *, holders: set[str]) -> set[str]:
    """Names that a module reads as attributes of one of `holders`: of `settings`, of `self.settings`."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            holder = node.value
            name = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", "")
            if name in holders:
                found.add(node.attr)
    return found


@pytest.mark.parametrize("name", sorted(READERS))
def test_every_setting_is_described_and_read_by_its_code(name: str) -> None:
    settings, place = READERS[name]
    files = [ROOT / place] if place.endswith(".py") else list((ROOT / place).rglob("*.py"))
    holders = {"self"} if place.endswith(".py") else {"settings"}
    read: set[str] = set()
    for file in files:
        if file.name != "settings.py":
            read |= fields_read(file.read_text(), holders=holders)
    for field, info in settings.model_fields.items():
        assert info.description, f"{name}.{field} has no description"
    assert set(settings.model_fields) - read == set(), f"nothing reads these settings of {name}"


def test_every_configuration_of_an_asset_is_held_to_that() -> None:
    with_settings = {name for name, settings in CONFIGS.items() if settings.model_fields}
    assert with_settings <= set(READERS)


def test_a_field_counts_as_read_only_where_the_settings_are_asked_for_it() -> None:
    code = "other.margin\nsettings.seed_of\nsettings.factor = 1\nself.settings.width + settings.seed"
    assert fields_read(code, holders={"settings"}) == {"seed_of", "width", "seed"}
