"""The whole graph over a tiny gallery, through Dagster's own machinery and a real SQLite instance."""

import importlib.util
import re
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from assets.graph import ALL_ASSETS, ALL_CHECKS, DAILY, RELEASE, WHOLE_SET, is_current, stale_days
from resources.environments import resources_for
from selfai_pipeline.cli import commands
from selfai_pipeline.environment import Environment
from selfai_pipeline.home import Home, install_instance_file
from selfai_pipeline.lineage.audit import audit
from selfai_pipeline.lineage.findings import State
from selfai_pipeline.lineage.picture_history import picture_history
from selfai_pipeline.lineage.registry import read_registry
from selfai_pipeline.lineage.verification import verify
from selfai_pipeline.lineage.versions import Archive
from selfai_pipeline.removal.places import PLACES, place_of
from selfai_pipeline.removal.registered import REMOVED_TAG
from selfai_pipeline.serving.files import files_app
from selfai_pipeline.sources.gallery.sample import prepare_sample
from selfai_pipeline.sources.gallery.server import GalleryServer
from selfai_pipeline.sources.gallery.settings import GallerySettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef, Record
from selfai_pipeline.training.checkpoints import load_record

_searching = Path(__file__).parent.parent / "selfai_pipeline" / "removal" / "conftest.py"
_spec = importlib.util.spec_from_file_location("searching", _searching)
assert _spec
assert _spec.loader
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
found_in = _module.found_in

DAYS = ["2026-01-01", "2026-01-02"]
EPOCHS = 12
SHORT = {
    "ops": {
        "siamese_checkpoint": {"config": {"epochs": 6, "input_size": 32, "width": 0.25}},
        "finetuned_scorer": {"config": {"epochs": EPOCHS}},
        "evaluation_report": {"config": {"bootstrap_draws": 200}},
        # Ten test faces after three epochs show nothing: what the check holds is tested elsewhere.
        "champion_comparison": {"config": {"bootstrap_draws": 200, "least_faces": 8, "least_gain": -1.0}},
    }
}

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Finished:
    """What a run of the whole graph left behind."""

    home: Home
    instance: dg.DagsterInstance
    gallery: GalleryServer
    data: dg.ExecuteInProcessResult
    rest: dg.ExecuteInProcessResult

    @property
    def store(self) -> Store:
        return Store.open(self.home)

    def record(self, asset: str, partition: str = WHOLE) -> Record:
        record = self.store.tables.current(asset, partition)
        assert record is not None
        return record


def definitions(home: Home) -> dg.Definitions:
    return dg.Definitions(
        assets=ALL_ASSETS,
        asset_checks=ALL_CHECKS,
        resources=resources_for(Environment.SAMPLE, home),
        executor=dg.in_process_executor,
    )


def run(home: Home, instance: dg.DagsterInstance, assets: list[dg.AssetsDefinition], **more: Any) -> Any:
    job = definitions(home).resolve_implicit_global_asset_job_def()
    keys = [asset.key for asset in assets]
    return job.execute_in_process(instance=instance, asset_selection=keys, raise_on_error=False, **more)


RANGE = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": DAYS[-1]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    home = Home.at(tmp_path_factory.mktemp("graph")).create()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = GallerySettings(days=DAYS, portraits_per_day=24, port=port)
    prepare_sample(home, settings)
    with (
        GalleryServer(home, settings) as gallery,
        dg.DagsterInstance.local_temp(str(home.dagster)) as instance,
    ):
        data = run(home, instance, DAILY, tags=RANGE)
        rest = run(home, instance, WHOLE_SET, run_config=SHORT)
        yield Finished(home, instance, gallery, data, rest)


def test_two_runs_materialize_everything_and_all_checks_pass(finished: Finished) -> None:
    for result in (finished.data, finished.rest):
        evaluations = result.get_asset_check_evaluations()
        assert [one.description for one in evaluations if not one.passed] == []
        assert result.success
    for asset in DAILY:
        for day in DAYS:
            assert finished.record(asset.key.to_user_string(), day).ref.rows > 0
    for asset in WHOLE_SET:
        assert finished.record(asset.key.to_user_string()).ref.rows > 0


