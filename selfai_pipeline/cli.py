"""The `selfai` command: each subcommand is a thin door to the library or the graph."""

import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from selfai_pipeline.annotate import COMMANDS
from selfai_pipeline.audit import audit
from selfai_pipeline.environment import Environment, current_environment
from selfai_pipeline.errors import InputError, SelfaiError
from selfai_pipeline.home import PROJECT, Home, install_instance_file
from selfai_pipeline.promote import promote, release, rollback
from selfai_pipeline.remove import remove

if TYPE_CHECKING:
    from dagster import ExecuteInProcessResult

    from selfai_pipeline.sources.settings import Source
    from selfai_pipeline.store import Store

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Dagster's console is silenced: the library's own lines say what goes on, the event log keeps the rest."""


def main() -> None:
    """Run the command line; an error that a user can mend is one sentence, not a traceback."""
    show_progress()
    try:
        commands(standalone_mode=False)
    except SelfaiError as error:
        sys.exit(f"selfai: {error}")
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except Exception as error:
        from selfai_pipeline.trouble import storage_trouble

        trouble = storage_trouble(error)
        if trouble is None:
            raise
        sys.exit(f"selfai: {trouble}")


def show_progress() -> None:
    """Print what the library logs as plain lines, beside Dagster's own event log."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("selfai")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False


@click.group()
def commands() -> None:
    """Score pictures of faces as a crowd does, with the whole path open to audit."""


for command in (*COMMANDS, audit, remove, promote, rollback, release):
    commands.add_command(command)


def prepared_home() -> Home:
    """The home with its folders, Dagster's instance file and a sources.yaml (the sample's, or empty)."""
    home = Home.from_environment().create()
    os.environ["SELFAI_HOME"] = str(home.root)
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    kept = install_instance_file(home)
    if kept:
        click.echo(
            f"{kept} is your own and was kept; {PROJECT / 'dagster.yaml'} is what this version comes with.",
            err=True,
        )
    if current_environment() is Environment.SAMPLE:
        from selfai_pipeline.sources.gallery.sample import prepare_sample
        from selfai_pipeline.sources.gallery.settings import GallerySettings

        prepare_sample(home, GallerySettings())
    elif not home.sources_file.exists():
        from selfai_pipeline.sources.settings import save_sources

        save_sources(home.sources_file, [])
    return home


@commands.command()
def init() -> None:
    """Make SELFAI_HOME and install Dagster's instance file into it."""
    home = prepared_home()
    click.echo(f"export SELFAI_HOME={home.root}\nexport DAGSTER_HOME={home.dagster}")


@commands.command()
def demo() -> None:
    """Run the whole graph over the sample gallery; run again, only what changed is done."""
    from contextlib import nullcontext

    from selfai_pipeline.sources.gallery.server import GalleryServer, is_served
    from selfai_pipeline.sources.gallery.settings import GallerySettings

    if current_environment() is not Environment.SAMPLE:
        raise InputError(
            f"the demo runs on the sample, and this is {current_environment()}",
            where="SELFAI_ENV",
            mend="Set it to sample, and SELFAI_HOME to another folder than that of your own pictures; "
            "`selfai run` takes yours through the graph.",
        )
    Home.from_environment().require_free_space()
    home = prepared_home()
    settings = GallerySettings()
    with nullcontext() if is_served(home, settings) else GalleryServer(home, settings):
        materialize_stale(home, list(settings.days))


@commands.command()
@click.option("--day", "days", multiple=True, help="A day to crawl, beside those of folders and lists.")
def run(days: tuple[str, ...]) -> None:
    """Materialize everything that is missing or out of date.

    A web page's days are crawled where --day names them. What stands on days that were crawled before is made
    again where it is out of date.
    """
    from selfai_pipeline.sources.settings import load_sources
    from selfai_pipeline.store import open_store

    Home.from_environment().require_free_space()
    home = prepared_home()
    wanted = sorted({*days, *days_of_sources(home, load_sources(home.sources_file))})
    if not wanted and not open_store(home).tables.partitions("raw_crawl"):
        raise InputError(
            "there is nothing to run on",
            where=str(home.sources_file),
            mend="Bring pictures in with `selfai import FOLDER --ratings FILE`, or name a day with --day.",
        )
    materialize_stale(home, wanted)


def days_of_sources(home: Home, sources: Iterable["Source"]) -> set[str]:
    """The days of the graph that sources name; the others, and a source that cannot be read, are reported."""
    from assets.common import crawl_days
    from selfai_pipeline.sources.days import days_of

    named: set[str] = set()
    for source in sources:
        try:
            days = days_of(source, home)
        except InputError as error:
            # The crawl of a day says the same, and goes on with the other sources.
            click.echo(f"Its days are not known: {error}", err=True)
            continue
        outside = sorted(day for day in days if not crawl_days.has_partition_key(day))
        if outside:
            click.echo(
                f"source {source.name}: {len(outside)} of its days, {outside[0]} the first, are no days from "
                f"{crawl_days.get_first_partition_key()} to {crawl_days.get_last_partition_key()}: they are "
                "left out. SELFAI_FIRST_DAY sets the first one.",
                err=True,
            )
        named |= days.difference(outside)
    return named


