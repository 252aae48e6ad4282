"""What starts by itself: each tick over every case, on real tables and a real SQLite instance."""

import ast
import datetime
import inspect
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.execution.backfill import BulkActionStatus
from dagster._daemon.sensor import _submit_backfill_request

import assets.automation as automation
from assets.automation import (
    AutomationSettings,
    Memory,
    daily_crawl,
    lost_runs,
    nightly_catch_up,
    weekly_refresh,
)
from assets.dagster_internals import backfill_request, backfilled
from assets.graph import DAILY, LABELS, MODELS, RELEASE
from selfai_pipeline.definitions import defs
from selfai_pipeline.errors import InputError
from selfai_pipeline.home import install_instance_file
from selfai_pipeline.sources.gallery.sample import prepare_sample
from selfai_pipeline.sources.gallery.server import GalleryServer
from selfai_pipeline.sources.gallery.settings import GallerySettings
from selfai_pipeline.sources.settings import RatingsFile
from selfai_pipeline.tables import WHOLE, Ref

DAYS = ["2026-02-05", "2026-02-06", "2026-02-07", "2026-02-08", "2026-02-09"]
"""The five days before the night of the tests."""

YESTERDAY = DAYS[-1]
NIGHT = datetime.datetime(2026, 2, 10, 3, 0, 20, tzinfo=datetime.UTC)
BEFORE = Memory(since=NIGHT - datetime.timedelta(days=1))


