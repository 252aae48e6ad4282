"""What starts by itself: the daily crawl, the nightly catch-up, the weekly refresh, the closing of lost runs.

The first three are off in the sample environment and on in the others, until the UI switches them. What is
out of date, `assets/graph.py` decides alone. All moments are in UTC, as the days are.
"""

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from pydantic import AwareDatetime, Field, ValidationError, field_validator

from assets.common import crawl_days
from assets.dagster_internals import (
    backfill_request,
    is_cron,
    latest_moment,
    next_moment,
    unfinished_backfills,
)
from assets.graph import (
    DAILY,
    LABELS,
    MODELS,
    RELEASE,
    WHOLE_SET,
    awaits_ratings,
    is_current,
    stale_assets,
    stale_days,
)
from resources.instance import close_dead_runs, is_of_this_machine
from selfai_pipeline.environment import Environment, Settings, current_environment
from selfai_pipeline.errors import InputError
from selfai_pipeline.store import Store

CATCH_UP_TAG = "selfai/catch_up"
REFRESH_TAG = "selfai/refresh"
LOOK_EVERY_S = 30
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


class AutomationSettings(Settings):
    """When automation acts and how much it does; each is set by the variable `SELFAI_<NAME>`."""

    daily_cron: str = Field("0 1 * * *", description="When the data stages of a day are made, in UTC.")
    daily_days_ago: int = Field(
        1, ge=0, le=365, description="The day that is made: 1 is yesterday; 0 is today, for live sources."
    )
    catch_up_cron: str = Field("0 3 * * *", description="When days that are out of date are made, in UTC.")
    catch_up_days: int = Field(14, ge=1, le=3660, description="How many days before today are looked at.")
    catch_up_bound: int = Field(7, ge=1, le=3660, description="Most days that are made in one night.")
    refresh_cron: str = Field("0 5 * * 0", description="When labels and models are looked at, in UTC.")

    @field_validator("daily_cron", "catch_up_cron", "refresh_cron")
    @classmethod
    def _is_cron(cls, text: str) -> str:
        if not is_cron(text):
            raise ValueError(f"{text!r} is not a cron expression of five fields, such as 0 3 * * *")
        return text

    @classmethod
    def from_environment(cls) -> "AutomationSettings":
        """The settings, with what the environment variables say.

        Raises:
            InputError: a variable has no usable value.
        """
        variables = {name: f"SELFAI_{name.upper()}" for name in cls.model_fields}
        given = {name: os.environ[key] for name, key in variables.items() if key in os.environ}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            raise InputError(
                first["msg"].removeprefix("Value error, "),
                where=variables[name],
                mend=f"Set it to a value such as {cls.model_fields[name].default}, or unset it.",
            ) from None


class Memory(Settings):
    """What a sensor remembers between two looks, as its cursor.

    `since` is the moment up to which its cron is done. `tried` has the days that were made and are out of
    date all the same, with the night in which that was tried last. `steps` has those of the moment under way
    that are done, by their tags.
    """

    since: AwareDatetime
    tried: Mapping[str, AwareDatetime] = Field(default={})
    steps: tuple[str, ...] = ()

    @classmethod
    def read(cls, cursor: str) -> "Memory":
        """Raises InputError where the cursor, which the UI can change, is none of ours."""
        try:
            return cls.model_validate_json(cursor)
        except ValidationError as error:
            raise InputError(
                f"it cannot be read ({error.error_count()} problems)",
                where="the sensor's cursor",
                mend="Clear it in the UI; the sensor then begins with the next moment of its cron.",
            ) from error


SETTINGS = AutomationSettings.from_environment()
IS_ON = current_environment() is not Environment.SAMPLE

data_stages = dg.define_asset_job("data_stages", selection=dg.AssetSelection.assets(*DAILY))


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _keys(assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetKey]:
    return [asset.key for asset in assets]


def _under_way(instance: dg.DagsterInstance, assets: Sequence[dg.AssetsDefinition]) -> str:
    """What works on one of the assets at present, in words; empty where nothing does."""
    keys = set(_keys(assets))
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))
    # A run without a selection makes all that its job has.
    busy = [f"run {run.run_id}" for run in runs if keys & set(run.asset_selection or keys)]
    return ", ".join([f"backfill {name}" for name in unfinished_backfills(instance, keys)] + busy)


