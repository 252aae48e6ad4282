"""The report in a real browser: quiet, readable on a phone, reached by keyboard, whatever names it shows."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from selfai_pipeline.evaluation.champion import Champion
from selfai_pipeline.evaluation.report import evaluate, write_report
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.training.settings import ComputeSettings

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = '"><script>console.error(1)</script><img src=http://192.0.2.1/x onerror=alert(1)>'
ENDLESS = "group" * 40
BIDIRECTIONAL = "\N{RIGHT-TO-LEFT OVERRIDE}edirrevo"

FAINT = """
() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const linear = value => value <= 10 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.body.querySelectorAll('*')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [one, other] = [luminance(parse(style.color)), luminance(behind(element))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) faint.push([element.tagName, element.textContent.slice(0, 40), ratio]);
  }
  return faint;
}
"""
"""Texts below the contrast of 4.5 that WCAG 2.2 (1.4.3, AA) asks for."""

OUTSIDE = """
() => [...document.body.querySelectorAll('*')]
  .filter(element => element.checkVisibility() && !element.closest('.wide, .skip, .stack thead'))
  .filter(element => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(element => element.tagName + ' ' + element.className)
"""

TINY = """
() => [...document.body.querySelectorAll('main *')]
  .filter(element => [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()))
  .filter(element => parseFloat(getComputedStyle(element).fontSize) < 12)
  .map(element => element.tagName + ' ' + element.textContent.slice(0, 40))
"""


@pytest.fixture
def report(make_world: Any, settings: EvaluationSettings, compute: ComputeSettings) -> Path:
    """A report with groups, a champion and a source of hostile names."""
    scores = np.random.default_rng(0).uniform(0.5, 8.5, 160).round(2).tolist()
    names = [HOSTILE] * 64 + [ENDLESS] * 64 + [BIDIRECTIONAL] * 32
    further: dict[str, Any] = {"groups": names, "source": HOSTILE}
    former = make_world(scores, change=lambda network: network.head.weight.mul_(0.2), **further)
    world = make_world(scores, **further)
    options: dict[str, Any] = {
        "store": world.store,
        "settings": settings.model_copy(update={"subgroup_least_faces": 8}),
        "compute": compute,
    }
    evaluation = evaluate(world.scorer, world.labels, **options)
    champion = Champion(former.scorer, HOSTILE)
    return write_report(evaluation, scorer=world.scorer, labels=world.labels, champion=champion, **options)


@pytest.fixture
def opened(open_alone: Callable[..., "Page"], report: Path) -> "Page":
    """The page at the width of a phone."""
    return open_alone(report.as_uri(), width=360, height=740)


def test_every_picture_is_there_and_says_what_it_shows(opened: "Page") -> None:
    pictures = opened.locator("img")
    assert pictures.count() > 20
    assert pictures.evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 0)")
    assert pictures.evaluate_all("all => all.every(one => one.alt.length > 20)")
    assert opened.locator("script").count() == 0
    assert opened.get_by_text(HOSTILE).count() >= 3, "in the groups, the sources and as champion"


def test_it_is_read_at_any_width_without_scrolling_sideways(opened: "Page") -> None:
    opened.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    overflowing = "all => all.filter(one => one.scrollWidth > one.clientWidth).length"
    for width in (320, 360, 1200):
        opened.set_viewport_size({"width": width, "height": 740})
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.evaluate(OUTSIDE) == []
        assert opened.evaluate(TINY) == []
        assert opened.evaluate(FAINT) == []
        rows = opened.get_by_role("row").filter(has_text="SCUT-FBP5500")
        assert rows.count() == 5, "rows stay rows where they are stacked"
        assert width > 700 or opened.locator(".wide").evaluate_all(overflowing) == 0


def test_it_is_reached_by_keyboard_and_shows_where_one_is(opened: "Page") -> None:
    opened.keyboard.press("Tab")
    skip = opened.locator(".skip")
    assert skip.evaluate("element => element === document.activeElement")
    assert skip.bounding_box()["x"] >= 0, "it comes into view"
    assert skip.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
    opened.get_by_role("navigation").get_by_role("link", name="Intervals").press("Enter")
    assert opened.evaluate("location.hash") == "#intervals"
    regions = opened.locator(".wide")
    assert regions.count() >= 4
    assert regions.evaluate_all("all => all.every(one => one.tabIndex === 0 && one.ariaLabel)")
    headings = opened.locator("h1, h2, h3").evaluate_all("all => all.map(one => Number(one.tagName[1]))")
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))
