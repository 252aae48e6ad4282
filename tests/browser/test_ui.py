"""The Dagster UI, MLflow and the previews in a real browser, used as a person would."""

import contextlib
import re

import pytest
import yaml
from playwright.sync_api import TimeoutError as PageTimeout

from selfai_pipeline.lineage.registry import EXPERIMENT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

GROUPS = {
    "data": ["raw_crawl", "pruned_set", "aligned_faces"],
    "labels": ["annotations", "balanced_label_table"],
    "training": ["siamese_checkpoint", "widened_checkpoint", "finetuned_scorer"],
    "evaluation": ["evaluation_report"],
    "release": ["champion_comparison", "champion", "release_bundle"],
}
IS_LOADED = "image => image.complete && image.naturalWidth > 0"


def shown(asset: str) -> re.Pattern[str]:
    """The name of an asset in the graph, which may leave out the middle of a long one."""
    return re.compile(rf"^({asset}|{asset[:5]}\w*…\w*{asset[-3:]})$")


def test_the_lineage_graph_opens_by_group_and_shows_each_asset(person) -> None:
    # The front page leads on by itself, three times over, and undoes a click in between; on a busy machine
    # other pages do, too, so that one clicks again.
    with person.at("/runs") as page:
        for patience_milliseconds in (30_000, 60_000, 120_000):
            page.get_by_role("link", name="Lineage").first.click()
            with contextlib.suppress(PageTimeout):
                page.get_by_text(next(iter(GROUPS)), exact=True).first.wait_for(timeout=patience_milliseconds)
                break
        for group, assets in GROUPS.items():
            # What lies beyond the window is not drawn: the list of groups, left of it, moves it to one.
            page.get_by_text(group, exact=True).first.click()
            page.locator("svg").get_by_text(group, exact=True).first.click()
            for asset in assets:
                page.locator("svg").get_by_text(shown(asset)).first.wait_for()
        person.keep(page, "lineage")


def test_one_day_is_materialized_from_the_graph(person, first_day: str) -> None:
    with person.at(first_day) as page:
        page.get_by_text("3 assets").first.wait_for()
        page.get_by_text("12 checks").first.wait_for()
    for asset in GROUPS["data"]:
        assert person.served.store.tables.current(asset, "2026-01-01").ref.rows > 0


def test_a_backfill_of_three_days_succeeds_in_one_run(person, backfilled: str) -> None:
    with person.at(backfilled) as page:
        page.get_by_text("2026-01-02...2026-01-04").wait_for()
        page.get_by_text("100% completed").nth(2).wait_for()
        page.get_by_text("Runs", exact=True).last.click()
        page.get_by_text("Success", exact=True).first.wait_for()
        assert page.get_by_text("Success", exact=True).count() == 1
        person.keep(page, "runs-of-the-backfill")


@pytest.mark.parametrize(
    ("asset", "preview"), [("pruned_set", "thumbnails"), ("aligned_faces", "contact_sheet")]
)
def test_metadata_counts_the_pictures_and_leads_to_a_preview(
    person, backfilled: str, asset: str, preview: str
) -> None:
    with person.at(f"/assets/{asset}?view=partitions&partition=2026-01-03") as page:
        row = page.locator("tr").filter(has_text=preview)
        row.wait_for()
        page.locator("tr").filter(has_text="counts").first.wait_for()
        person.keep(page, f"metadata-of-{asset}")
        shown = person.follow(row.get_by_role("link").first)
        assert shown.url == f"{person.served.files}/previews/{asset}/2026-01-03.jpg"
        assert shown.locator("img").evaluate(IS_LOADED)
        person.keep(shown, preview)


@pytest.mark.parametrize("asset", ["siamese_checkpoint", "finetuned_scorer"])
def test_metadata_has_a_plot_of_the_learning_curve(person, trained: str, asset: str) -> None:
    with person.at(f"/assets/{asset}") as page:
        page.get_by_text("[Show Markdown]").click()
        plot = page.get_by_role("dialog").locator("img")
        plot.wait_for()
        assert plot.evaluate(IS_LOADED)
        person.keep(page, f"curve-of-{asset}")


