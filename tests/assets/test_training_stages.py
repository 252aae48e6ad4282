"""The training assets and the report, each materialized for real on drawn discs; every check can fail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import torch

from assets.evaluation_report import evaluation_report_checks, opponent_of
from assets.graph import ALL_ASSETS, is_current
from assets.siamese_checkpoint import siamese_checkpoint_checks
from assets.widened_checkpoint import widened_checkpoint_checks
from resources.environments import resources_for
from selfai_pipeline.environment import Environment
from selfai_pipeline.evaluation.report import page_of
from selfai_pipeline.home import Home
from selfai_pipeline.lineage.promotions import Champion
from selfai_pipeline.lineage.registry import MODEL
from selfai_pipeline.networks.network import Network
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef, Record, TableRef
from selfai_pipeline.training.checkpoints import folder_of, load_checkpoint, load_record, save_checkpoint

SPLITS = ["train", "train", "validation", "train", "test", "train"] * 20
QUICK = {
    "siamese_checkpoint": {
        "config": {"epochs": 5, "input_size": 32, "width": 0.25, "batch_size": 16, "least_steps": 8}
    },
    "widened_checkpoint": {"config": {"factor": 1.5, "probe_pictures": 2}},
    "finetuned_scorer": {"config": {"epochs": 4, "least_steps": 8}},
    "evaluation_report": {"config": {"bootstrap_draws": 200, "occlusion_mean_faces": 2}},
}
CHAIN = list(QUICK)
CHECKS: list[dg.AssetChecksDefinition] = [
    siamese_checkpoint_checks,
    widened_checkpoint_checks,
    evaluation_report_checks,
]


class Graph:
    """The graph over one home; `run` materializes the named assets with their checks."""

    def __init__(self, home: Home, labels: TableRef) -> None:
        self.home = home
        self.store = Store.open(home)
        self.store.tables.point(Record(labels, code_version="1", settings={}, inputs={}))

    def run(self, *assets: str, **changes: Any) -> Any:
        """Materialize; `changes` are to the configuration of each."""
        return dg.materialize(
            [*ALL_ASSETS, *CHECKS],
            selection=dg.AssetSelection.assets(*assets),
            resources=resources_for(Environment.SAMPLE, self.home),
            run_config={"ops": {name: {"config": {**QUICK[name]["config"], **changes}} for name in assets}},
            raise_on_error=False,
        )

    def judge(self, checks: dg.AssetChecksDefinition) -> dict[str, dg.AssetCheckEvaluation]:
        """The asset's checks alone, on the current version."""
        result = dg.materialize(
            [*ALL_ASSETS, *CHECKS],
            selection=dg.AssetSelection.checks(checks),
            resources=resources_for(Environment.SAMPLE, self.home),
            raise_on_error=False,
        )
        return {one.check_name: one for one in result.get_asset_check_evaluations()}

    def ref(self, asset: str) -> Any:
        record = self.store.tables.current(asset)
        assert record is not None
        return record.ref

    def replace(self, asset: str, change: Callable[[Network], None]) -> CheckpointRef:
        """Point to the asset's checkpoint with other weights, as if training had made these."""
        before = self.store.tables.current(asset)
        assert before is not None
        checkpoint = load_checkpoint(self.ref(asset), store=self.store)
        with torch.no_grad():
            change(checkpoint.network)
        ref = save_checkpoint(
            checkpoint.network, asset=asset, record=checkpoint.record, rows=before.ref.rows, store=self.store
        )
        self.store.tables.point(Record(ref, before.code_version, before.settings, before.inputs))
        return ref


@pytest.fixture
def graph(home: Home, table_of: Callable[..., TableRef]) -> Graph:
    return Graph(home, table_of(SPLITS))


def failed(evaluations: dict[str, dg.AssetCheckEvaluation]) -> set[str]:
    return {name for name, one in evaluations.items() if not one.passed}


@pytest.mark.slow
def test_each_training_asset_materializes_alone_and_passes_its_checks(graph: Graph) -> None:
    for asset in CHAIN:
        result = graph.run(asset)
        evaluations = result.get_asset_check_evaluations()
        assert result.success, asset
        assert {one.check_name for one in evaluations} == {"completeness", "sanity", "quality_floor"}
        assert [one.description for one in evaluations if not one.passed] == []
        (event,) = result.get_asset_materialization_events()
        assert event.materialization.metadata["sha256"].value == graph.ref(asset).sha256
        if asset in ("siamese_checkpoint", "finetuned_scorer"):
            assert "noise_ceiling" in event.materialization.metadata, "it stands beside every correlation"
        assert graph.store.tables.has_passed(graph.ref(asset))
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    facts = graph.store.tables.facts(graph.ref("evaluation_report"))
    level = next(one for one in facts["intervals"]["levels"] if one["coverage"] == 0.9)
    assert metadata["pearson"] == facts["pearson"]["value"]
    assert metadata["interval_90_covers"] == level["covered"]["value"]
    assert metadata["interval_90"] == f"score ± {level['half_width']:.2f}"
    page = page_of(graph.ref("evaluation_report"), store=graph.store)
    assert "no other scorer has been champion yet" in page.read_text()


