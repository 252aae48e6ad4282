"""The whole asset graph as data: a change of lineage shows in review."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.graph import ALL_ASSETS, CONFIGS, DAILY
from selfai_pipeline.definitions import defs

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
    assert spec.group_name in {"data", "labels", "training", "evaluation"}
    assert spec.kinds
    assert spec.owners
    assert spec.code_version
    assert len(spec.description or "") > 60
    if spec.group_name == "training":
        assert asset.op.pool == "gpu"
        assert "dagster-k8s/config" in asset.op.tags


def test_the_data_stages_share_one_policy_and_one_set_of_days() -> None:
    assert len({asset.partitions_def for asset in DAILY}) == 1
    assert {asset.backfill_policy for asset in DAILY} == {dg.BackfillPolicy.single_run()}


@pytest.mark.parametrize("name", sorted(set(CONFIGS) - {"annotations"}))
def test_every_setting_is_described_and_read_by_code(name: str) -> None:
    library = Path(__file__).parents[2] / "selfai_pipeline"
    code = "\n".join(
        file.read_text() for file in library.rglob("*.py") if file.name not in ("settings.py", "cli.py")
    )
    for field, info in CONFIGS[name].model_fields.items():
        assert info.description, f"{name}.{field} has no description"
        assert f".{field}" in code, f"nothing reads {name}.{field}"
