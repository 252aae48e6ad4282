"""The release group through Dagster: the champion moves behind its blocking check, and only there."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from click.testing import CliRunner

from assets.champion import champion, champion_checks
from assets.champion_comparison import (
    champion_comparison,
    champion_comparison_checks,
    comparison_external,
)
from assets.graph import ALL_ASSETS, ALL_CHECKS, MODELS, RELEASE, stale_assets
from assets.release_bundle import release_bundle, release_bundle_checks
from resources.environments import resources_for
from selfai_pipeline.cli import commands, materialize_stale
from selfai_pipeline.environment import Environment
from selfai_pipeline.errors import SelfaiError
from selfai_pipeline.home import Home
from selfai_pipeline.lineage.promotions import read_promotions
from selfai_pipeline.lineage.registry import read_registry
from selfai_pipeline.sources.settings import save_sources
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record, TableRef

pytestmark = pytest.mark.slow

SPLITS = ["train", "train", "validation", "train", "test", "train"] * 20
QUICK: dict[str, dict[str, Any]] = {
    "siamese_checkpoint": {"epochs": 5, "input_size": 32, "width": 0.25, "batch_size": 16, "least_steps": 8},
    "widened_checkpoint": {"factor": 1.5, "probe_pictures": 2},
    "finetuned_scorer": {"epochs": 4, "least_steps": 8},
    "evaluation_report": {"bootstrap_draws": 200, "occlusion_mean_faces": 2},
    "champion_comparison": {"bootstrap_draws": 200},
}
CHECKS = {
    "champion_comparison": champion_comparison_checks,
    "champion": champion_checks,
    "release_bundle": release_bundle_checks,
}


@dataclass(frozen=True)
class Graph:
    """The graph over one home, run in Dagster with real resources."""

    home: Home

    @property
    def store(self) -> Store:
        return Store.open(self.home)

    def run(self, *assets: dg.AssetsDefinition, **scorer: Any) -> dg.ExecuteInProcessResult:
        """Materialize with the checks; `scorer` are settings of the fine-tuning."""
        names = [asset.key.to_user_string() for asset in assets]
        config = {name: dict(QUICK[name]) for name in names if name in QUICK}
        if scorer:
            config["finetuned_scorer"] |= scorer
        return self._run(
            dg.AssetSelection.assets(*assets),
            {"ops": {name: {"config": values} for name, values in config.items()}},
        )

    def judge(self, asset: str) -> dict[str, bool]:
        """The checks of an asset alone, on its current version."""
        result = self._run(dg.AssetSelection.checks(CHECKS[asset]), {})
        return {one.check_name: one.passed for one in result.get_asset_check_evaluations()}

    def _run(self, selection: dg.AssetSelection, config: dict[str, Any]) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [*ALL_ASSETS, *ALL_CHECKS],
            selection=selection,
            resources=resources_for(Environment.SAMPLE, self.home),
            run_config=config,
            raise_on_error=False,
        )

    def aliases(self) -> dict[str, int]:
        versions = read_registry(self.home).versions
        return {alias: one.version for one in versions for alias in one.aliases}

    def worse_scorer(self) -> None:
        """Another scorer than the champion, left where a ridge regression puts it, and its evaluation."""
        result = self.run(*MODELS[2:], epochs=1, learning_rate=1e-7)
        failed = [one.description for one in result.get_asset_check_evaluations() if not one.passed]
        errors = [str(one.step_failure_data.error) for one in result.all_events if one.is_step_failure]
        assert result.success, [*failed, *errors]

    def row(self, asset: str) -> Any:
        record = self.store.tables.current(asset)
        assert record is not None
        return self.store.tables.read(record.ref).to_pylist()  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a scorer that was trained, evaluated, made champion and released, in one run."""
    home = Home.at(tmp_path_factory.mktemp("release") / "home").create()
    store = Store.open(home)
    graph = Graph(home)
    store.tables.point(Record(disc_table(store), code_version="1", settings={}, inputs={}))
    result = graph.run(*MODELS, *RELEASE)
    failed = [one.description for one in result.get_asset_check_evaluations() if not one.passed]
    assert result.success, failed
    assert not failed
    return home