def test_a_report_names_the_scorer_that_the_check_of_promotion_compares_with(
    store: Store, move_champion: Callable[..., None]
) -> None:
    first, second, third = (
        CheckpointRef("finetuned_scorer", WHOLE, digit * 64, rows=9) for digit in ("1", "2", "3")
    )
    assert opponent_of(first, store) is None
    for version, ref in enumerate((first, second), start=1):
        move_champion(store, Champion(version, ref.sha256))
    for scorer, expected in ((first, second), (second, first), (third, second)):
        found = opponent_of(scorer, store)
        assert found is not None
        assert found.ref.sha256 == expected.sha256, "the champion has the one before it beside it"
        assert found.name == f"{MODEL}@{expected.sha256[0]}"


@pytest.fixture
def trained(graph: Graph) -> Graph:
    assert graph.run("siamese_checkpoint").success
    return graph


@pytest.mark.slow
def test_dagster_and_mlflow_lead_to_each_other_and_say_what_a_run_did(graph: Graph) -> None:
    from mlflow import MlflowClient

    plan = {"growth_plan": ["wider conv15 1.5", "deeper conv13", "deeper conv14"], "stall_tolerance": 0.99}
    result = graph.run("siamese_checkpoint", **plan, stall_patience=1)
    assert result.success
    (event,) = result.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    client = MlflowClient(f"sqlite:///{graph.home.mlflow / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("selfai").experiment_id])
    assert run.info.run_id in metadata["mlflow_run"]
    tags = run.data.tags
    assert f"/runs/{result.run_id})" in tags["mlflow.note.content"]
    assert tags["dagster.run_id"] == result.run_id
    assert tags["input.balanced_label_table"] == graph.ref("balanced_label_table").sha256
    assert tags["checkpoint_sha256"] == graph.ref("siamese_checkpoint").sha256 == metadata["sha256"]
    assert run.data.params["pairing"] == "rank_n_contrast"
    assert run.data.params["compute.device"] == metadata["ran_on"]["device"]
    assert metadata["seconds"] > 0
    assert metadata["pictures_per_second"] > 0
    assert [entry["epoch"] for entry in metadata["growth_plan"]] == [2, 3, 4]
    for grown in metadata["growth"]:
        assert {"deviation_float64", "loss_before", "loss_after"} <= set(grown)
        assert grown["pictures_per_second_before"] > 0
        assert grown["pictures_per_second_after"] > 0
    curve = client.get_metric_history(run.info.run_id, "pictures_per_second")
    assert [point.step for point in curve] == [1, 2, 3, 4, 5]


def shrink(network: Network) -> None:
    network.layer("conv15").weight.mul_(1e-6)
    network.layer("conv15").bias.zero_()


def burst(network: Network) -> None:
    network.layer("conv3").weight[0] = float("nan")


@pytest.mark.slow
def test_a_collapsed_embedding_fails_its_floor_and_is_out_of_date(trained: Graph) -> None:
    ref = trained.replace("siamese_checkpoint", shrink)
    found = trained.judge(siamese_checkpoint_checks)
    assert failed(found) == {"quality_floor"}
    assert "mean distance" in (found["quality_floor"].description or "")
    assert not trained.store.tables.has_passed(ref)
    (asset,) = [one for one in ALL_ASSETS if one.key.to_user_string() == "siamese_checkpoint"]
    assert not is_current(asset, WHOLE, store=trained.store)


@pytest.mark.slow
def test_weights_that_are_no_numbers_fail_sanity_without_a_measurement(trained: Graph) -> None:
    trained.replace("siamese_checkpoint", burst)
    assert failed(trained.judge(siamese_checkpoint_checks)) == {"sanity", "quality_floor"}


@pytest.mark.slow
def test_an_altered_checkpoint_fails_all_three(trained: Graph) -> None:
    path = Path(
        trained.store.files.local_path(f"{folder_of(trained.ref('siamese_checkpoint'))}/weights.safetensors")
    )
    path.write_bytes(path.read_bytes()[:-1])
    found = trained.judge(siamese_checkpoint_checks)
    assert failed(found) == {"completeness", "sanity", "quality_floor"}
    assert "hash" in (found["completeness"].description or "")


@pytest.mark.slow
def test_a_widening_of_another_function_fails_its_floor(trained: Graph) -> None:
    assert trained.run("widened_checkpoint").success
    trained.replace("widened_checkpoint", lambda network: network.layer("conv1").bias.add_(0.01))
    found = trained.judge(widened_checkpoint_checks)
    assert failed(found) == {"quality_floor"}
    assert "moved by" in (found["quality_floor"].description or "")


@pytest.mark.slow
def test_a_widening_with_noise_that_was_asked_for_passes_and_says_how_far_it_moved(trained: Graph) -> None:
    result = trained.run("widened_checkpoint", copies="ZEROING_NOISE")
    assert result.success
    (floor,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "quality_floor"]
    assert floor.passed
    assert "zeroing noise was asked for" in (floor.description or "")
    assert floor.metadata["deviation_float64"].value > 1e-6


@pytest.mark.slow
def test_a_scorer_that_fails_a_check_is_kept_but_not_registered(
    trained: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pictures are scored the wrong way round: the worst face is the best."""
    from mlflow import MlflowClient

    from selfai_pipeline.training import soundness

    assert trained.run("widened_checkpoint").success
    right_way_round = soundness.validation_scores

    def turned(*arguments: Any, **options: Any) -> Any:
        predicted, annotated = right_way_round(*arguments, **options)
        return -predicted, annotated

    monkeypatch.setattr(soundness, "validation_scores", turned)
    result = trained.run("finetuned_scorer")
    assert [one.check_name for one in result.get_asset_check_evaluations() if not one.passed] == [
        "quality_floor"
    ]
    ref = trained.ref("finetuned_scorer")
    assert load_record(ref, store=trained.store)["metrics"]["best_epoch"] >= 1
    assert not trained.store.tables.has_passed(ref)
    client = MlflowClient(f"sqlite:///{trained.home.mlflow / 'mlflow.db'}")
    assert list(client.search_model_versions("name='selfai-scorer'")) == []
    monkeypatch.undo()
    assert trained.run("finetuned_scorer").success
    (version,) = client.search_model_versions("name='selfai-scorer'")
    assert trained.run("finetuned_scorer").success
    assert [one.version for one in client.search_model_versions("name='selfai-scorer'")] == [version.version]
    assert trained.ref("finetuned_scorer") == ref, "the epochs of the run that failed were not lost"


@pytest.mark.slow
def test_a_registry_that_is_down_costs_no_epoch_and_leaves_no_open_run(
    trained: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    from resources.tracking import TrackedRun

    assert trained.run("widened_checkpoint").success

    def down(*arguments: Any, **options: Any) -> str:
        raise ConnectionError("the registry does not answer")

    monkeypatch.setattr(TrackedRun, "register", down)
    assert not trained.run("finetuned_scorer").success
    assert trained.store.tables.current("finetuned_scorer") is None
    monkeypatch.undo()
    assert trained.run("finetuned_scorer").success
    client = MlflowClient(f"sqlite:///{trained.home.mlflow / 'mlflow.db'}")
    (version,) = client.search_model_versions("name='selfai-scorer'")
    curve = client.get_metric_history(version.run_id, "validation_pearson")
    assert [point.step for point in curve] == [1, 2, 3, 4], "the curve of the run that went on is whole"
    trained_again = client.get_metric_history(version.run_id, "pictures_per_second")
    assert trained_again == [], "only an epoch that is trained has a speed"
    runs = client.search_runs([client.get_experiment_by_name("selfai").experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED", "FAILED"}


@pytest.mark.slow
def test_a_report_that_lost_its_page_or_has_foreign_scores_fails(trained: Graph) -> None:
    for asset in CHAIN[1:]:
        assert trained.run(asset).success
    ref = trained.ref("evaluation_report")
    page_of(ref, store=trained.store).unlink()
    assert failed(trained.judge(evaluation_report_checks)) == {"completeness"}
    rows = trained.store.tables.read(ref).to_pylist()
    turned = trained.store.tables.write(
        [{**row, "predicted": 9 - row["predicted"]} for row in rows[1:]],
        asset="evaluation_report",
        facts=trained.store.tables.facts(ref),
    )
    before = trained.store.tables.current("evaluation_report")
    assert before is not None
    trained.store.tables.point(Record(turned, before.code_version, before.settings, before.inputs))
    assert failed(trained.judge(evaluation_report_checks)) == {"completeness", "sanity", "quality_floor"}
