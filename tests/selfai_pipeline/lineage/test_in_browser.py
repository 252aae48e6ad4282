"""The audit page in a real browser, as `selfai up` serves it: quiet, readable on a phone."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from selfai_pipeline.serving.files import files_app

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = '"><script>console.error(1)</script><img src=http://192.0.2.1/x onerror=alert(1)>'
ENDLESS = "setting" * 40


@pytest.fixture
def address(whole: Any) -> Iterator[str]:
    """Of the audit page of a scorer, one of whose inputs was made with settings of hostile names."""
    labels = whole.current("balanced_label_table")
    whole.point(labels, [whole.current("annotations")], settings={HOSTILE: ENDLESS})
    server = uvicorn.Server(uvicorn.Config(files_app(whole.store.home), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server ended by itself"
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        scorer = whole.current("finetuned_scorer")
        yield f"http://127.0.0.1:{port}/audit/{scorer.asset}/{scorer.partition}/{scorer.sha256}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)


@pytest.fixture
def opened(open_alone: Callable[..., "Page"], address: str) -> "Page":
    """The page on the narrowest phone."""
    return open_alone(address, width=320, height=640)


def test_it_is_read_at_any_width_without_scrolling_sideways(opened: "Page", whole: Any) -> None:
    overflowing = "all => all.filter(one => one.scrollWidth > one.clientWidth).length"
    for width in (320, 360, 1200):
        opened.set_viewport_size({"width": width, "height": 640})
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert width > 700 or opened.locator(".wide").evaluate_all(overflowing) == 0
        row = opened.get_by_role("row").filter(has_text=whole.current("siamese_checkpoint").sha256)
        assert row.first.is_visible(), "rows stay rows where they are stacked"
    assert opened.get_by_text(HOSTILE).count() == 1
    assert opened.locator("script").count() == 0


def test_every_link_leads_to_a_section_with_something_in_it(opened: "Page") -> None:
    links = opened.get_by_role("navigation").get_by_role("link")
    assert links.count() >= 10
    for link in links.all():
        link.click()
        target = opened.locator(f"{link.get_attribute('href')}:target")
        assert target.inner_text() == link.inner_text()
        assert target.locator("xpath=following-sibling::*").count() >= 1
    hrefs = opened.locator("a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert all(href.startswith("#") for href in hrefs), "a page that is sent on leads nowhere else"