def disc_table(store: Store) -> TableRef:
    """Discs whose size is their score, as tests/conftest.py draws them."""
    import hashlib

    import cv2

    rows = []
    for number, (split, score) in enumerate(zip(SPLITS, np.linspace(1.0, 8.0, len(SPLITS)), strict=True)):
        generator = np.random.default_rng(number)
        picture = np.full((40, 40, 3), generator.integers(90, 130, 3), np.uint8)
        cv2.circle(picture, (20, 20), int(3 + 1.4 * score), (int(60 + 20 * score), 60, 60), -1, cv2.LINE_AA)
        noisy = np.clip(picture + generator.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
        rows.append(
            {
                "image_id": hashlib.sha256(str(number).encode()).hexdigest(),
                "face": 0,
                "crop_sha256": store.crops.put(cv2.imencode(".png", noisy[..., ::-1])[1].tobytes()),
                "source": "discs",
                "partition": "2026-01-01",
                "score": float(score),
                "standard_error": None,
                "mean_score": float(score),
                "annotators": 3,
                "class": round(score),
                "cluster": str(number),
                "split": split,
                "weight": 1 / SPLITS.count("train") if split == "train" else 0.0,
                "group": None,
                "attributes": "{}",
                "perceptual_hash": None,
                "thumbnail": None,
            }
        )
    return store.tables.write(rows, asset="balanced_label_table", facts={"duplicate_radius": 12})


@pytest.fixture
def graph(made: Home, home: Home) -> Graph:
    shutil.copytree(made.root, home.root, dirs_exist_ok=True)
    return Graph(home)


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {
        f"{one.asset_key.to_user_string()}.{one.check_name}": one.passed
        for one in result.get_asset_check_evaluations()
    }


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (event,) = [
        one
        for one in result.get_asset_materialization_events()
        if one.materialization.asset_key.to_user_string() == asset
    ]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_the_first_scorer_becomes_champion_and_its_bundle_lies_under_releases(graph: Graph) -> None:
    assert graph.aliases() == {"champion": 1}
    (row,) = graph.row("champion")
    assert (row["version"], row["before_version"]) == (1, None)
    (entry,) = read_promotions(graph.store).entries
    assert entry.by == "the check of the graph"
    assert entry.dagster_run
    (folder,) = graph.home.releases.iterdir()
    assert {path.name for path in folder.iterdir()} == {one["name"] for one in graph.row("release_bundle")}
    again = graph.run(*RELEASE)
    assert again.success
    card = metadata(again, "champion_comparison")["model_card"]
    assert card.startswith("# selfai-scorer version 1")
    assert "not for decisions about anyone" in card
    assert metadata(again, "release_bundle")["onnx_largest_difference"] < 1e-3
    assert len(read_promotions(graph.store).entries) == 1


def test_the_card_of_a_registered_scorer_is_in_mlflow(graph: Graph, made: Home) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{graph.home.mlflow_database}")
    version = client.get_model_version("selfai-scorer", "1")
    assert version.description.startswith("# selfai-scorer version 1")
    path = client.download_artifacts(version.run_id, "model_card.md", str(graph.home.cache))
    assert Path(path).read_text().startswith("---\nlicense: other")


def test_a_scorer_that_is_not_better_fails_the_blocking_check_and_the_champion_stays(graph: Graph) -> None:
    graph.worse_scorer()
    assert graph.aliases() == {"champion": 1, "candidate": 2}
    result = graph.run(*RELEASE)
    assert not result.success
    assert verdicts(result) == {
        "champion_comparison.completeness": True,
        "champion_comparison.sanity": True,
        "champion_comparison.quality_floor": True,
        "champion_comparison.promotion": False,
    }, "nothing behind the check was run"
    assert graph.aliases() == {"champion": 1, "candidate": 2}
    assert "model_card" in metadata(result, "champion_comparison"), "a candidate has a card as well"


def test_the_champion_cannot_be_moved_past_the_check_by_materializing_it_alone(
    graph: Graph, errors: Callable[[dg.ExecuteInProcessResult], str]
) -> None:
    graph.worse_scorer()
    graph.run(champion_comparison)
    result = graph.run(champion)
    assert not result.success
    assert "its check promotion has not passed" in errors(result)
    assert graph.aliases()["champion"] == 1


def test_what_a_person_took_back_is_not_promoted_again_by_a_run(
    graph: Graph, errors: Callable[[dg.ExecuteInProcessResult], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFAI_HOME", str(graph.home.root))
    graph.worse_scorer()
    refused = selfai("promote", "@candidate", "--reason", "we want to see it")
    assert "It is not shown to be better" in str(refused.exception)
    promoted = selfai("promote", "@candidate", "--reason", "we want to see it", "--override", "--by", "ann")
    assert "overridden: It is not shown to be better" in promoted.output
    assert "selfai-scorer@2 is the champion; before it was selfai-scorer@1" in promoted.output
    assert graph.aliases() == {"champion": 2}
    back = selfai("rollback", "--reason", "we have seen it")
    assert "selfai-scorer@1 is the champion; before it was selfai-scorer@2" in back.output
    assert "we have seen it" in selfai("audit", "@champion").output
    folder = graph.home.root / "published"
    assert selfai("release", "@champion", str(folder)).exit_code == 0
    checked = selfai("release", "--verify", str(folder))
    assert "every file is as this SELFAI_HOME released it" in checked.output
    result = graph.run(release_bundle)
    assert result.success, "its champion is the champion again"


def selfai(*arguments: str) -> Any:
    return CliRunner().invoke(commands, list(arguments))


def test_a_bundle_of_a_champion_of_yesterday_is_refused_with_the_way_to_go(
    graph: Graph, errors: Callable[[dg.ExecuteInProcessResult], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFAI_HOME", str(graph.home.root))
    graph.worse_scorer()
    selfai("promote", "@2", "--reason", "we want to see it", "--override")
    result = graph.run(release_bundle)
    assert "version 1 is not the champion any more, version 2 is" in errors(result)
    assert "selfai release @champion FOLDER" in errors(result)


def test_checks_notice_what_was_altered_since(graph: Graph) -> None:
    assert set(graph.judge("release_bundle").values()) == {True}
    (folder,) = graph.home.releases.iterdir()
    (folder / "README.md").write_text("a medical device")
    assert graph.judge("release_bundle") == {"completeness": False, "sanity": False, "quality_floor": True}
    assert graph.run(release_bundle).success, "it is written again"
    assert set(graph.judge("release_bundle").values()) == {True}
    record = graph.store.tables.current("finetuned_scorer")
    assert record is not None
    weights = graph.store.files.local_path(
        f"checkpoints/finetuned_scorer/{record.ref.sha256}/weights.safetensors"
    )
    weights.write_bytes(weights.read_bytes()[:-1])
    assert graph.judge("champion") == {"completeness": True, "sanity": False, "quality_floor": True}


def test_selfai_run_says_that_the_champion_stays_and_then_has_nothing_to_do(
    graph: Graph,
    on_the_command_line: Callable[[Home], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A candidate that is not better is an answer and no failure: the next run asks nothing again."""
    on_the_command_line(graph.home)
    save_sources(graph.home.sources_file, [])
    for group in ("LABELS", "MODELS"):
        monkeypatch.setattr(f"assets.graph.{group}", [])
    monkeypatch.setattr("assets.graph.stale_days", lambda days, *, store: [])
    monkeypatch.setattr("assets.graph.awaits_ratings", lambda store: False)
    graph.worse_scorer()
    capsys.readouterr()
    materialize_stale(graph.home, [])
    assert "the champion does not change: Against champion" in capsys.readouterr().out
    assert stale_assets(RELEASE, store=graph.store) == []
    materialize_stale(graph.home, [])
    assert "nothing had changed" in capsys.readouterr().out
    log = next((graph.home.root / "promotions").glob("000001-*"))
    log.write_bytes(log.read_bytes() + b" ")
    with pytest.raises(SelfaiError, match="its bytes now hash to"):
        materialize_stale(graph.home, [])


def test_a_champion_with_removed_data_in_it_fails_its_check_at_once_though_another_scorer_is_current(
    graph: Graph, on_the_command_line: Callable[[Home], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is removed is not in the labels any more that the scorer after the champion was trained on."""
    on_the_command_line(graph.home)
    monkeypatch.setenv("SELFAI_HOME", str(graph.home.root))
    labels = graph.store.tables.current("balanced_label_table")
    assert labels is not None
    rows = graph.row("balanced_label_table")
    (seen, *_) = [row["image_id"] for row in rows if row["split"] == "train"]
    facts = graph.store.tables.facts(labels.ref)  # type: ignore[arg-type]
    left = [row for row in rows if row["image_id"] != seen]
    ref = graph.store.tables.write(left, asset="balanced_label_table", facts=facts)
    graph.store.tables.point(Record(ref, code_version="1", settings={}, inputs={}))
    assert graph.run(*MODELS).success
    graph.run(*RELEASE)
    assert graph.aliases()["champion"] == 1
    before = comparison_external(graph.store)
    removed = selfai("remove", "--picture", seen, "--reason", "letter 7", "--yes")
    assert removed.exit_code == 0, removed.output
    assert latest(graph.home, "finetuned_scorer", "no_removed_inputs") is None, "it has not learnt from it"
    said = latest(graph.home, "champion", "quality_floor")
    assert said is not None
    assert not said.passed
    assert "version 1: finetuned_scorer" in str(said.description)
    assert "learnt from pictures that removal" in str(said.description)
    assert comparison_external(graph.store) != before
    assert stale_assets(RELEASE, store=graph.store) == RELEASE
    assert graph.judge("champion")["quality_floor"] is False


def latest(home: Home, asset: str, check: str) -> dg.AssetCheckEvaluation | None:
    """What a check of an asset has said last, in the home's own Dagster; None where it said nothing."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
        found = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])
        return found[key].event.dagster_event.event_specific_data if key in found else None  # type: ignore


def test_no_id_or_address_of_a_picture_is_in_what_dagster_keeps(graph: Graph) -> None:
    result = graph.run(*RELEASE)
    kept = json.dumps([str(event) for event in result.all_events])
    labels = graph.row("balanced_label_table")
    assert not [row for row in labels if row["image_id"] in kept or row["crop_sha256"] in kept]