def test_knobs_changed_in_the_launchpad_are_used(person, trained: str, knobs) -> None:
    """They stand in the run's configuration, and with the versions that were made."""
    with person.at(trained) as page:
        page.get_by_text("View tags and config").click()
        shown = page.get_by_role("dialog").locator(".CodeMirror")
        shown.wait_for()
        text = shown.evaluate("element => element.CodeMirror.getValue()")
        person.keep(page, "configuration-of-the-run")
    for asset, changed in knobs.items():
        used = yaml.safe_load(text)["ops"][asset]["config"]
        made_with = person.served.store.tables.current(asset).settings
        for knob, value in changed.items():
            assert used[knob] == made_with[knob] == value


def test_mlflow_has_the_changed_knobs_as_parameters(person, trained: str, knobs) -> None:
    with person.at("/assets/siamese_checkpoint") as page:
        run = person.follow(page.locator(f"a[href^='{person.served.mlflow}']").first)
        for knob, value in knobs["siamese_checkpoint"].items():
            run.get_by_placeholder("Search parameters").fill(knob)
            parameter = run.get_by_role("row").filter(has_text=knob).first
            parameter.wait_for()
            assert parameter.inner_text().split() == [knob, str(value)]
        person.keep(run, "mlflow-parameters")


def test_the_link_in_the_metadata_leads_to_the_run_in_mlflow_and_its_correlation_curve(
    person, trained: str, knobs
) -> None:
    with person.at("/assets/finetuned_scorer") as page:
        run = person.follow(page.locator(f"a[href^='{person.served.mlflow}']").first)
        run.get_by_text(EXPERIMENT, exact=True).first.wait_for()
        run.get_by_text("Finished", exact=True).wait_for()
        # The pages about training, not the ones about prompts.
        run.get_by_text("Model registry").first.wait_for()
        person.keep(run, "mlflow-run")
        run.get_by_text("Model metrics", exact=True).first.click()
        curve = run.get_by_text("finetuned_scorer (validation_pearson)").last
        curve.scroll_into_view_if_needed()
        chart = curve.locator("xpath=ancestor::*[.//*[contains(@class, 'js-plotly-plot')]][1]")
        epochs = knobs["finetuned_scorer"]["epochs"]
        chart.locator("path.point").nth(epochs - 1).wait_for()
        assert chart.locator("path.point").count() == epochs
        person.keep(run, "mlflow-curve")


def test_the_report_opens_from_the_metadata(person, trained: str) -> None:
    with person.at("/assets/evaluation_report") as page:
        report = person.follow(page.locator(f"a[href^='{person.served.files}/reports/']").first)
        report.get_by_text(re.compile("impression of a crowd")).first.wait_for()
        assert report.locator("img").count() > 0
        assert report.locator("img").evaluate_all(f"images => images.every({IS_LOADED})")
        person.keep(report, "report")


@pytest.mark.parametrize("asset", GROUPS["training"])
def test_the_audit_page_opens_from_the_metadata_of_a_training_asset(person, trained: str, asset: str) -> None:
    ref = person.served.store.tables.current(asset).ref
    with person.at(f"/assets/{asset}") as page:
        row = page.locator("tr").filter(has=page.get_by_text("audit", exact=True))
        audit = person.follow(row.get_by_role("link").first)
        assert audit.url == f"{person.served.files}/audit/{asset}/{ref.partition}/{ref.sha256}"
        said: list[str] = []
        audit.on("console", lambda message: said.append(message.text))
        audit.on("pageerror", lambda error: said.append(str(error)))
        audit.set_viewport_size({"width": 320, "height": 640})
        audit.reload()
        audit.get_by_role("heading", name=f"Audit of {asset}, {ref.sha256[:12]}").wait_for()
        audit.get_by_text(ref.sha256).first.wait_for()
        assert audit.evaluate("document.documentElement.scrollWidth") <= 320
        assert said == []
        audit.get_by_role("link", name="raw_crawl").click()
        assert audit.get_by_role("heading", name="raw_crawl").is_visible()
        person.keep(audit, f"audit-of-{asset}")
