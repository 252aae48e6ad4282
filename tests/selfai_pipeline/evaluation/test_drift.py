"""Scores and quality by crawl day: read from the versions that the label table was made from."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from selfai_pipeline.evaluation.drift import Drift, drift_of, shift_of
from selfai_pipeline.evaluation.report import evaluate, write_report
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.schemas import TABLES
from selfai_pipeline.tables import Record, TableRef
from selfai_pipeline.training.scorer import Scorer
from selfai_pipeline.training.settings import ComputeSettings

DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]


def face_row(row: dict[str, Any], *, crop: bool = True) -> dict[str, Any]:
    return dict.fromkeys(TABLES["aligned_faces"].names) | {
        "image_id": row["image_id"],
        "face": 0 if crop else -1,
        "source": "faces",
        "url": "file:x",
        "reason": None if crop else "no_face",
        "faces_found": int(crop),
        "detection_score": 0.99 if crop else None,
        "sharpness": 250.0 if crop else None,
        "crop_sha256": row["crop_sha256"] if crop else None,
    }


def pruned_row(row: dict[str, Any], *, kept: bool = True, brightness: float | None = 100.0) -> dict[str, Any]:
    return dict.fromkeys(TABLES["pruned_set"].names) | {
        "image_id": row["image_id"],
        "url": "file:x",
        "source": "faces",
        "kept": kept,
        "reason": None if kept else "blurred",
        "orientation": 1,
        "brightness": brightness,
        "blur": 50.0,
    }


@pytest.fixture
def crawled(make_world: Any) -> Any:
    """A world of 90 faces, 30 a day, whose label table has a record of the days; brighter on the last one."""
    generator = np.random.default_rng(2)
    scores = np.concatenate([generator.uniform(1, 6, 60), generator.uniform(5, 8.5, 30)]).round(2).tolist()
    world = make_world(scores)
    tables = world.store.tables
    rows = tables.read(world.labels).to_pylist()
    versions = {}
    for number, day in enumerate(DAYS):
        own = rows[30 * number : 30 * number + 30]
        for row in own:
            row["partition"] = day
        lost = {"image_id": f"{number + 500:064x}", "crop_sha256": None}
        pictures = [pruned_row(row, brightness=100.0 + 20 * number) for row in own]
        pictures += [pruned_row(lost, kept=False, brightness=None)]
        pruned = tables.write(pictures, asset="pruned_set", partition=day)
        aligned = tables.write(
            [*(face_row(row) for row in own), face_row(lost, crop=False)],
            asset="aligned_faces",
            partition=day,
        )
        tables.point(Record(pruned, code_version="1", settings={}, inputs={}))
        made_from = {"pruned_set": {day: pruned.sha256}}
        tables.point(Record(aligned, code_version="1", settings={}, inputs=made_from))
        versions[day] = aligned.sha256
    labels = tables.write(rows, asset="balanced_label_table", facts=tables.facts(world.labels))
    tables.point(Record(labels, code_version="1", settings={}, inputs={"aligned_faces": versions}))
    return replace(world, labels=labels)


@pytest.fixture
def drift(settings: EvaluationSettings, compute: ComputeSettings) -> Callable[..., Drift]:
    def find(world: Any, labels: TableRef | None = None, **changes: Any) -> Drift:
        return drift_of(
            labels or world.labels,
            scorer=Scorer.load(world.scorer, store=world.store, compute=compute),
            ref=world.scorer,
            store=world.store,
            settings=settings.model_copy(update=changes),
        )

    return find


def test_a_day_has_its_pictures_scores_ratings_and_quality(crawled: Any, drift: Any) -> None:
    found = drift(crawled)
    assert [day.day for day in found.days] == DAYS
    assert [(day.pictures, day.kept, day.faces, day.scored, day.rated) for day in found.days] == [
        (31, 30, 30, 30, 30)
    ] * 3
    assert [day.quality for day in found.days] == [
        {"brightness": 100.0 + 20 * number, "blur": 50.0, "sharpness": 250.0, "detection_score": 0.99}
        for number in range(3)
    ]
    rows = crawled.store.tables.read(crawled.labels).to_pylist()
    for day in found.days:
        crowd = [row["score"] for row in rows if row["partition"] == day.day]
        assert day.crowd == pytest.approx(np.mean(crowd))
        assert day.mean == pytest.approx(day.crowd, abs=0.6), "the network was fitted to these faces"
    assert (found.earlier_days, found.missing_days, found.reason) == (0, 0, "")


def test_a_day_unlike_the_others_stands_out_and_the_others_do_not(crawled: Any, drift: Any) -> None:
    last = drift(crawled).days[-1]
    assert last.unusual
    assert last.shift > 1
    alike = drift(crawled, drift_days=1)
    assert [day.shift for day in alike.days] == [None], "one day has nothing beside it"
    assert alike.earlier_days == 2


def test_only_some_faces_of_a_day_are_scored_and_the_same_ones_again(crawled: Any, drift: Any) -> None:
    first, second = drift(crawled, drift_faces=7), drift(crawled, drift_faces=7)
    assert [(day.faces, day.scored, day.shift) for day in first.days] == [(30, 7, None)] * 3
    assert first == second


@pytest.mark.parametrize(
    ("faces", "sentence"),
    [
        (30, "Unlike the others: "),
        (7, "Nothing is said of 3\N{NO-BREAK SPACE}days: fewer than 15 faces were scored there"),
    ],
)
def test_the_page_says_of_which_days_nothing_is_known(
    crawled: Any, settings: EvaluationSettings, compute: ComputeSettings, faces: int, sentence: str
) -> None:
    options: dict[str, Any] = {
        "store": crawled.store,
        "settings": settings.model_copy(update={"drift_faces": faces}),
        "compute": compute,
    }
    evaluation = evaluate(crawled.scorer, crawled.labels, **options)
    page = write_report(evaluation, scorer=crawled.scorer, labels=crawled.labels, **options).read_text(
        "utf-8"
    )
    assert sentence in page
    assert "No day stands out" not in page
    assert ("Nothing is said of" in page) == (faces == 7)


def test_a_day_that_is_gone_is_counted_not_scored(crawled: Any, drift: Any) -> None:
    tables = crawled.store.tables
    gone = tables.current("aligned_faces", DAYS[0]).ref
    crawled.store.files.local_path(tables.path(gone)).unlink()
    found = drift(crawled)
    assert [day.day for day in found.days] == DAYS[1:]
    assert found.missing_days == 1
    assert set(found.made_from) == set(DAYS[1:])


def test_the_versions_are_those_behind_the_labels_not_todays(crawled: Any, drift: Any) -> None:
    tables = crawled.store.tables
    before = drift(crawled)
    now = tables.write([], asset="aligned_faces", partition=DAYS[1])
    tables.point(Record(now, code_version="2", settings={}, inputs={}))
    assert drift(crawled) == before


def test_without_a_record_or_switched_off_the_reason_is_given(world: Any, crawled: Any, drift: Any) -> None:
    assert drift(world, world.labels).reason.startswith("no record names the crawl days")
    assert drift(crawled, drift_faces=0).reason.startswith("it is switched off")
    assert drift(crawled, drift_days=0).to_dict()["days"] == []


def test_chance_rarely_makes_a_day_look_different() -> None:
    generator = np.random.default_rng(0)
    chances = [shift_of(generator.normal(5, 2, 40), generator.normal(5, 2, 400))[1] for _ in range(300)]
    assert np.mean(np.array(chances) < 0.05) == pytest.approx(0.05, abs=0.04)
    shift, chance = shift_of(generator.normal(6, 2, 60), generator.normal(5, 2, 400))
    assert shift == pytest.approx(0.5, abs=0.3)
    assert chance < 0.05


def test_few_or_equal_scores_say_nothing() -> None:
    assert shift_of(np.ones(14), np.ones(100)) == (None, 1.0)
    assert shift_of(np.ones(20), np.full(20, 1.0)) == (None, 1.0)
