"""A workplace for the graph in a temporary folder: real sources, real IO, a real instance of Dagster."""

import importlib
import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from assets import policies
from assets.annotations import annotations
from assets.graph import ALL_ASSETS, ALL_CHECKS, CONFIGS, DAILY, EXTERNAL, MODELS
from resources.environments import resources_for
from selfai_pipeline.environment import Environment
from selfai_pipeline.home import PROJECT, Home
from selfai_pipeline.lineage.promotions import (
    Champion,
    Kind,
    Promotion,
    Way,
    append_promotion,
    read_promotions,
)
from selfai_pipeline.lineage.registry import MODEL
from selfai_pipeline.sources.gallery.sample import prepare_sample
from selfai_pipeline.sources.gallery.server import SERVED_FOLDER, gallery_folder
from selfai_pipeline.sources.gallery.settings import GallerySettings
from selfai_pipeline.sources.settings import FolderSource, RatingsFile, Source, save_sources
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef, Record, Ref

Row = dict[str, Any]


@dataclass(frozen=True)
class Workplace:
    """A home with a folder of pictures beside it, and what a test does with them."""

    home: Home
    instance: dg.DagsterInstance
    folder: Path
    day: str = "2026-02-03"
    next_day: str = "2026-02-04"

    @property
    def store(self) -> Store:
        return Store.open(self.home)

    @property
    def ratings(self) -> Path:
        """Where a test puts the ratings of the pictures, beside their folder."""
        return self.folder.parent / "ratings.csv"

    def source(self, **values: Any) -> FolderSource:
        """A source over the folder; all of its pictures fall on `day`."""
        return FolderSource(**{"name": "mine", "path": str(self.folder), "day": self.day, **values})

    def declare(self, *sources: Source) -> None:
        save_sources(self.home.sources_file, list(sources))

    def materialize(
        self,
        *assets: dg.AssetsDefinition,
        days: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """One run with the checks: of an asset without partitions, of one day, or of a range of days.

        Args:
            config: settings of the first asset.
        """
        ops = {assets[0].key.to_user_string(): {"config": dict(config)}} if config else {}
        where = {"partition_key": days[0]} if len(days) == 1 else {"tags": range_tags(days)}
        return self._run(dg.AssetSelection.assets(*assets), run_config={"ops": ops}, **where)

    def check(self, asset: dg.AssetsDefinition, *, days: Sequence[str] = ()) -> dg.ExecuteInProcessResult:
        """One run of the checks alone, as the UI can start it."""
        return self._run(dg.AssetSelection.checks_for_assets(asset), tags=range_tags(days))

    def _run(self, selection: dg.AssetSelection, **more: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [*ALL_ASSETS, *ALL_CHECKS],
            selection=selection,
            instance=self.instance,
            resources=resources_for(Environment.SAMPLE, self.home),
            raise_on_error=False,
            **more,
        )

    def pretend(self, assets: Sequence[dg.AssetsDefinition], partition: str = WHOLE) -> None:
        """Versions of assets, and what is known of them, as if they had been made of what is there now."""
        tables = self.store.tables
        for asset in assets:
            name = asset.key.to_user_string()
            ref: Ref = CheckpointRef(name, partition, "0" * 64, 0)
            if asset not in MODELS or name == "evaluation_report":
                ref = tables.write([], asset=name, partition=partition, facts={"headline": "pretended"})
            upstream = [key.to_user_string() for key in asset.keys_by_input_name.values()]
            days = None if partition == WHOLE else [partition]
            tables.point(
                Record(
                    ref=ref,
                    code_version=asset.specs_by_key[asset.key].code_version or "",
                    settings=CONFIGS[name]().recorded(),
                    inputs={one: tables.snapshot(one, days).hashes for one in upstream},
                    external=EXTERNAL[name](self.store, partition) if name in EXTERNAL else {},
                )
            )
            tables.judge(ref, {"completeness": True, "sanity": True, "quality_floor": True})

    def record(self, asset: str, partition: str = WHOLE) -> Record:
        record = self.store.tables.current(asset, partition)
        assert record is not None, f"{asset} has no version for {partition}"
        return record

    def rows(self, asset: str, partition: str = WHOLE) -> list[Row]:
        snapshot = self.store.tables.snapshot(asset, [partition])
        return list(self.store.tables.read_all(snapshot).to_pylist())

    def by_name(self, asset: str, partition: str) -> dict[str, Row]:
        """Rows by the name of the file that they come from."""
        return {row["url"].removeprefix("file:"): row for row in self.rows(asset, partition)}


def range_tags(days: Sequence[str]) -> dict[str, str]:
    """Tags of a run over the days from the first to the last."""
    if not days:
        return {}
    start, end = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
    return {start: days[0], end: days[-1]}


def verdicts_of(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Check -> whether it passed, of a run of one asset."""
    return {one.check_name: one.passed for one in result.get_asset_check_evaluations()}


def errors_of(result: dg.ExecuteInProcessResult) -> str:
    """What the failed steps of a run said."""
    failures = [event for event in result.all_events if event.is_step_failure]
    return "\n".join(str(event.step_failure_data.error) for event in failures)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again does not wait for it."""
    monkeypatch.setattr(policies, "RETRIES", policies.RETRIES._replace(delay=0.01))


@pytest.fixture
def work(home: Home, tmp_path: Path) -> Iterator[Workplace]:
    folder = tmp_path / "pictures"
    folder.mkdir()
    with dg.DagsterInstance.ephemeral() as instance:
        place = Workplace(home, instance, folder)
        place.declare(place.source())
        yield place


@pytest.fixture
def labelled(work: Workplace) -> Workplace:
    """The workplace with rated portraits of the sample gallery, their faces aligned and the ratings in."""
    settings = GallerySettings(days=[work.day], portraits_per_day=24, picture_size=240)
    prepare_sample(work.home, settings)
    shutil.copyfile(work.home.imports / "sample-gallery" / "ratings.csv", work.ratings)
    served = gallery_folder(work.home, settings) / SERVED_FOLDER / work.day
    shutil.copytree(served, work.folder, dirs_exist_ok=True)
    work.declare(work.source(ratings=[RatingsFile(path=str(work.ratings))]))
    assert work.materialize(*DAILY, days=[work.day]).success
    assert work.materialize(annotations).success
    return work


@pytest.fixture
def on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> Callable[[Home], None]:
    """Makes `selfai run` in this process work on a home."""

    def prepare(home: Home) -> None:
        monkeypatch.setenv("DAGSTER_HOME", str(home.dagster))
        shutil.copyfile(PROJECT / "dagster.yaml", home.dagster / "dagster.yaml")
        definitions = dg.Definitions(
            assets=ALL_ASSETS,
            asset_checks=ALL_CHECKS,
            resources=resources_for(Environment.SAMPLE, home),
            executor=dg.in_process_executor,
        )
        monkeypatch.setattr("selfai_pipeline.definitions.defs", definitions)

    return prepare


@pytest.fixture
def verdicts() -> Callable[[dg.ExecuteInProcessResult], dict[str, bool]]:
    return verdicts_of


@pytest.fixture
def errors() -> Callable[[dg.ExecuteInProcessResult], str]:
    return errors_of


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """Makes a file of coarse colours with grain that pruning keeps; another seed is another picture."""

    def make(
        mode: str = "RGB", size: tuple[int, int] = (300, 300), *, seed: int = 7, **options: Any
    ) -> bytes:
        rng = np.random.default_rng(seed)
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        large = np.asarray(coarse.resize(size, Image.Resampling.NEAREST)) // 2
        sharp = large + rng.integers(0, 90, (*size[::-1], 3))
        sink = io.BytesIO()
        Image.fromarray(sharp.astype(np.uint8)).convert(mode).save(sink, **{"format": "PNG", **options})
        return sink.getvalue()

    return make


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a stage hand out a wrong table: `change` gets the rows that the library made, and alters them."""

    def replace(module: str, function: str, change: Callable[[list[Row]], list[Row]]) -> None:
        true = getattr(importlib.import_module(module), function)

        def spoilt(*positional: Any, store: Store, **named: Any) -> Ref:
            ref = true(*positional, store=store, **named)
            rows, facts = store.tables.read(ref).to_pylist(), store.tables.facts(ref)
            return store.tables.write(change(rows), asset=ref.asset, partition=ref.partition, facts=facts)

        monkeypatch.setattr(f"{module}.{function}", spoilt)

    return replace


@pytest.fixture
def move_champion() -> Callable[..., None]:
    """Writes an entry into the log of promotions, as a person's `selfai promote` does."""

    def move(store: Store, champion: Champion) -> None:
        log = read_promotions(store)
        entry = Promotion(
            *(len(log.entries) + 1, Kind.PROMOTION, Way.HAND, MODEL, champion, log.champion),
            by="ann",
            at="2026-02-03T10:00:00Z",
            reason="it is better in the dark",
            previous=log.last_sha256,
        )
        append_promotion(entry, store=store)

    return move