def check_days(days: Iterable[str]) -> None:
    """Raises InputError where a day is no partition of the graph."""
    from assets.common import crawl_days

    for day in days:
        if not crawl_days.has_partition_key(day):
            first, last = crawl_days.get_first_partition_key(), crawl_days.get_last_partition_key()
            raise InputError(
                f"it is no day from {first} to {last}",
                where=f"day {day}",
                mend="Name one of these days, or set SELFAI_FIRST_DAY to an earlier one.",
            )


def materialize_stale(home: Home, days: list[str]) -> None:
    """Bring the data stages of `days`, the labels, the models, then the champion up to date, a run each.

    Of other days that were crawled, what stands on the crawl is brought up to date, and they are not crawled
    again. Consecutive days are one run. What is out of date is asked again before each run, so that a new
    version with the bytes of the old one ends the chain.

    Raises:
        InputError: a day is no partition of the graph.
        SelfaiError: a step or a blocking check failed; what was made before is kept.
    """
    import dagster as dg

    from assets.graph import (
        BEHIND_CRAWL,
        DAILY,
        LABELS,
        MODELS,
        RELEASE,
        awaits_ratings,
        days_behind,
        stale_assets,
        stale_days,
    )
    from resources.instance import close_dead_runs
    from selfai_pipeline.definitions import defs
    from selfai_pipeline.store import open_store

    check_days(days)
    started = time.monotonic()
    store = open_store(home)
    job = defs.resolve_implicit_global_asset_job_def()
    changed = False
    with dg.DagsterInstance.get() as instance:

        def execute(assets: Sequence[dg.AssetsDefinition], tags: Mapping[str, str]) -> None:
            nonlocal changed
            changed = True
            keys = [asset.key for asset in assets]
            result = job.execute_in_process(
                instance=instance, asset_selection=keys, tags=tags, raise_on_error=False, run_config=QUIET
            )
            if not _champion_stays(result):
                _stop_on_failure(result)

        def execute_days(assets: Sequence[dg.AssetsDefinition], words: str, stale: list[str]) -> None:
            for first, last in _ranges(stale):
                click.echo(f"{words}: {first} to {last}")
                execute(
                    assets,
                    {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
                )

        # It logs a line for each run that it closes.
        close_dead_runs(instance)
        execute_days(DAILY, "crawl, prune, align", stale_days(days, store=store))
        execute_days(BEHIND_CRAWL, "prune, align", days_behind(store))
        if awaits_ratings(store):
            click.echo(
                "No face has been scored yet, and labels need scores: `selfai annotate` has people score the "
                "faces, `selfai import FOLDER --ratings FILE` brings ratings in. Then run again."
            )
            return
        for group in (LABELS, MODELS, RELEASE):
            rest = stale_assets(group, store=store)
            if rest:
                click.echo(f"then: {', '.join(asset.key.to_user_string() for asset in rest)}")
                execute(rest, {})
    click.echo(f"{'done' if changed else 'nothing had changed'} in {time.monotonic() - started:.0f} s")
    _summary(store)


def _ranges(days: list[str]) -> list[tuple[str, str]]:
    """Consecutive days as (first, last); a range covers calendar days without gaps."""
    from datetime import date, timedelta

    ranges: list[tuple[str, str]] = []
    for day in sorted(days):
        before = (date.fromisoformat(day) - timedelta(days=1)).isoformat()
        if ranges and ranges[-1][1] == before:
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges


def _champion_stays(result: "ExecuteInProcessResult") -> bool:
    """Whether a run ended at the check that the champion moves by, and at nothing else; says so then."""
    from selfai_pipeline.tables import PROMOTION_CHECK

    failed = [one for one in result.get_asset_check_evaluations() if not one.passed]
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    if [one.check_name for one in failed] != [PROMOTION_CHECK] or any(
        error is None or error.cls_name != "DagsterAssetCheckFailedError" for error in errors
    ):
        return False
    click.echo(f"the champion does not change: {failed[0].description}")
    return True


def _stop_on_failure(result: "ExecuteInProcessResult") -> None:
    """Raises SelfaiError with what failed in a run: the errors of its steps, and the checks by day."""
    if result.success:
        return
    troubles = []
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error is not None:
            error = event.step_failure_data.error
            cause = error.cause or error
            message = re.sub(rf"^[\w.]*{cause.cls_name}: ", "", cause.message.strip())
            if error.cls_name == "DagsterExecutionInterruptedError":
                message = "it was interrupted. Run again: it goes on from what was stored last."
            if error.cls_name != "DagsterAssetCheckFailedError":
                troubles.append(f"{event.step_key}: {message}")
    failed = [
        one
        for one in result.get_asset_check_evaluations()
        if not one.passed and one.severity.value == "ERROR"
    ]
    of_days = {one.asset_check_key for one in failed if one.partition}
    for one in failed:
        # Beside its days a range has a result of its own, which says the same.
        if one.partition or one.asset_check_key not in of_days:
            asset = one.asset_key.to_user_string()
            where = f"{asset}, {one.partition}" if one.partition else asset
            found = (one.description or "it says no more").rstrip(".")
            troubles.append(f"{where}: its check of {one.check_name} failed: {found}.")
    if failed:
        troubles.append(
            "What was made is kept, and nothing after it was run. `make up` shows the figures: mend the "
            "input or the settings, then run again; what failed is made and judged anew."
        )
    raise SelfaiError("\n".join(troubles) or f"the run {result.run_id} failed: `make up` shows why.")


def _summary(store: "Store") -> None:
    record = store.tables.current("evaluation_report")
    if record is None:
        return
    facts = store.tables.facts(record.ref)  # type: ignore[arg-type]
    click.echo(f"test figures: {facts.get('headline', facts)}")
    click.echo(f"report: {store.home.reports / record.ref.sha256 / 'report.html'}")
    click.echo("open the UI with: make up")


@commands.command()
def gallery() -> None:
    """Serve the sample gallery on loopback until Ctrl-C."""
    from selfai_pipeline.sources.gallery.server import GalleryServer
    from selfai_pipeline.sources.gallery.settings import GallerySettings

    server = GalleryServer(prepared_home(), GallerySettings())
    click.echo(f"the sample gallery: {server.url}")
    server.serve_forever()


@commands.command("import")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", default=None, help="Name of the source; default: made of the folder's name.")
@click.option("--day", default=None, help="Day (YYYY-MM-DD) that the pictures fall on; default: today.")
@click.option("--scores", type=click.Path(dir_okay=False, path_type=Path), help="Table of mean scores.")
@click.option("--ratings", type=click.Path(dir_okay=False, path_type=Path), help="Table of ratings.")
@click.option("--pictures", type=click.Path(dir_okay=False, path_type=Path), help="Table about the pictures.")
@click.option("--minimum", type=float, default=0.0, show_default=True, help="Lowest score of the scale.")
@click.option("--maximum", type=float, default=9.0, show_default=True, help="Highest score of the scale.")
@click.option("--picture-column", default="image", show_default=True)
@click.option("--score-column", default="score", show_default=True)
@click.option("--annotator-column", default="annotator", show_default=True)
@click.option("--annotator-group-column", default="", help="Column of --ratings with the annotator's group.")
@click.option("--count-column", default="", help="Column of --scores with the number of ratings.")
@click.option("--rated-at-column", default="", help="Column of --ratings with the moment of the rating.")
@click.option("--licence", default="", help="Licence of the pictures.")
@click.option("--strict", is_flag=True, help="Refuse the import at the first row that cannot be used.")
def import_(folder: Path, name: str | None, day: str | None, **options: object) -> None:
    """Bring a folder of rated pictures in as a source; `selfai run` then takes it through the graph.

    Tables are CSV, JSON Lines, Parquet or a JSON list, told by the ending; ratings may be an export of Label
    Studio (JSON), where --score-column names the tag.
    """
    from datetime import UTC, datetime

    from selfai_pipeline.labels.importing import import_folder

    day = day or datetime.now(UTC).date().isoformat()
    check_days([day])
    home = prepared_home()
    summary = import_folder(
        folder,
        home=home,
        name=name,
        day=day,
        **options,  # type: ignore[arg-type]
    )
    click.echo(summary)


@commands.command()
def up() -> None:
    """Serve the Dagster UI, MLflow, the previews and (in the sample) the gallery on loopback until Ctrl-C."""
    import dagster as dg

    from resources.instance import close_dead_runs
    from selfai_pipeline.serving.services import serve_all

    home = prepared_home()
    with dg.DagsterInstance.get() as instance:
        close_dead_runs(instance)
    serve_all(home, project=PROJECT)


@commands.command(hidden=True)
@click.option("--port", type=int, default=3080)
def files(port: int) -> None:
    """Serve previews and reports on loopback."""
    import uvicorn

    from selfai_pipeline.serving.files import files_app

    uvicorn.run(files_app(Home.from_environment()), host="127.0.0.1", port=port, log_level="warning")


@commands.command("move-journal")
def move_journal_() -> None:
    """Copy the journal in SELFAI_HOME to where SELFAI_JOURNAL_URL says; nothing may run meanwhile."""
    from selfai_pipeline.sources.journal_move import move_journal

    home = Home.from_environment()
    click.echo(f"{move_journal(home)} rows moved; {home.own_journal} stays as a copy, and is used no more")


@commands.command()
@click.argument("query")
def sql(query: str) -> None:
    """Ask the current tables in SQL: each is a view over all of its partitions."""
    import duckdb

    from selfai_pipeline.schemas import TABLES
    from selfai_pipeline.store import open_store

    tables = open_store(Home.from_environment()).tables
    connection = duckdb.connect()
    named = [asset for asset in TABLES if asset in query.lower()]
    for asset in named or TABLES:
        snapshot = tables.snapshot(asset)
        if snapshot.tables:
            connection.register(asset, tables.read_all(snapshot))
    try:
        click.echo(str(connection.sql(query)))
    except duckdb.Error as error:
        raise SelfaiError(f"{query!r}: {error}") from error