@pytest.fixture
def night(work: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The workplace at twenty seconds past three, with an instance that outlives a process."""
    monkeypatch.setattr(automation, "_now", lambda: NIGHT)
    set_to(monkeypatch, catch_up_days=5, catch_up_bound=4)
    work.ratings.write_text("image,annotator,score\n")
    work.declare(work.source(ratings=[RatingsFile(path=str(work.ratings))]))
    install_instance_file(work.home)
    monkeypatch.setenv("DAGSTER_HOME", str(work.home.dagster))
    with dg.DagsterInstance.get() as instance:
        yield replace(work, instance=instance)


def set_to(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    monkeypatch.setattr(automation, "SETTINGS", AutomationSettings(**{"refresh_cron": "0 3 * * *", **values}))


def tick(sensor: dg.SensorDefinition, work: Any, cursor: Memory | None = BEFORE) -> Any:
    """One look of a sensor, checked by Dagster as the daemon's is."""
    context = dg.build_sensor_context(
        instance=work.instance,
        cursor=cursor and cursor.model_dump_json(),
        resources={"store": work.store},
        definitions=defs,
        sensor_name=sensor.name,
    )
    return sensor.evaluate_tick(context)


def asked(found: Any) -> list[list[str]]:
    """The days of each backfill that a look asked for, the same for all three stages."""
    groups = []
    for request in found.run_requests:
        by_asset = backfilled(request)
        assert set(by_asset) == {asset.key for asset in DAILY}
        (days,) = {tuple(days) for days in by_asset.values()}
        groups.append(list(days))
    return groups


def make(work: Any, *days: str) -> None:
    """Each stage of days as a run leaves it where there are no pictures."""
    for day in days:
        work.pretend(DAILY, day)


def age(work: Any, asset: str, day: str) -> None:
    """Pretend that a day was made by an earlier version of the code."""
    work.store.tables.point(replace(work.record(asset, day), code_version="0"))


class TestNightlyCatchUp:
    def test_begins_with_the_night_after_it_was_switched_on(self, night: Any) -> None:
        first = tick(nightly_catch_up, night, None)
        assert first.run_requests == []
        assert first.skip_message == "Just switched on: acts at 2026-02-11 03:00 UTC."
        again = tick(nightly_catch_up, night, Memory.read(first.cursor))
        assert again.skip_message == "Acts at 2026-02-11 03:00 UTC."

    def test_asks_for_days_that_were_never_made_in_one_backfill(self, night: Any) -> None:
        found = tick(nightly_catch_up, night)
        assert asked(found) == [DAYS[:4]], "the oldest, up to the bound"
        assert Memory.read(found.cursor).since == NIGHT.replace(second=0)
        assert tick(nightly_catch_up, night, Memory.read(found.cursor)).run_requests == []

    def test_asks_for_a_gap_in_the_middle(self, night: Any) -> None:
        make(night, *DAYS[:2])
        make(night, *DAYS[3:])
        assert asked(tick(nightly_catch_up, night)) == [[DAYS[2]]]

    def test_asks_for_a_day_whose_run_failed(self, night: Any) -> None:
        make(night, *DAYS[1:])
        night.declare(night.source(day=DAYS[0], path=str(night.folder / "nowhere")))
        assert not night.materialize(*DAILY, days=[DAYS[0]]).success
        assert asked(tick(nightly_catch_up, night)) == [[DAYS[0]]]

    @pytest.mark.parametrize("asset", DAILY, ids=lambda asset: asset.key.to_user_string())
    def test_asks_for_a_day_that_older_code_made(self, night: Any, asset: dg.AssetsDefinition) -> None:
        make(night, *DAYS)
        age(night, asset.key.to_user_string(), DAYS[3])
        assert asked(tick(nightly_catch_up, night)) == [[DAYS[3]]]

    def test_asks_for_a_day_that_failed_a_check_within_its_days_only(self, night: Any) -> None:
        make(night, "2026-02-04", *DAYS)
        for day in ("2026-02-04", DAYS[1]):
            night.store.tables.judge(night.record("pruned_set", day).ref, {"sanity": False})
        assert asked(tick(nightly_catch_up, night)) == [[DAYS[1]]]

    def test_asks_for_nothing_where_all_is_done(self, night: Any) -> None:
        make(night, *DAYS)
        found = tick(nightly_catch_up, night)
        assert found.run_requests == []
        assert found.skip_message == "No day is missing, failed or out of date."
        assert Memory.read(found.cursor).since == NIGHT.replace(second=0)

    def test_a_day_that_was_tried_comes_last_and_holds_up_no_other(
        self, night: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = tick(nightly_catch_up, night)
        make(night, DAYS[1])
        monkeypatch.setattr(automation, "_now", lambda: NIGHT + datetime.timedelta(days=1))
        second = tick(nightly_catch_up, night, Memory.read(first.cursor))
        # DAYS[0] is no longer among the five, DAYS[4] was beyond the bound, the new yesterday is missing.
        assert asked(second) == [[DAYS[4], "2026-02-10"], [DAYS[2]], [DAYS[3]]]
        assert set(Memory.read(second.cursor).tried) == {DAYS[4], "2026-02-10", DAYS[2], DAYS[3]}

    def test_days_that_always_fail_take_turns_within_the_bound(
        self, night: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_to(monkeypatch, catch_up_days=5, catch_up_bound=2)
        memory, turns = BEFORE, []
        for later in range(3):
            now = NIGHT + datetime.timedelta(hours=later)
            set_to(monkeypatch, catch_up_days=5, catch_up_bound=2, catch_up_cron="0 * * * *")
            monkeypatch.setattr(automation, "_now", lambda now=now: now)
            found = tick(nightly_catch_up, night, memory)
            turns.append(asked(found))
            memory = Memory.read(found.cursor)
        assert turns == [[DAYS[0:2]], [DAYS[2:4]], [[DAYS[4]], [DAYS[0]]]]

    def test_waits_for_a_backfill_that_is_under_way(self, night: Any) -> None:
        (request,) = tick(nightly_catch_up, night).run_requests
        _submit_backfill_request("underway", request, night.instance)
        waiting = tick(nightly_catch_up, night)
        assert (waiting.run_requests, waiting.cursor) == ([], BEFORE.model_dump_json())
        assert waiting.skip_message == "Waits for backfill underway."
        backfill = night.instance.get_backfill("underway")
        night.instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS))
        assert asked(tick(nightly_catch_up, night)) == [DAYS[:4]]

    def test_waits_for_a_run_of_the_data_stages_and_for_no_other(self, night: Any) -> None:
        job = defs.resolve_implicit_global_asset_job_def()
        for assets, waits in ((MODELS, False), (DAILY[:1], True)):
            keys = frozenset(asset.key for asset in assets)
            run = night.instance.create_run_for_job(
                job.get_subset(asset_selection=keys),
                asset_selection=keys,
                status=dg.DagsterRunStatus.STARTED,
            )
            message = tick(nightly_catch_up, night).skip_message
            assert message == (f"Waits for run {run.run_id}." if waits else None)

    def test_begins_with_the_first_day_of_the_graph(
        self, night: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(automation, "_now", lambda: NIGHT.replace(month=1, day=3))
        cursor = Memory(since=NIGHT.replace(month=1, day=1))
        assert asked(tick(nightly_catch_up, night, cursor)) == [["2026-01-01", "2026-01-02"]]

    @pytest.mark.parametrize("cursor", ["yesterday", '{"since": "2026-02-01T00:00:00"}'])
    def test_a_cursor_that_is_none_of_ours_is_refused(self, cursor: str) -> None:
        with pytest.raises(InputError, match=r"the sensor's cursor: .* Clear it in the UI"):
            Memory.read(cursor)


class TestDailyCrawl:
    def look(self, work: Any, moment: datetime.datetime = NIGHT) -> Any:
        context = dg.build_schedule_context(
            instance=work.instance,
            scheduled_execution_time=moment,
            resources={"store": work.store},
            repository_def=defs.get_repository_def(),
        )
        return daily_crawl.evaluate_tick(context)

    def test_makes_the_three_stages_of_yesterday(self, night: Any) -> None:
        (request,) = self.look(night).run_requests
        assert request.partition_key == YESTERDAY
        assert set(request.asset_selection) == {asset.key for asset in DAILY}

    def test_makes_today_where_that_is_wanted(self, night: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        set_to(monkeypatch, daily_days_ago=0)
        (request,) = self.look(night).run_requests
        assert request.partition_key == "2026-02-10"

    def test_leaves_a_day_that_is_made_until_something_changed(self, night: Any) -> None:
        make(night, YESTERDAY)
        assert self.look(night).skip_message == f"{YESTERDAY} is made, and up to date."
        age(night, "aligned_faces", YESTERDAY)
        (request,) = self.look(night).run_requests
        assert request.partition_key == YESTERDAY

    def test_there_is_nothing_before_the_first_day(self, night: Any) -> None:
        found = self.look(night, NIGHT.replace(month=1, day=1))
        assert found.run_requests == []
        assert "SELFAI_FIRST_DAY" in found.skip_message


class TestWeeklyRefresh:
    def selected(self, found: Any) -> list[str]:
        (request,) = found.run_requests
        return [key.to_user_string() for key in request.asset_selection]

    def end(self, work: Any, found: Any, status: dg.DagsterRunStatus, **more: Any) -> dg.DagsterRun:
        """A run of what was asked for, with its tags, in the given state."""
        (request,) = found.run_requests
        keys = frozenset(request.asset_selection)
        job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys)
        run = work.instance.create_run_for_job(
            job, asset_selection=keys, tags=request.tags, status=status, **more
        )
        assert isinstance(run, dg.DagsterRun)
        return run

    def test_begins_with_the_week_after_it_was_switched_on(self, night: Any) -> None:
        assert tick(weekly_refresh, night, None).skip_message.startswith("Just switched on")
        assert tick(weekly_refresh, night, Memory(since=NIGHT)).skip_message.startswith("Acts at ")

    def test_does_nothing_before_the_first_day_is_made(self, night: Any) -> None:
        found = tick(weekly_refresh, night)
        assert (found.run_requests, found.skip_message) == ([], "No day has been made yet.")
        assert Memory.read(found.cursor).since == NIGHT.replace(second=0)

    def test_does_nothing_before_the_first_face_is_scored(self, night: Any) -> None:
        night.declare(night.source())
        make(night, YESTERDAY)
        assert tick(weekly_refresh, night).skip_message == "No face has been scored yet."
        night.declare(night.source(ratings=[RatingsFile(path=str(night.ratings))]))
        night.pretend(LABELS)
        night.declare(night.source())
        assert self.selected(tick(weekly_refresh, night))[0] == "annotations", "all ratings were taken away"

    def test_makes_labels_then_models_then_the_champion_then_nothing(self, night: Any) -> None:
        make(night, YESTERDAY)
        labels = tick(weekly_refresh, night)
        assert self.selected(labels) == ["annotations", "balanced_label_table"]
        run = self.end(night, labels, dg.DagsterRunStatus.STARTED)
        assert tick(weekly_refresh, night).skip_message == f"labels: waits for run {run.run_id}."
        night.pretend(LABELS)
        night.instance.report_run_canceled(run)
        assert f"stopped, because run {run.run_id}" in tick(weekly_refresh, night).skip_message
        again = {"parent_run_id": run.run_id, "root_run_id": run.run_id}
        self.end(night, labels, dg.DagsterRunStatus.SUCCESS, **again)

        models = tick(weekly_refresh, night)
        assert self.selected(models) == [asset.key.to_user_string() for asset in MODELS]
        assert models.run_requests[0].run_key != labels.run_requests[0].run_key
        self.end(night, models, dg.DagsterRunStatus.SUCCESS)
        release = tick(weekly_refresh, night)
        assert self.selected(release) == [asset.key.to_user_string() for asset in RELEASE]
        # A scorer that is not better than the champion: that is an answer, and holds nothing up.
        self.end(night, release, dg.DagsterRunStatus.FAILURE)
        done = tick(weekly_refresh, night)
        assert (done.run_requests, done.skip_message) == ([], "Everything is up to date.")
        assert Memory.read(done.cursor).since == NIGHT.replace(second=0)

    def test_a_step_that_failed_is_not_followed_until_the_next_week(
        self, night: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make(night, YESTERDAY)
        failed = tick(weekly_refresh, night)
        self.end(night, failed, dg.DagsterRunStatus.FAILURE)
        assert "Mend what it names and re-execute it" in tick(weekly_refresh, night).skip_message
        monkeypatch.setattr(automation, "_now", lambda: NIGHT + datetime.timedelta(days=1))
        assert self.selected(tick(weekly_refresh, night)) == ["annotations", "balanced_label_table"]

    def test_new_days_that_change_no_label_train_nothing(self, night: Any) -> None:
        make(night, YESTERDAY)
        night.pretend([*LABELS, *MODELS, *RELEASE])
        assert tick(weekly_refresh, night).skip_message == "Everything is up to date."
        make(night, DAYS[3])
        labels = tick(weekly_refresh, night)
        assert self.selected(labels) == ["annotations", "balanced_label_table"]
        night.pretend(LABELS)
        self.end(night, labels, dg.DagsterRunStatus.SUCCESS)
        assert tick(weekly_refresh, night).skip_message == "Everything is up to date."

    def test_trains_where_the_code_of_a_model_changed(self, night: Any) -> None:
        make(night, YESTERDAY)
        night.pretend([*LABELS, *MODELS, *RELEASE])
        age(night, "finetuned_scorer", WHOLE)
        assert self.selected(tick(weekly_refresh, night)) == ["finetuned_scorer", "evaluation_report"]

    def test_a_day_that_always_fails_its_checks_holds_nothing_up(
        self, night: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make(night, *DAYS)
        night.store.tables.judge(night.record("aligned_faces", DAYS[0]).ref, {"quality_floor": False})
        for week in range(2):
            monkeypatch.setattr(
                automation, "_now", lambda week=week: NIGHT + datetime.timedelta(days=7 * week)
            )
            labels = tick(weekly_refresh, night)
            assert self.selected(labels)[0] == "annotations"
            self.end(night, labels, dg.DagsterRunStatus.SUCCESS)
            assert self.selected(tick(weekly_refresh, night))[0] == "siamese_checkpoint"

    def test_labels_are_out_of_date_when_a_day_comes_to_pass(self, night: Any) -> None:
        make(night, *DAYS)
        faces = night.record("aligned_faces", DAYS[0]).ref
        night.store.tables.judge(faces, {"quality_floor": False})
        night.pretend([*LABELS, *MODELS, *RELEASE])
        assert tick(weekly_refresh, night).run_requests != [], "they were made with the day that failed"
        record = night.record("balanced_label_table", WHOLE)
        passed = {day: sha256 for day, sha256 in record.inputs["aligned_faces"].items() if day != DAYS[0]}
        inputs = {**record.inputs, "aligned_faces": passed}
        night.store.tables.point(replace(record, inputs=inputs))
        assert tick(weekly_refresh, night).skip_message == "Everything is up to date."
        night.store.tables.judge(faces, {"quality_floor": True})
        assert self.selected(tick(weekly_refresh, night)) == ["balanced_label_table"]

    def test_what_a_step_found_done_is_not_looked_at_again(
        self, night: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make(night, YESTERDAY)
        night.pretend(LABELS)
        models = tick(weekly_refresh, night)
        self.end(night, models, dg.DagsterRunStatus.STARTED)
        looked_at: list[Any] = []
        monkeypatch.setattr(automation, "stale_assets", lambda group, store: looked_at.append(group))
        memory = Memory.read(models.cursor)
        assert memory.steps == ("2026-02-10 03:00 labels",)
        assert tick(weekly_refresh, night, memory).skip_message.startswith("models: waits for run")
        assert looked_at == []

    def test_waits_for_the_days_that_it_reads_and_for_its_own_assets(self, night: Any) -> None:
        make(night, YESTERDAY)
        _submit_backfill_request("days", backfill_request(DAILY, DAYS, tags={}), night.instance)
        assert tick(weekly_refresh, night).skip_message == "labels: waits for backfill days."
        backfill = night.instance.get_backfill("days")
        night.instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS))
        (request,) = tick(weekly_refresh, night).run_requests
        keys = frozenset(request.asset_selection)
        job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys)
        run = night.instance.create_run_for_job(job, asset_selection=keys, status=dg.DagsterRunStatus.STARTED)
        assert tick(weekly_refresh, night).skip_message == f"labels: waits for run {run.run_id}."


class TestLostRuns:
    def test_closes_a_run_whose_process_is_gone(self, night: Any) -> None:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        assert "No run in progress is known" in tick(lost_runs, night, None).skip_message
        job = defs.resolve_implicit_global_asset_job_def()
        run = night.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        night.instance.report_engine_event("working", run, EngineEventData.in_process(gone.pid))
        assert run.run_id in tick(lost_runs, night, None).skip_message
        assert night.instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE

    def test_says_where_it_cannot_tell(self, night: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(automation, "is_of_this_machine", lambda instance: False)
        assert tick(lost_runs, night, None).skip_message.startswith("Closes nothing: ")

    def test_looks_every_half_minute_in_every_environment(self) -> None:
        assert lost_runs.default_status is dg.DefaultSensorStatus.RUNNING
        assert lost_runs.minimum_interval_seconds == 30


@pytest.mark.parametrize(("environment", "status"), [("sample", "STOPPED"), ("local", "RUNNING")])
def test_automation_is_off_in_the_sample_alone(environment: str, status: str) -> None:
    code = (
        "from assets.automation import daily_crawl, nightly_catch_up, weekly_refresh, lost_runs\n"
        "print(*(one.default_status.value for one in "
        "(daily_crawl, nightly_catch_up, weekly_refresh, lost_runs)))"
    )
    variables = {**os.environ, "SELFAI_ENV": environment}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables)
    assert result.stdout.split() == [status, status, status, "RUNNING"], result.stderr


class TestSettings:
    def test_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SELFAI_DAILY_CRON", "30 4 * * *")
        monkeypatch.setenv("SELFAI_CATCH_UP_BOUND", "3")
        found = AutomationSettings.from_environment()
        assert (found.daily_cron, found.catch_up_bound, found.catch_up_days) == ("30 4 * * *", 3, 14)

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("SELFAI_REFRESH_CRON", "sometimes", "SELFAI_REFRESH_CRON: 'sometimes' is not a cron expression"),
            ("SELFAI_CATCH_UP_CRON", "* * * * * *", "is not a cron expression of five fields"),
            ("SELFAI_CATCH_UP_DAYS", "0", r"greater than or equal to 1\. Set it to a value such as 14"),
            ("SELFAI_CATCH_UP_BOUND", "many", "SELFAI_CATCH_UP_BOUND: .* valid integer"),
        ],
    )
    def test_a_value_that_cannot_be_used_names_its_variable(
        self, monkeypatch: pytest.MonkeyPatch, name: str, text: str, message: str
    ) -> None:
        monkeypatch.setenv(name, text)
        with pytest.raises(InputError, match=message):
            AutomationSettings.from_environment()

    def test_each_is_described_and_read(self) -> None:
        tree = ast.parse(inspect.getsource(automation))
        read = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "SETTINGS"
        }
        assert read == set(AutomationSettings.model_fields)
        assert all(field.description for field in AutomationSettings.model_fields.values())


def versions(work: Any) -> dict[tuple[str, str], Ref]:
    names = [asset.key.to_user_string() for asset in DAILY]
    return {(name, day): work.record(name, day).ref for name in names for day in DAYS[:2]}


@pytest.mark.slow
def test_a_day_that_is_made_again_keeps_its_pictures_and_asks_the_network_for_nothing(night: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    make(night, *DAYS[2:])
    settings = GallerySettings(days=DAYS[:2], portraits_per_day=12, picture_size=240, port=port)
    night.home.sources_file.unlink()
    prepare_sample(night.home, settings)
    with GalleryServer(night.home, settings) as gallery:
        assert night.materialize(*DAILY, days=DAYS[:2]).success
        before = versions(night)
        assert before["raw_crawl", DAYS[0]].rows > 0
        asked_for = len(gallery.requests)
        assert asked_for > 0
        for day in DAYS[:2]:
            age(night, "raw_crawl", day)
        assert asked(tick(nightly_catch_up, night))[0][:2] == DAYS[:2]
        assert night.materialize(*DAILY, days=DAYS[:2]).success
        assert len(gallery.requests) == asked_for
    assert versions(night) == before
