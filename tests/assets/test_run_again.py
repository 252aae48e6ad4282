"""`selfai run` again: what is out of date is made anew, what failed stops it again, the rest stays."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from assets.ablation_run import ablation_run
from assets.annotations import annotations
from assets.balanced_label_table import balanced_label_table
from assets.evaluation_report import evaluation_report
from assets.graph import DAILY, MODELS, days_behind, is_current, stale_assets, stale_days
from assets.pruned_set import pruned_set
from assets.raw_crawl import raw_crawl
from selfai_pipeline.cli import commands, materialize_stale
from selfai_pipeline.errors import InputError, SelfaiError
from selfai_pipeline.home import Home
from selfai_pipeline.lineage.promotions import Champion
from selfai_pipeline.sources.settings import RatingsFile, load_sources
from selfai_pipeline.tables import WHOLE

MEND = "What was made is kept, and nothing after it was run."


@pytest.fixture
def run(
    on_the_command_line: Callable[[Home], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """`selfai run` up to the labels, or the models: what it printed, or the sentences it stopped with."""

    def run_stale(work: Any, *, days: Sequence[str] | None = None, models: bool = False) -> str:
        on_the_command_line(work.home)
        if not models:
            monkeypatch.setattr("assets.graph.MODELS", [])
        monkeypatch.setattr("assets.graph.RELEASE", [])
        capsys.readouterr()
        try:
            materialize_stale(work.home, [work.day] if days is None else list(days))
        except SelfaiError as stopped:
            return str(stopped)
        return capsys.readouterr().out

    return run_stale


def runs_so_far() -> int:
    with dg.DagsterInstance.get() as instance:
        return instance.get_runs_count()


@pytest.fixture
def failing(work: Any, picture: Callable[..., bytes]) -> Any:
    """The workplace with a folder of which most files cannot be read."""
    (work.folder / "good.png").write_bytes(picture())
    for number in range(3):
        (work.folder / f"link-{number}.png").symlink_to(work.folder / "nowhere")
    return work


def test_a_failed_check_stops_every_run_until_it_is_mended(failing: Any, run: Callable[..., str]) -> None:
    first = run(failing)
    assert first.startswith(
        f"raw_crawl, {failing.day}: its check of quality_floor failed: "
        "3 of 4 fetches failed, where half is too many.\n"
    )
    assert MEND in first
    assert first.count("quality_floor") == 1
    assert run(failing) == first
    assert runs_so_far() == 2
    assert failing.store.tables.current("pruned_set", failing.day) is None

    for number in range(3):
        (failing.folder / f"link-{number}.png").unlink()
    run(failing)
    assert is_current(raw_crawl, failing.day, store=failing.store)
    assert failing.record("pruned_set", failing.day).ref.rows == 1


def test_without_any_ratings_a_run_ends_with_the_faces_and_says_how_to_go_on(
    work: Any, run: Callable[..., str], picture: Callable[..., bytes]
) -> None:
    (work.folder / "good.png").write_bytes(picture())
    assert "`selfai annotate` has people score the faces" in run(work)
    assert is_current(pruned_set, work.day, store=work.store)
    assert work.store.tables.current("annotations") is None


def test_the_labels_leave_out_a_day_whose_faces_failed_their_checks(
    labelled: Any, run: Callable[..., str], errors: Any
) -> None:
    assert labelled.materialize(balanced_label_table).success
    ref = labelled.record("aligned_faces", labelled.day).ref
    labelled.store.tables.judge(ref, {"quality_floor": False})
    result = labelled.materialize(balanced_label_table)
    assert "aligned_faces: no day has passed its checks" in errors(result)

    labelled.store.tables.judge(ref, {"quality_floor": True})
    later = labelled.source(name="later", path=str(labelled.folder / "none"), day=labelled.next_day)
    (labelled.folder / "none").mkdir()
    labelled.declare(*load_sources(labelled.home.sources_file), later)
    assert labelled.materialize(*DAILY, days=[labelled.next_day]).success
    empty = labelled.record("aligned_faces", labelled.next_day).ref
    labelled.store.tables.judge(empty, {"sanity": False})
    (made,) = labelled.materialize(balanced_label_table).get_asset_materialization_events()
    assert made.materialization.metadata["days_left_out"].value == [labelled.next_day]
    assert labelled.record("balanced_label_table").inputs["aligned_faces"] == {labelled.day: ref.sha256}
    assert is_current(balanced_label_table, WHOLE, store=labelled.store)
    labelled.store.tables.judge(empty, {"sanity": True})
    assert not is_current(balanced_label_table, WHOLE, store=labelled.store)


def test_a_version_that_was_never_judged_is_out_of_date(labelled: Any) -> None:
    ref = labelled.record("pruned_set", labelled.day).ref
    assert is_current(pruned_set, labelled.day, store=labelled.store)
    labelled.store.tables.judge(ref, {"sanity": False})
    assert not is_current(pruned_set, labelled.day, store=labelled.store)
    path = f"tables/pruned_set/{labelled.day}/verdicts/{ref.sha256}.json"
    (labelled.home.root / path).unlink()
    assert not is_current(pruned_set, labelled.day, store=labelled.store)
    assert stale_days([labelled.day], store=labelled.store) == [labelled.day]


def test_ratings_that_fail_keep_the_labels_from_being_made(labelled: Any, run: Callable[..., str]) -> None:
    text = labelled.ratings.read_text()
    labelled.ratings.write_text(text.replace(labelled.day.replace("-", ""), "lost"))
    first = run(labelled)
    assert first.startswith(
        "annotations: its check of completeness failed: 0 ratings.\nannotations: its check"
    )
    assert MEND in first
    assert run(labelled) == first
    assert labelled.store.tables.current("balanced_label_table") is None

    labelled.ratings.write_text(text)
    assert "then: annotations, balanced_label_table" in run(labelled)
    assert "nothing had changed" in run(labelled)


def test_a_step_that_fails_is_named_with_the_mend(labelled: Any, run: Callable[..., str]) -> None:
    labelled.ratings.write_text("image,score\n")
    stopped = run(labelled)
    assert stopped.startswith("annotations: ")
    assert "ratings.csv" in stopped
    assert MEND not in stopped


def test_a_changed_folder_is_noticed_and_read(labelled: Any, run: Callable[..., str]) -> None:
    assert stale_days([labelled.day], store=labelled.store) == []
    portrait = next(path for path in sorted(labelled.folder.iterdir()) if path.suffix == ".png")
    before = labelled.by_name("raw_crawl", labelled.day)

    shutil.copyfile(portrait, labelled.folder / "new.png")
    assert stale_days([labelled.day], store=labelled.store) == [labelled.day]
    run(labelled)
    assert set(labelled.by_name("raw_crawl", labelled.day)) - set(before) == {"new.png"}
    assert stale_days([labelled.day], store=labelled.store) == []

    other = next(path for path in sorted(labelled.folder.iterdir()) if path.suffix == ".jpg")
    shutil.copyfile(other, labelled.folder / "new.png")
    run(labelled)
    rows = labelled.by_name("raw_crawl", labelled.day)
    assert rows["new.png"]["image_id"] == rows[other.name]["image_id"]


def test_a_day_that_nothing_names_is_not_crawled_again_and_what_stands_on_it_is_made_again(
    labelled: Any, run: Callable[..., str], picture: Callable[..., bytes]
) -> None:
    """A web page's days after a removal, or with a newer code version."""
    run(labelled, days=())
    crawl = labelled.record("raw_crawl", labelled.day).ref
    pruned = labelled.record("pruned_set", labelled.day).ref
    (labelled.folder / "another.png").write_bytes(picture())
    assert days_behind(labelled.store) == []
    assert "nothing had changed" in run(labelled, days=())

    verdicts = f"tables/pruned_set/{labelled.day}/verdicts/{pruned.sha256}.json"
    (labelled.home.root / verdicts).unlink()
    assert days_behind(labelled.store) == [labelled.day], "it was never judged"
    printed = run(labelled, days=())
    assert f"prune, align: {labelled.day}" in printed
    assert "crawl, prune" not in printed
    assert labelled.record("raw_crawl", labelled.day).ref == crawl
    assert days_behind(labelled.store) == []

    labelled.store.tables.judge(pruned, {"sanity": False})
    assert days_behind(labelled.store) == [], "it would fail again, and stop every run"

    (labelled.home.root / verdicts).unlink()
    labelled.store.tables.judge(crawl, {"quality_floor": False})
    assert days_behind(labelled.store) == [], "nothing is built on a crawl that failed"