@dataclass(frozen=True)
class Due:
    """A moment of a cron that is to be acted on, and what the sensor remembers."""

    moment: datetime.datetime
    memory: Memory


def _due(cursor: str | None, cron: str) -> Due | dg.SensorResult | dg.SkipReason:
    """The latest moment of the cron, or what the sensor answers where that was done already.

    A sensor begins with the next moment: what was missed before it was ever on is not made up for by day.
    """
    now = _now()
    upcoming = f"{next_moment(cron, now):%Y-%m-%d %H:%M} UTC"
    if cursor is None:
        return dg.SensorResult(
            skip_reason=f"Just switched on: acts at {upcoming}.", cursor=Memory(since=now).model_dump_json()
        )
    memory, moment = Memory.read(cursor), latest_moment(cron, now)
    return Due(moment, memory) if moment > memory.since else dg.SkipReason(f"Acts at {upcoming}.")


@dg.schedule(
    job=data_stages,
    cron_schedule=SETTINGS.daily_cron,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING if IS_ON else dg.DefaultScheduleStatus.STOPPED,
)
def daily_crawl(
    context: dg.ScheduleEvaluationContext, store: dg.ResourceParam[Store]
) -> dg.RunRequest | dg.SkipReason:
    """Crawls, prunes and aligns yesterday (SELFAI_DAILY_CRON, SELFAI_DAILY_DAYS_AGO)."""
    moment = context.scheduled_execution_time.astimezone(datetime.UTC)
    day = (moment.date() - datetime.timedelta(days=SETTINGS.daily_days_ago)).isoformat()
    if not crawl_days.has_partition_key(day):
        return dg.SkipReason(f"{day} is no day of the graph: SELFAI_FIRST_DAY sets the first.")
    if all(is_current(asset, day, store=store) for asset in DAILY):
        return dg.SkipReason(f"{day} is made, and up to date.")
    return dg.RunRequest(partition_key=day, asset_selection=_keys(DAILY))


@dg.sensor(
    asset_selection=dg.AssetSelection.assets(*DAILY),
    minimum_interval_seconds=LOOK_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING if IS_ON else dg.DefaultSensorStatus.STOPPED,
)
def nightly_catch_up(
    context: dg.SensorEvaluationContext, store: dg.ResourceParam[Store]
) -> dg.SensorResult | dg.SkipReason:
    """Backfills the days that are missing, failed or out of date (SELFAI_CATCH_UP_CRON, _DAYS, _BOUND).

    The oldest come first. A day that an earlier night did not mend comes after the others and in a backfill
    of its own, so that it holds up no other. While something works on the data stages, it waits.
    """
    due = _due(context.cursor, SETTINGS.catch_up_cron)
    if not isinstance(due, Due):
        return due
    moment, memory = due.moment, due.memory
    busy = _under_way(context.instance, DAILY)
    if busy:
        return dg.SkipReason(f"Waits for {busy}.")
    stale = stale_days(_days_before(_now().date()), store=store)
    tried = {day: night for day, night in memory.tried.items() if day in stale}
    never = datetime.datetime.min.replace(tzinfo=datetime.UTC)
    tonight = sorted(stale, key=lambda day: (tried.get(day, never), day))[: SETTINGS.catch_up_bound]
    groups = [[day for day in tonight if day not in tried], *([day] for day in tonight if day in tried)]
    tags = {CATCH_UP_TAG: f"{moment:%Y-%m-%d %H:%M}"}
    return dg.SensorResult(
        run_requests=[backfill_request(DAILY, group, tags=tags) for group in groups if group],
        skip_reason=None if tonight else "No day is missing, failed or out of date.",
        cursor=Memory(since=moment, tried={**tried, **dict.fromkeys(tonight, moment)}).model_dump_json(),
    )


def _days_before(today: datetime.date) -> list[str]:
    """The days of the graph that the catch-up looks at; today is not over, and not among them."""
    past = (today - datetime.timedelta(days=ago) for ago in range(1, SETTINGS.catch_up_days + 1))
    return [day.isoformat() for day in past if crawl_days.has_partition_key(day.isoformat())]


@dataclass(frozen=True)
class Step:
    """One of those that bring what is made of all days up to date, in turn; `selfai run` does the same.

    While something works on one of `behind`, from which it reads, or on its own assets, it waits. `may_fail`:
    a run that fails is an answer, and holds nothing up.
    """

    name: str
    assets: Sequence[dg.AssetsDefinition]
    behind: Sequence[dg.AssetsDefinition]
    may_fail: bool = False


