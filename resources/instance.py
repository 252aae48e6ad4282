"""Runs whose process was killed: Dagster on SQLite never learns of it, and they keep their pool's slot."""

import logging

import dagster as dg

logger = logging.getLogger("selfai.runs")

IN_PROGRESS = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
CLOCK_TOLERANCE_S = 2.0
"""The system gives the start of a process to a second or so."""


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """End every run in progress whose process is gone, and free its slots; returns their ids.

    A run that was being canceled ends as canceled, any other as failed. Left alone are runs that named no
    process yet, and every run of an instance that may have processes on other machines.
    """
    if not is_of_this_machine(instance):
        return []
    closed = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=IN_PROGRESS)):
        process = _last_process(instance, run.run_id)
        if process is None or _lives(*process):
            continue
        # The process may have ended the run in the meantime, and has written its last word by now.
        now = instance.get_run_by_id(run.run_id)
        if now is None or now.status not in IN_PROGRESS:
            continue
        message = (
            f"The process of this run ({process[0]}) is gone: it was killed, or the machine was restarted. "
            "The run was closed so that others can go on; what it made before is kept. A run that the UI, a "
            "schedule or a sensor started is tried again once; start any other again."
        )
        if now.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(now, message)
        else:
            instance.report_run_failed(now, message)
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        logger.warning("run %s: its process is gone; it was closed, and its place is free", run.run_id)
        closed.append(run.run_id)
    return closed


def is_alive(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a run may still be working; one that the instance does not know may be another instance's."""
    run = instance.get_run_by_id(run_id)
    return run is None or not run.is_finished


def is_of_this_machine(instance: dg.DagsterInstance) -> bool:
    """Whether every process of the instance runs here, where a process id can be looked up."""
    # imported here: at the top it would be a third of what importing the definitions costs
    from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage

    on_sqlite = isinstance(instance.event_log_storage, SqliteEventLogStorage)
    return on_sqlite and isinstance(instance.run_launcher, dg.DefaultRunLauncher)


def _last_process(instance: dg.DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """The process that worked on the run last, and the run's last sign of life (seconds since 1970).

    The last one, since a clock that is set forward moves the moment at which a process began as well: one
    that lives goes on to give signs by the new clock.
    """
    for entry in reversed(instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)):
        event = entry.dagster_event
        named = event.engine_event_data.metadata.get("pid") if event else None
        if named is not None and str(named.value).isdigit():
            (latest,) = instance.get_records_for_run(run_id, limit=1, ascending=False).records
            return int(str(named.value)), latest.event_log_entry.timestamp
    return None


def _lives(pid: int, seen: float) -> bool:
    """Whether the process that was `pid` at the time `seen` still runs: a later one may have its number."""
    import psutil

    try:
        process = psutil.Process(pid)
        created = process.create_time()
        return process.status() != psutil.STATUS_ZOMBIE and created <= seen + CLOCK_TOLERANCE_S
    except psutil.NoSuchProcess:
        return False