def test_a_passing_failure_is_tried_again_by_the_next_run(labelled: Any, run: Callable[..., str]) -> None:
    (labelled.folder / "link.jpg").symlink_to(labelled.folder / "nowhere")
    run(labelled)
    assert labelled.by_name("raw_crawl", labelled.day)["link.jpg"]["reason"] == "unreadable"
    assert stale_days([labelled.day], store=labelled.store) == [labelled.day]
    (labelled.folder / "link.jpg").unlink()
    run(labelled)
    assert stale_days([labelled.day], store=labelled.store) == []


def test_another_source_of_another_day_leaves_a_day_as_it_is(labelled: Any, tmp_path: Path) -> None:
    mine = labelled.source(ratings=[RatingsFile(path=str(labelled.ratings))])
    other = labelled.source(name="other", path=str(tmp_path), day=labelled.next_day)
    labelled.declare(mine, other)
    assert stale_days([labelled.day], store=labelled.store) == []
    labelled.declare(mine.model_copy(update={"licence": "CC0"}))
    assert stale_days([labelled.day], store=labelled.store) == [labelled.day]


def test_ratings_on_another_scale_make_the_ratings_out_of_date_and_no_day(labelled: Any) -> None:
    ratings = RatingsFile(path=str(labelled.ratings), maximum=10)
    assert stale_assets([annotations], store=labelled.store) == []
    labelled.declare(labelled.source(ratings=[ratings]))
    assert stale_days([labelled.day], store=labelled.store) == []
    assert stale_assets([annotations], store=labelled.store) == [annotations]


