"""Takes the pictures of the documentation from the running sample, into docs/images.

Run `make demo`, then `make up` and, in another shell, `.venv/bin/selfai annotate`; then, beside them,
`.venv/bin/python docs/screenshots.py`.
"""

import io
import re
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, Route, sync_playwright

from assets.graph import ALL_ASSETS
from selfai_pipeline.annotate import PORT, PORT_SETTING
from selfai_pipeline.environment import Environment, current_environment, port_of
from selfai_pipeline.home import Home
from selfai_pipeline.labels.site.database import SiteDatabase
from selfai_pipeline.labels.site.people import invite
from selfai_pipeline.labels.site.tokens import load_key

IMAGES = Path(__file__).parent / "images"
LARGEST_BYTES = 300_000
LOCAL = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")


def lineage(page: Page, ui: str) -> None:
    """The whole graph, every group open."""
    groups = {group for asset in ALL_ASSETS for group in asset.group_names_by_key.values()}
    opened = ",".join(f"global@global:{group}" for group in sorted(groups))
    page.goto(f"{ui}/asset-groups?expanded={opened}")
    page.get_by_text("Hide navigation").click()
    # The graph is fitted into the window once, when the page opens.
    page.reload()
    # The demo materializes no ablations.
    checked = [asset for asset in ALL_ASSETS if "ablations" not in asset.group_names_by_key.values()]
    page.get_by_text(re.compile(r"^(\d+) / \1 Passed$")).nth(len(checked) - 1).wait_for()


def scorer(page: Page, ui: str) -> None:
    """The metadata of the scorer, with its learning curve."""
    page.goto(f"{ui}/assets/finetuned_scorer")
    page.get_by_text("[Show Markdown]").click()
    page.get_by_role("dialog").locator("img").wait_for()


def scoring(page: Page, ui: str) -> None:
    """A face on the annotation site, as an annotator sees it."""
    home = Home.from_environment()
    with SiteDatabase(home.annotations_url) as database:
        secret = invite(database, "ann", key=load_key(home.annotations_key), group="north")
    page.goto(f"http://127.0.0.1:{port_of(PORT_SETTING, PORT)}/join/{secret}")
    page.get_by_role("button", name="Begin").click()
    page.locator("#face").evaluate("picture => picture.decode()")


def main() -> None:
    if current_environment() is not Environment.SAMPLE:
        sys.exit("SELFAI_ENV: the pictures show the rendered sample only. Set it to sample.")
    program = shutil.which("chromium")
    if program is None:
        sys.exit("There is no chromium: apt-get install chromium")
    ui = f"http://127.0.0.1:{port_of('SELFAI_UI_PORT', 3000)}"
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        # In a narrower window the whole graph is so small that assets show their names alone.
        for take, width, height in ((lineage, 3200, 1500), (scorer, 1400, 900), (scoring, 780, 725)):
            context = browser.new_context(
                viewport={"width": width, "height": height}, service_workers="block", timezone_id="UTC"
            )
            context.route("**/*", admit)
            page = context.new_page()
            take(page, ui)
            # Pictures that still load, and what moves into its place.
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(1000)
            path = IMAGES / f"{take.__name__}.png"
            with Image.open(io.BytesIO(page.screenshot())) as taken:
                taken.convert("RGB").quantize(256).save(path, optimize=True)
            size = path.stat().st_size
            if size > LARGEST_BYTES:
                sys.exit(f"{path} takes {size} bytes, {LARGEST_BYTES} at most")
            print(f"{path}: {size / 1000:.0f} kB")
            context.close()
        browser.close()


def admit(route: Route) -> None:
    if route.request.url.startswith(LOCAL):
        route.continue_()
    else:
        route.abort()


if __name__ == "__main__":
    main()
