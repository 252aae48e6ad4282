"""`selfai up` over a small sample gallery, and a browser that reaches nothing but this machine.

What a person does by hand (one day, a backfill of three, training with other knobs) is done once, in fixtures
that stand on each other, so that the tests can look at it in any order. Pictures of the screens, those of
failures too, are kept under pytest's temporary folder.
"""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from selfai_pipeline.home import Home
from selfai_pipeline.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

DAYS = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]
KNOBS: dict[str, dict[str, Any]] = {
    "siamese_checkpoint": {"epochs": 6, "input_size": 32, "width": 0.25},
    "finetuned_scorer": {"epochs": 12},
    "evaluation_report": {"bootstrap_draws": 200},
}
"""What is changed in the Launchpad: other values than the defaults, and a short training."""

PATIENCE_S = 300.0
LOCAL = re.compile(r"(https?|wss?)://127\.0\.0\.1[:/]|(data|blob|about|chrome-error):")


@dataclass(frozen=True)
class Served:
    """The services of `selfai up` by their address, and the home behind them."""

    home: Home
    ui: str
    mlflow: str
    files: str

    @property
    def store(self) -> Store:
        return Store.open(self.home)


@dataclass
class Person:
    """Somebody at a browser: opens tabs, waits for what shall come, keeps pictures of the screen."""

    context: "BrowserContext"
    served: Served
    screens: Path
    strangers: set[str] = field(default_factory=set)

    @contextmanager
    def at(self, path: str) -> Iterator["Page"]:
        """A tab at a page of the Dagster UI; its picture is kept, also where something goes wrong in it."""
        page = self.context.new_page()
        try:
            page.goto(f"{self.served.ui}{path}")
            yield page
        except Exception as error:
            for tab in self.context.pages:
                error.add_note(f"at {tab.url}; {self.last_screen(tab)}")
            raise
        finally:
            for tab in self.context.pages:
                tab.close()
        assert not self.strangers, "pages asked for something beyond this machine"

    def keep(self, page: "Page", name: str) -> Path:
        """A numbered picture of what the page shows."""
        picture = self.screens / f"{len(list(self.screens.glob('*.png'))):02}-{name}.png"
        page.screenshot(path=picture)
        return picture

    def last_screen(self, page: "Page") -> str:
        """Where the picture of a page that failed is; one that shows nothing must not hide the failure."""
        from playwright.sync_api import Error

        try:
            return f"the screen is kept as {self.keep(page, 'failed')}"
        except Error as error:
            return f"its screen could not be kept: {error}"

    def follow(self, link: "Locator") -> "Page":
        """The tab that a link opens."""
        with self.context.expect_page() as opened:
            link.click()
        return opened.value


def search_assets(page: "Page", query: str) -> None:
    """Narrow the lineage graph to what a query of Dagster's names."""
    page.locator(".CodeMirror").first.click()
    page.keyboard.type(query)
    page.keyboard.press("Enter")


def launch_days(page: "Page", days: str) -> None:
    """Materialize the three data stages for a day or a range, from the lineage graph."""
    search_assets(page, 'group:"data"')
    page.get_by_text("aligned_faces").first.wait_for()
    page.get_by_role("button", name=re.compile("Materialize all")).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text(re.compile(r"^\d{4}-\d\d-\d\d$")).last.wait_for()
    # The dialog begins with the last 90 days, and the sample's may be older.
    older = page.get_by_role("button", name="Show all partitions")
    if older.is_visible():
        older.click()
    box = dialog.locator("input[type=text]").first
    box.fill(days)
    box.press("Enter")
    launch = dialog.locator("button").filter(has_text=re.compile("^Launch (1 run|backfill)$"))
    launch.click()
    dialog.wait_for(state="hidden")
    page.locator("button, a").filter(has_text=re.compile("^View$")).first.click()


def turn_knob(page: "Page", editor: "Locator", asset: str, knob: str, value: object) -> None:
    """Change one line of the Launchpad's text, which lists every default."""
    lines = editor.evaluate("element => element.CodeMirror.getValue()").split("\n")
    start = lines.index(f"  {asset}:")
    row = next(row for row in range(start, len(lines)) if lines[row].startswith(f"      {knob}: "))
    assert lines[row] != f"      {knob}: {value}", "this is the default already"
    editor.click()
    page.keyboard.press("Control+Home")
    for _ in range(row):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+End")
    page.keyboard.insert_text(f"      {knob}: {value}")