def test_a_new_version_with_the_bytes_of_the_old_one_ends_the_chain(
    labelled: Any, run: Callable[..., str]
) -> None:
    assert labelled.materialize(balanced_label_table).success
    labelled.pretend(MODELS)
    assert "nothing had changed" in run(labelled, models=True)
    header, *lines = labelled.ratings.read_text().splitlines()
    labelled.ratings.write_text("\n".join([header, *reversed(lines), ""]))
    printed = run(labelled, models=True)
    assert "then: annotations, balanced_label_table\n" in printed
    assert "siamese_checkpoint" not in printed


def test_the_report_follows_the_champion_that_it_stands_beside(
    labelled: Any, move_champion: Callable[..., None]
) -> None:
    labelled.pretend([balanced_label_table, *MODELS])
    store = labelled.store
    own, other, third = (Champion(version, str(version - 1) * 64) for version in (1, 2, 3))
    move_champion(store, own)
    assert stale_assets(MODELS, store=store) == [], "a scorer is not compared with itself"
    move_champion(store, other)
    assert stale_assets(MODELS, store=store) == [evaluation_report]
    labelled.pretend([evaluation_report])
    move_champion(store, own)
    assert stale_assets(MODELS, store=store) == [], "back at the scorer itself it is the same comparison"
    move_champion(store, third)
    assert stale_assets(MODELS, store=store) == [evaluation_report]


def test_the_report_follows_the_arms_that_its_curve_is_drawn_from(labelled: Any) -> None:
    labelled.pretend([balanced_label_table, *MODELS])
    labelled.pretend([ablation_run], "scratch")
    assert stale_assets(MODELS, store=labelled.store) == [], "it is no point of the curve"
    labelled.pretend([ablation_run], "share_8")
    assert stale_assets(MODELS, store=labelled.store) == [evaluation_report]
    labelled.pretend([evaluation_report])
    assert stale_assets(MODELS, store=labelled.store) == []


def test_runs_whose_process_is_gone_are_closed_first(
    labelled: Any, run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []

    def close(instance: dg.DagsterInstance) -> list[str]:
        closed.append(instance.get_runs_count())
        return []

    monkeypatch.setattr("resources.instance.close_dead_runs", close)
    run(labelled)
    assert closed == [0]


@pytest.mark.parametrize("day", ["2020-02-05", "2999-01-01"])
def test_an_import_on_a_day_that_the_graph_does_not_have_is_refused(
    work: Any, picture: Callable[..., bytes], day: str
) -> None:
    (work.folder / "good.png").write_bytes(picture())
    before = work.home.sources_file.read_text()
    result = CliRunner().invoke(commands, ["import", str(work.folder), "--day", day])
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"day {day}: it is no day from 2026-01-01 to ")
    assert work.home.sources_file.read_text() == before
