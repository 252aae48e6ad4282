"""The `selfai` command: each subcommand is a thin door to the library or the graph."""

import logging
import os
import shutil
import sys
import time
from pathlib import Path

import click

from selfai_pipeline.environment import Environment, current_environment
from selfai_pipeline.errors import InputError, SelfaiError
from selfai_pipeline.home import Home

PROJECT = Path(__file__).resolve().parent.parent
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


def prepared_home() -> Home:
    """The home with its folders, Dagster's instance file and a sources.yaml (the sample's, or empty)."""
    home = Home.from_environment().create()
    os.environ["SELFAI_HOME"] = str(home.root)
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    target = home.dagster / "dagster.yaml"
    source = PROJECT / "dagster.yaml"
    if not target.exists() or target.read_bytes() != source.read_bytes():
        shutil.copyfile(source, target)
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

    home = prepared_home()
    settings = GallerySettings()
    with nullcontext() if is_served(home, settings) else GalleryServer(home, settings):
        materialize_stale(home, list(settings.days))


@commands.command()
@click.option("--day", "days", multiple=True, help="A day to crawl; without it, the days of folder sources.")
def run(days: tuple[str, ...]) -> None:
    """Materialize everything that is missing or out of date."""
    from selfai_pipeline.sources.settings import FolderSource, load_sources

    home = prepared_home()
    sources = load_sources(home.sources_file)
    of_folders = {source.day for source in sources if isinstance(source, FolderSource)}
    wanted = sorted(set(days) | of_folders)
    if not wanted:
        raise InputError(
            "there is nothing to run on",
            where=str(home.sources_file),
            mend="Bring pictures in with `selfai import FOLDER --ratings FILE`, or name a day with --day.",
        )
    materialize_stale(home, wanted)


def materialize_stale(home: Home, days: list[str]) -> None:
    """A Dagster run a range of stale days of the data stages (mostly one), then one for the rest.

    Raises:
        InputError: a day is no partition of the graph.
        SelfaiError: a step or a blocking check failed; what was made before is kept.
    """
    import dagster as dg

    from assets.common import crawl_days
    from assets.graph import DAILY, stale_assets, stale_days
    from selfai_pipeline.definitions import defs
    from selfai_pipeline.store import Store

    for day in days:
        if not crawl_days.has_partition_key(day):
            first, last = crawl_days.get_first_partition_key(), crawl_days.get_last_partition_key()
            raise InputError(
                f"it is no day from {first} to {last}",
                where=f"day {day}",
                mend="Name one of these days, or set SELFAI_FIRST_DAY to an earlier one.",
            )
    started = time.monotonic()
    store = Store.open(home)
    job = defs.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.get() as instance:
        stale = stale_days(days, store=store)
        for first, last in _ranges(days, stale):
            click.echo(f"crawl, prune, align: {first} to {last}")
            tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
            keys = [asset.key for asset in DAILY]
            _stop_on_failure(
                job.execute_in_process(
                    instance=instance, asset_selection=keys, tags=tags, raise_on_error=False, run_config=QUIET
                )
            )
        rest = stale_assets(store=store)
        if rest:
            click.echo(f"then: {', '.join(asset.key.to_user_string() for asset in rest)}")
            keys = [asset.key for asset in rest]
            _stop_on_failure(
                job.execute_in_process(
                    instance=instance, asset_selection=keys, raise_on_error=False, run_config=QUIET
                )
            )
    click.echo(f"{'done' if stale or rest else 'nothing had changed'} in {time.monotonic() - started:.0f} s")
    _summary(home)


def _ranges(days: list[str], stale: list[str]) -> list[tuple[str, str]]:
    """Consecutive runs of stale days as (first, last); a range covers calendar days without gaps."""
    from datetime import date, timedelta

    ranges: list[tuple[str, str]] = []
    for day in sorted(stale):
        before = (date.fromisoformat(day) - timedelta(days=1)).isoformat()
        if ranges and ranges[-1][1] == before:
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges


def _stop_on_failure(result) -> None:  # type: ignore[no-untyped-def]
    if result.success:
        return
    for event in result.all_events:
        if event.is_failure and event.step_key:
            error = event.event_specific_data.error
            cause = error.cause or error
            message = cause.message.strip().removeprefix(f"selfai_pipeline.errors.{cause.cls_name}: ")
            raise SelfaiError(f"{event.step_key}: {message}")
    raise SelfaiError("a blocking check failed: open the run in the UI (`make up`) to see its figures.")


def _summary(home: Home) -> None:
    from selfai_pipeline.store import Store

    store = Store.open(home)
    record = store.tables.current("evaluation_report")
    if record is None:
        return
    facts = store.tables.facts(record.ref)  # type: ignore[arg-type]
    click.echo(f"test figures: {facts.get('headline', facts)}")
    click.echo(f"report: {home.reports / record.ref.sha256 / 'report.html'}")
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
@click.option("--name", default=None, help="Name of the source; default: the folder's name.")
@click.option("--day", default=None, help="Day (YYYY-MM-DD) that the pictures fall on; default: today.")
@click.option("--scores", type=click.Path(dir_okay=False, path_type=Path), help="CSV of mean scores.")
@click.option("--ratings", type=click.Path(dir_okay=False, path_type=Path), help="CSV of single ratings.")
@click.option("--pictures", type=click.Path(dir_okay=False, path_type=Path), help="CSV about the pictures.")
@click.option("--minimum", type=float, default=0.0, show_default=True, help="Lowest score of the scale.")
@click.option("--maximum", type=float, default=9.0, show_default=True, help="Highest score of the scale.")
@click.option("--picture-column", default="image", show_default=True)
@click.option("--score-column", default="score", show_default=True)
@click.option("--annotator-column", default="annotator", show_default=True)
@click.option("--count-column", default="", help="Column of --scores with the number of ratings.")
@click.option("--licence", default="", help="Licence of the pictures.")
def import_(folder: Path, name: str | None, day: str | None, **options: object) -> None:
    """Bring a folder of rated pictures in as a source; `selfai run` then takes it through the graph."""
    from datetime import UTC, datetime

    from selfai_pipeline.labels.importing import import_folder

    home = prepared_home()
    summary = import_folder(
        folder,
        home=home,
        name=name or folder.resolve().name,
        day=day or datetime.now(UTC).date().isoformat(),
        **options,  # type: ignore[arg-type]
    )
    click.echo(summary)


@commands.command()
def up() -> None:
    """Serve the Dagster UI, MLflow, the previews and (in the sample) the gallery on loopback until Ctrl-C."""
    from selfai_pipeline.serving.services import serve_all

    serve_all(prepared_home(), project=PROJECT)


@commands.command(hidden=True)
@click.option("--port", type=int, default=3080)
def files(port: int) -> None:
    """Serve previews and reports on loopback."""
    import uvicorn

    from selfai_pipeline.serving.files import files_app

    uvicorn.run(files_app(Home.from_environment()), host="127.0.0.1", port=port, log_level="warning")


@commands.command()
@click.argument("query")
def sql(query: str) -> None:
    """Ask the current tables in SQL: each is a view over all of its partitions."""
    import duckdb

    from selfai_pipeline.schemas import TABLES
    from selfai_pipeline.store import Store

    store = Store.open(Home.from_environment())
    connection = duckdb.connect()
    for asset in TABLES:
        refs = store.tables.snapshot(asset).tables.values()
        if refs:
            paths = [str(store.files.local_path(store.tables.path(ref))) for ref in refs]
            connection.read_parquet(paths).create_view(asset)
    try:
        click.echo(str(connection.sql(query)))
    except duckdb.Error as error:
        raise SelfaiError(f"{query!r}: {error}") from error