def test_each_day_of_a_range_carries_its_own_hash(finished: Finished) -> None:
    events = finished.data.get_asset_materialization_events()
    hashes = {
        (event.asset_key.to_user_string(), event.partition): event.materialization.metadata["sha256"].value
        for event in events
    }
    assert len(hashes) == len(DAILY) * len(DAYS)
    for (asset, day), sha256 in hashes.items():
        assert sha256 == finished.record(asset, str(day)).ref.sha256


def test_every_version_names_the_versions_it_was_made_from(finished: Finished) -> None:
    for asset in (*DAILY, *WHOLE_SET):
        name = asset.key.to_user_string()
        partition = DAYS[0] if asset in DAILY else WHOLE
        inputs = finished.record(name, partition).inputs
        assert set(inputs) == {key.to_user_string() for key in asset.keys_by_input_name.values()}
        for upstream, hashes in inputs.items():
            for upstream_partition, sha256 in hashes.items():
                assert sha256 == finished.record(upstream, upstream_partition).ref.sha256


def test_the_scorer_names_its_parents_by_hash(finished: Finished) -> None:
    scorer = load_record(finished.record("finetuned_scorer").ref, store=finished.store)  # type: ignore[arg-type]
    assert scorer["inputs"]["parent"] == finished.record("widened_checkpoint").ref.sha256
    assert scorer["inputs"]["labels"] == finished.record("balanced_label_table").ref.sha256


def test_what_is_done_is_current(finished: Finished) -> None:
    assert stale_days(DAYS, store=finished.store) == []
    for asset in WHOLE_SET[:2]:
        assert is_current(asset, WHOLE, store=finished.store)


def test_a_second_materialization_asks_the_network_for_nothing_and_gives_the_same_tables(
    finished: Finished,
) -> None:
    before = {(a.key, day): finished.record(a.key.to_user_string(), day).ref for a in DAILY for day in DAYS}
    asked = len(finished.gallery.requests)
    assert run(finished.home, finished.instance, DAILY, tags=RANGE).success
    assert len(finished.gallery.requests) == asked
    after = {(a.key, day): finished.record(a.key.to_user_string(), day).ref for a in DAILY for day in DAYS}
    assert after == before


def test_nothing_forbidden_was_fetched(finished: Finished) -> None:
    assert not [path for path in finished.gallery.requests if path.startswith("/private")]
    table = finished.store.tables.read_all(finished.store.tables.snapshot("raw_crawl"))
    reasons = set(table.column("reason").to_pylist())
    assert {"robots", "private_address", "truncated", "not_a_picture", "empty_file"} <= reasons


def test_neither_dagster_nor_mlflow_keeps_picture_ids_addresses_or_crops(finished: Finished) -> None:
    """Removal has to reach everything, so they stay out of databases that it cannot rewrite."""
    faces = finished.store.tables.read_all(finished.store.tables.snapshot("aligned_faces")).to_pylist()
    secrets = {row[column] for row in faces for column in ("image_id", "crop_sha256", "url") if row[column]}
    for folder in (finished.home.dagster, finished.home.mlflow):
        for file in (path for path in folder.rglob("*") if path.is_file()):
            content = file.read_bytes()
            assert [secret for secret in secrets if secret.encode() in content] == [], file.name


