"""The annotation site in a real browser: two people score until nothing is left, and one does not look.

One sits at a keyboard, the other taps on a phone. Three annotators whose ratings came in a file had scored
the same faces before; with them the label table can tell who carries no signal.
"""

import csv
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import sqlalchemy as sa

from assets.graph import ALL_ASSETS, ALL_CHECKS, DAILY
from resources.environments import resources_for
from selfai_pipeline.environment import Environment
from selfai_pipeline.home import Home
from selfai_pipeline.labels.annotations import collect_annotations
from selfai_pipeline.labels.label_table import build_label_table
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.labels.site.database import SiteDatabase, assignments, faces
from selfai_pipeline.labels.site.ratings import site_ratings
from selfai_pipeline.sources.gallery.sample import prepare_sample
from selfai_pipeline.sources.gallery.server import SERVED_FOLDER, gallery_folder
from selfai_pipeline.sources.gallery.settings import GallerySettings
from selfai_pipeline.sources.settings import FolderSource, RatingsFile, load_sources, save_sources
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DAY = "2026-02-03"
SITE_SETTINGS = "annotation_site: {repeat_share: 0, gold_share: 0, question: 'How do you like this face?'}\n"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def run_data_stages(home: Home, folder: Path) -> dict[str, float]:
    """Rendered portraits with aligned faces, and ratings by three in a file; image_id -> true score."""
    settings = GallerySettings(days=[DAY], portraits_per_day=24, picture_size=240)
    prepare_sample(home, settings)
    shutil.copytree(gallery_folder(home, settings) / SERVED_FOLDER / DAY, folder)
    said: dict[str, list[float]] = {}
    with (home.imports / "sample-gallery" / "ratings.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            said.setdefault(row["image"], []).append(float(row["score"]))
    generator = np.random.default_rng(0)
    with (folder.parent / "ratings.csv").open("w") as file:
        file.write("image,annotator,score\n")
        for name, scores in said.items():
            for annotator in ("x", "y", "z"):
                score = float(np.clip(np.median(scores) + generator.normal(0, 0.6), 0, 9))
                file.write(f"{name},{annotator},{score}\n")
    ratings = [RatingsFile(path=str(folder.parent / "ratings.csv"))]
    save_sources(home.sources_file, [FolderSource(name="mine", path=str(folder), day=DAY, ratings=ratings)])
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [*ALL_ASSETS, *ALL_CHECKS],
            selection=dg.AssetSelection.assets(*DAILY),
            instance=instance,
            resources=resources_for(Environment.SAMPLE, home),
            partition_key=DAY,
        )
    assert result.success
    tables = Store.open(home).tables
    known = {}
    for row in tables.read_all(tables.snapshot("raw_crawl"), ["image_id", "url"]).to_pylist():
        name = row["url"].rpartition("/")[2].removeprefix("file:")
        if name in said:
            known[row["image_id"]] = float(np.median(said[name]))
    return known


