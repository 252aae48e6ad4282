"""What is tried again and what is not, and which assets have to be fresh."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any

import dagster as dg
import pytest

from assets.aligned_faces import aligned_faces
from assets.graph import ALL_ASSETS, ALL_CHECKS, DAILY
from assets.policies import RETRIES, with_policies
from assets.pruned_set import pruned_set
from assets.raw_crawl import raw_crawl
from resources.environments import resources_for
from selfai_pipeline.environment import Environment
from selfai_pipeline.errors import AlteredVersion, InputError
from selfai_pipeline.faces import align
from selfai_pipeline.home import Home
from selfai_pipeline.sources import crawl
from selfai_pipeline.sources.crawl import CrawlInterrupted, CrawlKilled, SourceUnreachable
from selfai_pipeline.sources.settings import PagesSource
from selfai_pipeline.workers import WorkerKilled, WorkerLost

UNREACHABLE = SourceUnreachable("it cannot be reached", where="source site", mend="Check that it is up.")
TRIES = 1 + RETRIES.max_retries


@pytest.fixture
def raises(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[BaseException]]:
    """Makes a stage (the crawl of a day, by default) raise these errors, one a try, and work after them;
    returns those to come."""

    def arrange(*errors: BaseException, of: tuple[ModuleType, str] = (crawl, "crawl_day")) -> list[Any]:
        stage, to_come = getattr(*of), list(errors)

        def made(*positional: Any, **named: Any) -> Any:
            if to_come:
                raise to_come.pop(0)
            return stage(*positional, **named)

        monkeypatch.setattr(*of, made)
        return to_come

    return arrange


def retries_of(result: dg.ExecuteInProcessResult) -> int:
    return sum(event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY for event in result.all_events)


def test_trouble_that_passes_is_tried_again_until_it_has_passed(work: Any, raises: Any) -> None:
    raises(UNREACHABLE, CrawlKilled("a signal"))
    result = work.materialize(raw_crawl, days=[work.day])
    assert result.success
    assert retries_of(result) == 2
    assert len(result.get_asset_materialization_events()) == 1


def test_trouble_that_does_not_pass_ends_with_what_was_wrong(work: Any, raises: Any, errors: Any) -> None:
    to_come = raises(*[UNREACHABLE] * 10)
    result = work.materialize(raw_crawl, days=[work.day])
    assert not result.success
    assert 10 - len(to_come) == TRIES
    assert "source site: it cannot be reached. Check that it is up." in errors(result)


@pytest.mark.parametrize(
    "error",
    [
        InputError("no contact is set", where="source site", mend="Set it."),
        CrawlInterrupted("TypeError in the spider"),
        ValueError("a defect"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_does_not_pass_by_itself_is_not_tried_again(work: Any, raises: Any, error: Exception) -> None:
    raises(error)
    result = work.materialize(raw_crawl, days=[work.day])
    assert not result.success
    assert retries_of(result) == 0


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (WorkerKilled("signal 9"), 1),
        (WorkerLost("status 3"), 0),
        (AlteredVersion("a picture's bytes hash to another name"), 0),
        (InputError("no such file", where="detector.weights", mend="Leave it empty."), 0),
        (ValueError("a defect"), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_faces_are_looked_for_again_where_a_worker_was_killed_and_nowhere_else(
    work: Any, raises: Any, error: Exception, tries: int
) -> None:
    work.pretend([pruned_set], work.day)
    raises(error, of=(align, "align_day"))
    result = work.materialize(aligned_faces, days=[work.day])
    assert retries_of(result) == tries
    assert result.success is (tries > 0)


class Page(BaseHTTPRequestHandler):
    """A page without pictures; there is no robots.txt."""

    def do_GET(self) -> None:
        self.send_response(404 if self.path == "/robots.txt" else 200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html></html>")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[ThreadingHTTPServer]:
    """A site that has its address, and does not answer yet."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page, bind_and_activate=False)
    server.server_bind()
    yield server
    server.server_close()