def test_the_model_is_registered_with_its_run_and_inputs(finished: Finished) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{finished.home.mlflow / 'mlflow.db'}")
    (version,) = client.search_model_versions("name='selfai-scorer'")
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["dagster.run_id"] == finished.rest.run_id
    assert run.data.tags["dagster.asset"] == "finetuned_scorer"
    for upstream in ("widened_checkpoint", "balanced_label_table"):
        assert run.data.tags[f"input.{upstream}"] == finished.record(upstream).ref.sha256
    (learnt_from,) = run.inputs.dataset_inputs
    assert finished.record("balanced_label_table").ref.sha256 in learnt_from.dataset.source
    assert len(client.get_metric_history(version.run_id, "validation_pearson")) == EPOCHS
    assert {item.path for item in client.list_artifacts(version.run_id, "scorer")} == {
        "scorer/record.json",
        "scorer/weights.safetensors",
    }


def test_an_audit_of_the_model_leads_to_every_current_version_and_finds_every_byte(
    finished: Finished,
) -> None:
    archive, registry = Archive(finished.store), read_registry(finished.home)
    audited = audit("selfai-scorer@1", archive=archive, registry=registry)
    behind = {(version.key.asset, version.key.partition): version for version in audited.versions}
    after = {"evaluation_report", *(asset.key.to_user_string() for asset in RELEASE)}
    stages = [name for asset in WHOLE_SET if (name := asset.key.to_user_string()) not in after]
    daily = [(asset.key.to_user_string(), day) for asset in DAILY for day in DAYS]
    assert set(behind) == {*((stage, WHOLE) for stage in stages), *daily}
    for (asset, partition), version in behind.items():
        assert version.is_current
        assert version.key.sha256 == finished.record(asset, partition).ref.sha256
        run_id = (finished.data if (asset, partition) in daily else finished.rest).run_id
        # Another test may have made the same again.
        (making,) = [one for one in version.makings if one.run_id == run_id]
        assert bool(audited.mlflow_run(version, making)) == version.is_checkpoint
    assert audited.problems == ()
    findings = list(verify(audited, archive=archive))
    assert [one for one in findings if one.state is not State.INTACT] == []
    assert len({one.kind for one in findings}) > 8


def test_a_picture_is_followed_from_its_address_to_the_model(finished: Finished) -> None:
    labels = finished.store.tables.read(finished.record("balanced_label_table").ref).to_pylist()  # type: ignore[arg-type]
    trained = next(row for row in labels if row["split"] == "train")
    found = picture_history(
        trained["image_id"], archive=Archive(finished.store), registry=read_registry(finished.home)
    )
    (label,) = found.statements["balanced_label_table"]
    assert label.values["score"] == trained["score"]
    assert found.statements["raw_crawl"]
    assert len(found.statements["annotations"]) >= trained["annotators"]
    assert [str(one) for one in found.derived.models[-1].registered] == ["selfai-scorer@1 (champion)"]


def test_the_materialization_of_a_model_links_to_its_inputs_its_run_and_its_audit(
    finished: Finished,
) -> None:
    pages = TestClient(files_app(finished.home))
    for event in finished.rest.get_asset_materialization_events():
        metadata = event.materialization.metadata
        asset = event.asset_key.to_user_string()
        page = pages.get(str(metadata["audit"].value))
        assert page.status_code == 200
        assert finished.record(asset).ref.sha256 in page.text
        if isinstance(finished.record(asset).ref, CheckpointRef):
            assert "/runs/" in str(metadata["mlflow_run"].value)
            links = re.findall(r"\((http[^)]+)\)", str(metadata["inputs"].value))
            hashes = [sha256 for of in finished.record(asset).inputs.values() for sha256 in of.values()]
            assert sorted(link.rsplit("/", 1)[1] for link in links) == sorted(hashes)
            assert all(pages.get(link).status_code == 200 for link in links)


def test_the_report_and_the_previews_are_there(finished: Finished) -> None:
    report: Path = finished.home.reports / finished.record("evaluation_report").ref.sha256 / "report.html"
    page = report.read_text()
    assert "impression of a crowd" in page
    assert "ratings are simulated" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    for stage in ("pruned_set", "aligned_faces"):
        assert (finished.home.previews / stage / f"{DAYS[0]}.jpg").stat().st_size > 1000