@dataclass
class Place:
    """A served site: its address, its home, and the true score of each picture."""

    url: str
    home: Home
    truth: dict[str, float]
    environment: dict[str, str]
    troubles: list[str] = field(default_factory=list)

    def selfai(self, *arguments: str) -> str:
        command = [sys.executable, "-c", "from selfai_pipeline.cli import main; main()", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def link(self, name: str, *options: str) -> str:
        return self.selfai("invite", name, "--url", self.url, *options)

    def true_score(self, token: str) -> int:
        """What an honest annotator says to the face that is shown."""
        shown = sa.select(faces.c.image_id).join(assignments, assignments.c.face == faces.c.id)
        with SiteDatabase(self.home.annotations_url) as database, database.reading() as connection:
            return round(self.truth[str(connection.scalar(shown.where(assignments.c.token == token)))])

    def come(self, context: Any, link: str) -> Any:
        """A tab of somebody who follows their link; what the browser complains about is remembered."""
        page = context.new_page()
        page.on("console", lambda said: self.troubles.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.goto(link)
        page.get_by_role("button", name="Begin").click()
        return page


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> tuple[Home, dict[str, float]]:
    """A home with aligned faces, and the true score of each picture; the site's tests work on copies."""
    folder = tmp_path_factory.mktemp("annotating")
    home = Home.at(folder / "home").create()
    truth = run_data_stages(home, folder / "pictures")
    home.settings_file.write_text(SITE_SETTINGS)
    return home, truth


@pytest.fixture
def place(aligned: tuple[Home, dict[str, float]], tmp_path: Path, port: int) -> Iterator[Place]:
    """`selfai annotate`, on a free port."""
    prepared, truth = aligned
    home = Home.at(shutil.copytree(prepared.root, tmp_path / "served"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SELFAI_", "DAGSTER_"))}
    environment = {**kept, "SELFAI_HOME": str(home.root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from selfai_pipeline.cli import main; main()"]
    process = subprocess.Popen([*command, "annotate", "--port", str(port)], env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        while not is_answered(f"{url}/static/site.css"):
            assert process.poll() is None
            time.sleep(0.1)
        yield Place(url, home, truth, environment)
    finally:
        process.terminate()
        process.wait(timeout=30)


def is_answered(url: str) -> bool:
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def test_two_people_score_until_nothing_is_left_and_the_careless_one_is_flagged(
    place: Place, browser: Any
) -> None:
    desk, phone = browser.new_context(), browser.new_context(**PHONE)
    careful, careless = (
        place.come(desk, place.link("ann", "--group", "north")),
        place.come(phone, place.link("bo")),
    )
    boss = place.come(browser.new_context(), place.link("boss", "--admin"))
    careful.get_by_role("heading", name="How do you like this face?").wait_for()

    # The last answer is taken back by its key, and given anew.
    first = shown_on(careful)
    press(careful, "0")
    careful.get_by_text("Your last answer: 0.").wait_for()
    press(careful, "u")
    assert shown_on(careful) == first

    counts = {"ann": 0, "bo": 0}
    while counts["ann"] + counts["bo"] < 200:
        for name, page in (("ann", careful), ("bo", careless)):
            token = shown_on(page)
            if token and name == "ann":
                press(page, str(place.true_score(token)))
            elif token:
                page.get_by_role("button", name="5", exact=True).tap()
                page.wait_for_load_state()
            counts[name] += bool(token)
        if not (shown_on(careful) or shown_on(careless)):
            break
    faces_here = len(site_ratings(place.home) or []) // 2
    assert faces_here >= 12
    assert counts == {"ann": faces_here, "bo": faces_here}

    boss.reload()
    boss.get_by_text(f"{faces_here} of {faces_here} faces have the wanted 2 annotators").wait_for()
    assert place.troubles == []

    everything, flagged = label_table(place)
    assert flagged == {"annotators": 1, "tested": 5, "share": 0.2, "left_out": False}
    without, _ = label_table(place, only=lambda one: one.annotator == "ann")
    left_out, flagged = label_table(place, leave_out_flagged=True)
    assert flagged["left_out"]
    assert left_out == without != everything


def label_table(
    place: Place, *, only: Callable[[Any], bool] = lambda _: True, leave_out_flagged: bool = False
) -> tuple[dict[str, float], dict[str, Any]]:
    """Score by picture, and who was flagged, in a label table of the file's and the site's ratings."""
    store = Store.open(place.home)
    from_site = [one for one in site_ratings(place.home) or [] if only(one)]
    ref: TableRef = collect_annotations(
        store.tables.snapshot("raw_crawl"),
        sources=load_sources(place.home.sources_file),
        store=store,
        from_site=from_site,
    )
    settings = LabelSettings(leave_out_flagged=leave_out_flagged, least_rows=2)
    table = build_label_table(ref, store.tables.snapshot("aligned_faces"), store=store, settings=settings)
    rows = store.tables.read(table, ["image_id", "score"]).to_pylist()
    return {row["image_id"]: row["score"] for row in rows}, store.tables.facts(table)["flagged"]


def wait_until_drawn(picture: Any) -> None:
    """Wait until a picture's bytes came and could be read.

    `decode` settles in the page itself; Playwright's `wait_for_function` would evaluate a string there, which
    the site's content security policy forbids.
    """
    picture.wait_for()
    picture.evaluate("picture => picture.decode()")


def shown_on(page: Any) -> str:
    """The token of the face on a page, once it can be seen; empty where nothing is left."""
    page.locator("h1").wait_for()
    if page.locator("#face").count() == 0:
        return ""
    wait_until_drawn(page.locator("#face"))
    return str(page.locator("#scores input[name=token]").input_value())


def press(page: Any, key: str) -> None:
    """Press a key that leads to another page."""
    with page.expect_navigation():
        page.keyboard.press(key)


def test_it_can_be_used_on_a_phone_without_a_mouse_and_without_scripts(place: Place, browser: Any) -> None:
    context = browser.new_context(**PHONE, java_script_enabled=False)
    page = place.come(context, place.link("cleo"))
    page.get_by_role("img", name="The face to score").wait_for()
    buttons = page.get_by_role("group", name="How do you like this face?").get_by_role("button")
    assert buttons.count() == 10
    for box in [button.bounding_box() for button in buttons.all()]:
        assert box["height"] >= 44
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["y"] + box["height"] <= 844
    page.get_by_role("button", name="9, highest").tap()
    page.get_by_text("Your last answer: 9.").wait_for()
    page.get_by_role("button", name="Take my last answer back").tap()
    page.get_by_text("Skip this face").tap()
    page.get_by_role("button", name="More than one person").tap()
    page.get_by_text("Your last answer: More than one person.").wait_for()
    # The first Tab stop of the page is a score; Enter sends what has the focus.
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("Your last answer: 0.").wait_for()
    page.get_by_role("button", name="Sign out").tap()
    page.get_by_role("heading", name="You are signed out").wait_for()


def test_keys_can_be_switched_off_for_those_whom_they_hinder(place: Place, browser: Any) -> None:
    page = place.come(browser.new_context(), place.link("dora"))
    token = shown_on(page)
    page.get_by_role("button", name="Keys are on").click()
    page.get_by_role("button", name="Keys are off").wait_for()
    page.keyboard.press("7")
    page.reload()
    assert shown_on(page) == token
    page.get_by_role("button", name="Keys are off").click()
    page.keyboard.press("Control+7")
    assert shown_on(page) == token
    press(page, "7")
    page.get_by_text("Your last answer: 7.").wait_for()
    assert place.troubles == []


def test_a_key_that_is_held_down_scores_one_face(place: Place, browser: Any) -> None:
    page = place.come(browser.new_context(), place.link("fay"))
    shown_on(page)
    with page.expect_navigation():
        page.keyboard.down("7")
    token = shown_on(page)
    for _ in range(5):
        page.keyboard.down("7")
    page.reload()
    assert shown_on(page) == token
    page.get_by_text("1 answered by fay").wait_for()
    page.keyboard.up("7")
    press(page, "7")
    page.get_by_text("2 answered by fay").wait_for()


def test_a_face_that_cannot_be_shown_is_said_and_not_scored(place: Place, browser: Any) -> None:
    store = Store.open(place.home)
    for row in store.tables.read_all(store.tables.snapshot("aligned_faces"), ["crop_sha256"]).to_pylist():
        if row["crop_sha256"] is not None:
            store.crops.delete(row["crop_sha256"])
    page = place.come(browser.new_context(), place.link("gus"))
    page.get_by_role("status").filter(has_text="The face cannot be shown").wait_for()
    page.keyboard.press("7")
    page.get_by_role("button", name="7", exact=True).click()
    page.get_by_text("That answer came too late").wait_for()
    assert not site_ratings(place.home)


def test_a_report_reaches_the_administrator_at_once(place: Place, browser: Any) -> None:
    page = place.come(browser.new_context(), place.link("emil"))
    boss = place.come(browser.new_context(), place.link("chief", "--admin"))
    page.get_by_text("Skip this face").click()
    with page.expect_navigation():
        page.get_by_role("button", name="Looks under age").click()
    boss.reload()
    report = boss.locator("article").filter(has_text="Looks under age (emil)")
    report.get_by_text("Show the picture").click()
    wait_until_drawn(report.get_by_role("img"))
    report.get_by_role("button", name="Keep it out").click()
    boss.get_by_role("heading", name="Progress").wait_for()
    assert boss.locator("article").count() == 0
    assert place.troubles == []