def wait_for_end(page: "Page", good: str, bad: str) -> None:
    """Until the status of a run or a backfill is one of two words, which has to be the good one."""
    status = page.locator("[class*=BaseTag_baseTag]").get_by_text(re.compile(f"^({good}|{bad})$")).first
    status.wait_for()
    assert status.inner_text() == good


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=10).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def knobs() -> dict[str, dict[str, Any]]:
    return KNOBS


@pytest.fixture(scope="module")
def port() -> int:
    """A free port of loopback."""
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[Served]:
    """The real `selfai up`, on free ports."""
    home = Home.at(tmp_path_factory.mktemp("browser") / "home")
    names = ("SELFAI_UI_PORT", "SELFAI_MLFLOW_PORT", "SELFAI_FILES_PORT", "SELFAI_GALLERY_PORT")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SELFAI_", "DAGSTER_")) and not name.lower().endswith("_proxy")
    }
    environment = {
        **kept,
        **{name: str(port) for name, port in ports.items()},
        "SELFAI_HOME": str(home.root),
        "SELFAI_GALLERY_PORTRAITS": "36",
        "OMP_NUM_THREADS": "1",
    }
    log = home.root.parent / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "selfai"), "up"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        waiting = [f"http://127.0.0.1:{port}/" for port in ports.values()]
        while waiting:
            assert process.poll() is None, f"selfai up ended by itself:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"{waiting} do not answer:\n{log.read_text()}"
            waiting = [url for url in waiting if not answers(url)]
            time.sleep(0.5)
        ui, mlflow, files = (f"http://127.0.0.1:{port}" for port in list(ports.values())[:3])
        yield Served(home, ui, mlflow, files)
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def person(browser: "Browser", served: Served, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """A browser whose requests beyond this machine are refused and remembered."""
    from playwright.sync_api import Request, Route

    context = browser.new_context(
        viewport={"width": 1600, "height": 1000}, service_workers="block", timezone_id="UTC"
    )
    context.set_default_timeout(PATIENCE_S * 1000)
    who = Person(context, served, tmp_path_factory.mktemp("screens"))

    def note(request: Request) -> None:
        if not LOCAL.match(request.url):
            who.strangers.add(request.url)

    def admit(route: Route) -> None:
        if LOCAL.match(route.request.url):
            route.continue_()
        else:
            route.abort()

    context.on("request", note)
    context.route("**/*", admit)
    return who


@pytest.fixture(scope="module")
def first_day(person: Person) -> str:
    """The first day, materialized from the lineage graph; the address of its run's page."""
    with person.at("/asset-groups") as page:
        launch_days(page, DAYS[0])
        page.wait_for_url("**/runs/*")
        wait_for_end(page, "Success", "Failure")
        person.keep(page, "run-of-one-day")
        return page.url.removeprefix(person.served.ui)


@pytest.fixture(scope="module")
def backfilled(person: Person, first_day: str) -> str:
    """The other three days, as a backfill; the address of its page."""
    with person.at("/asset-groups") as page:
        launch_days(page, f"[{DAYS[1]}...{DAYS[-1]}]")
        page.wait_for_url("**/runs/b/*")
        wait_for_end(page, "Succeeded", "Failed")
        person.keep(page, "backfill")
        return page.url.removeprefix(person.served.ui)


@pytest.fixture(scope="module")
def trained(person: Person, backfilled: str) -> str:
    """Labels, training and report, launched with other knobs from the Launchpad; the run's address."""
    with person.at("/asset-groups") as page:
        search_assets(page, 'group:"labels" or group:"training" or group:"evaluation"')
        # The arrow beside the button that materializes all.
        button = page.get_by_role("button", name=re.compile("Materialize all$"))
        button.locator("xpath=following::button[1]").click()
        page.get_by_text("Open launchpad").click()
        launchpad = page.get_by_role("dialog").filter(has_text="Launchpad")
        launchpad.get_by_text("All defaults expanded").wait_for()
        editor = launchpad.locator(".CodeMirror")
        for asset, knobs in KNOBS.items():
            for knob, value in knobs.items():
                turn_knob(page, editor, asset, knob, value)
        launchpad.get_by_text("No errors", exact=True).wait_for()
        person.keep(page, "launchpad")
        launchpad.locator("button").filter(has_text=re.compile("^Materialize$")).click()
        page.wait_for_url("**/runs/*")
        wait_for_end(page, "Success", "Failure")
        person.keep(page, "run-of-training")
        return page.url.removeprefix(person.served.ui)