def test_every_file_that_a_whole_run_leaves_is_known_to_removal(finished: Finished) -> None:
    """Whoever writes a new kind of file has to say what a removal does with it."""
    files = [path for path in finished.home.root.rglob("*") if path.is_file()]
    relative = [path.relative_to(finished.home.root).as_posix() for path in files]
    assert [path for path in relative if place_of(path) is None] == []
    # Each row of the list is there for a file: what a run over the sample leaves, and what others do.
    left = {place.pattern for place in PLACES if any(map(place.fits, relative))}
    unseen = {place.pattern for place in PLACES} - left
    elsewhere = (
        "redacted",
        "dagster/dagster",
        "annotations",
        "imports/",
        "cache/ablations",
        "folders",
        "stored_files",
        "part",
        "removals/records",
    )
    assert [one for one in unseen if not any(name in one for name in elsewhere)] == []


@pytest.fixture
def removed(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Finished, dict[str, bytes], str]:
    """A copy of the home, out of which a picture of the training split was removed by the command."""
    home = Home.at(tmp_path / "copy")
    shutil.copytree(finished.home.root, home.root, ignore=shutil.ignore_patterns("*.lock"))
    install_instance_file(home)
    store = Store.open(home)
    labels = store.tables.read(finished.record("balanced_label_table").ref).to_pylist()  # type: ignore[arg-type]
    row = next(one for one in labels if one["split"] == "train")
    crawl = store.tables.read_all(store.tables.snapshot("raw_crawl")).to_pylist()
    urls = {one["url"] for one in crawl if one["image_id"] == row["image_id"]}
    needles = {
        "id": row["image_id"].encode(),
        "crop's hash": row["crop_sha256"].encode(),
        "bytes": store.pictures.get(row["image_id"]),
        "crop": store.crops.get(row["crop_sha256"]),
        "thumbnail": row["thumbnail"],
        **{url: url.encode() for url in urls},
    }
    monkeypatch.setenv("SELFAI_HOME", str(home.root))
    arguments = ["remove", "--picture", row["image_id"], "--reason", "letter 7", "--yes"]
    result = CliRunner().invoke(commands, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "checkpoints learnt from it, or may have, and are marked" in result.output
    there = Finished(home, finished.instance, finished.gallery, finished.data, finished.rest)
    return there, needles, row["image_id"]


def test_a_removed_picture_is_in_no_file_its_model_is_marked_and_a_crawl_does_not_bring_it_back(
    removed: tuple[Finished, dict[str, bytes], str],
) -> None:
    from mlflow import MlflowClient

    there, needles, image_id = removed
    # The gallery plays the site that was crawled, and has it still.
    assert {path for path in found_in(there.home.root, needles.values()) if "gallery" not in path} == set()
    (version,) = MlflowClient(f"sqlite:///{there.home.mlflow_database}").search_model_versions("")
    assert REMOVED_TAG in version.tags
    with dg.DagsterInstance.from_config(str(there.home.dagster)) as instance:
        checks = dict.fromkeys(
            ("siamese_checkpoint", "widened_checkpoint", "finetuned_scorer"), "no_removed_inputs"
        )
        for asset, check in {**checks, "champion": "quality_floor"}.items():
            key = dg.AssetCheckKey(dg.AssetKey(asset), check)
            (latest,) = instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).values()
            assert latest.event.dagster_event.event_specific_data.passed is False
        archive, registry = Archive(there.store), read_registry(there.home)
        audited = audit("selfai-scorer@1", archive=archive, registry=registry)
        states = {one.state for one in verify(audited, archive=archive)}
        assert states == {State.INTACT, State.REDACTED}
        assert not is_current(WHOLE_SET[0], WHOLE, store=there.store)
        assert run(there.home, instance, DAILY[:1], tags=RANGE).success
    assert {path for path in found_in(there.home.root, needles.values()) if "gallery" not in path} == set()
    assert image_id not in there.store.pictures