STEPS = (
    Step("labels", LABELS, behind=DAILY),
    Step("models", MODELS, behind=LABELS),
    # A scorer that is not better than the champion stops at its blocking check.
    Step("release", RELEASE, behind=MODELS, may_fail=True),
)


@dg.sensor(
    asset_selection=dg.AssetSelection.assets(*DAILY, *WHOLE_SET),
    minimum_interval_seconds=LOOK_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING if IS_ON else dg.DefaultSensorStatus.STOPPED,
)
def weekly_refresh(
    context: dg.SensorEvaluationContext, store: dg.ResourceParam[Store]
) -> dg.SensorResult | dg.SkipReason:
    """Makes labels, then models and report, then the champion, where what they were made from changed
    (SELFAI_REFRESH_CRON).

    Models are looked at once the labels are made: new days without new ratings train nothing. Days that did
    not pass their checks are left out of the labels. A step that fails holds the rest of the week up until
    its run is executed again with success. While something works on what a step reads, it waits.
    """
    due = _due(context.cursor, SETTINGS.refresh_cron)
    if not isinstance(due, Due):
        return due
    moment, memory = due.moment, due.memory
    done = Memory(since=moment).model_dump_json()
    if not store.tables.partitions("aligned_faces"):
        return dg.SensorResult(skip_reason="No day has been made yet.", cursor=done)
    if awaits_ratings(store):
        return dg.SensorResult(skip_reason="No face has been scored yet.", cursor=done)
    for step in STEPS:
        tag = f"{moment:%Y-%m-%d %H:%M} {step.name}"
        # Whether labels are up to date is read from every day: once a moment, and not at every look.
        if tag in memory.steps:
            continue
        cursor = memory.model_dump_json()
        runs = context.instance.get_runs(filters=dg.RunsFilter(tags={REFRESH_TAG: tag}))
        holding = _holding_up(runs, may_fail=step.may_fail) or (
            "" if runs else _waits(context.instance, step)
        )
        if holding:
            return dg.SensorResult(skip_reason=f"{step.name}: {holding}", cursor=cursor)
        assets = [] if runs else stale_assets(step.assets, store=store)
        if assets:
            request = dg.RunRequest(run_key=tag, asset_selection=_keys(assets), tags={REFRESH_TAG: tag})
            return dg.SensorResult(run_requests=[request], cursor=cursor)
        memory = memory.model_copy(update={"steps": (*memory.steps, tag)})
    return dg.SensorResult(skip_reason="Everything is up to date.", cursor=done)


def _waits(instance: dg.DagsterInstance, step: Step) -> str:
    busy = _under_way(instance, [*step.behind, *step.assets])
    return f"waits for {busy}." if busy else ""


def _holding_up(runs: Sequence[dg.DagsterRun], *, may_fail: bool) -> str:
    """Which of the runs of a step, newest first, keeps the next step from being looked at, and why."""
    newest: dict[str, dg.DagsterRun] = {}
    for run in runs:
        newest.setdefault(run.root_run_id or run.run_id, run)
    open_runs = [run.run_id for run in newest.values() if not run.is_finished]
    if open_runs:
        return f"waits for run {', '.join(open_runs)}."
    failed = [run.run_id for run in newest.values() if not run.is_success]
    if failed and not may_fail:
        return (
            f"stopped, because run {', '.join(failed)} did not succeed. Mend what it names and re-execute "
            "it; else the next week begins anew."
        )
    return ""


@dg.sensor(minimum_interval_seconds=LOOK_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING)
def lost_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Closes runs whose process was killed, so that they give their places back and are tried once again."""
    if not is_of_this_machine(context.instance):
        return dg.SkipReason(
            "Closes nothing: with this database or launcher a run may be on another machine, and its "
            "launcher has to tell of workers that are gone."
        )
    closed = close_dead_runs(context.instance)
    if closed:
        return dg.SkipReason(f"Closed, because their process is gone: {', '.join(closed)}.")
    return dg.SkipReason("No run in progress is known to have lost its process.")


JOBS = [data_stages]
SCHEDULES = [daily_crawl]
SENSORS = [nightly_catch_up, weekly_refresh, lost_runs]