def test_a_site_that_comes_up_between_two_tries_is_crawled(
    work: Any, site: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"127.0.0.1:{site.server_port}"
    work.declare(
        PagesSource(name="site", start_urls=[f"http://{address}/?{{day}}"], allowed_addresses=[address])
    )
    crawl_day = crawl.crawl_day

    def comes_up_afterwards(*positional: Any, **named: Any) -> Any:
        try:
            return crawl_day(*positional, **named)
        except SourceUnreachable:
            site.server_activate()
            threading.Thread(target=site.serve_forever, daemon=True).start()
            raise

    monkeypatch.setattr(crawl, "crawl_day", comes_up_afterwards)
    result = work.materialize(raw_crawl, days=[work.day])
    site.shutdown()
    assert result.success
    assert retries_of(result) == 1


def test_a_site_that_is_down_beside_a_good_folder_is_tried_again_and_then_left(
    work: Any, site: ThreadingHTTPServer, picture: Callable[..., bytes]
) -> None:
    (work.folder / "picture.png").write_bytes(picture())
    address = f"127.0.0.1:{site.server_port}"
    down = PagesSource(name="site", start_urls=[f"http://{address}/?{{day}}"], allowed_addresses=[address])
    work.declare(work.source(), down)
    result = work.materialize(raw_crawl, days=[work.day])
    assert result.success
    assert retries_of(result) == RETRIES.max_retries
    facts = work.store.tables.facts(work.record("raw_crawl", work.day).ref)
    assert facts["counts"]["stored"] == 1
    assert list(facts["unavailable"]) == ["site"]


def test_the_tries_come_at_growing_and_random_distances() -> None:
    for number, longest in enumerate((10, 30, 70), start=1):
        waits = [RETRIES.calculate_delay(number) for _ in range(200)]
        assert 0 <= min(waits) < longest / 4
        assert longest * 3 / 4 < max(waits) <= longest


def test_no_asset_has_a_policy_of_dagsters_own() -> None:
    """It would start a canceled step again (Dagster 1.13)."""
    assert [asset.op.retry_policy for asset in ALL_ASSETS] == [None] * len(ALL_ASSETS)


def freshness(environment: Environment) -> dict[str, Any]:
    assets = with_policies(ALL_ASSETS, environment)
    return {
        spec.key.to_user_string(): spec.freshness_policy
        for asset in assets
        for spec in asset.specs
        if spec.freshness_policy
    }


@pytest.mark.parametrize("environment", [Environment.LOCAL, Environment.PRODUCTION])
def test_data_has_to_be_fresh_daily_and_what_changes_with_the_ratings_need_not(
    environment: Environment,
) -> None:
    windows = {name: policy.fail_window.to_timedelta() for name, policy in freshness(environment).items()}
    assert windows == {asset.key.to_user_string(): timedelta(hours=50) for asset in DAILY}


def test_the_sample_need_not_be_fresh() -> None:
    assert freshness(Environment.SAMPLE) == {}


def test_policies_change_nothing_else(home: Home) -> None:
    bare, with_them = (
        dg.Definitions(
            assets=with_policies(ALL_ASSETS, environment),
            asset_checks=ALL_CHECKS,
            resources=resources_for(Environment.SAMPLE, home),
        )
        for environment in (Environment.SAMPLE, Environment.PRODUCTION)
    )
    assert described(with_them) == described(bare)


def described(definitions: dg.Definitions) -> dict[str, Any]:
    graph = definitions.resolve_asset_graph()
    return {
        node.key.to_user_string(): (
            node.parent_keys,
            node.check_keys,
            node.partitions_def,
            node.backfill_policy,
            node.code_version,
            node.description,
            node.assets_def.op.pool,
            node.assets_def.op.tags,
        )
        for node in graph.asset_nodes
    }
