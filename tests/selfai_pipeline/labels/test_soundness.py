"""A label table is held against what it was made from, its splits, and the version before."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from selfai_pipeline.labels.label_table import build_label_table
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.labels.soundness import (
    Condition,
    beside_training,
    beside_version_before,
    condition_of,
)
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CHECKS, Record, Snapshot, TableRef

Rating = tuple[str, str | None, float]


@pytest.fixture
def labelled(
    store: Store, annotated: Callable[..., TableRef], aligned: Callable[..., TableRef]
) -> Callable[..., tuple[TableRef, Record]]:
    """The current label table of ratings, judged as one that passed, with its record."""

    def make(
        rows: list[Rating], *, options: dict[str, Any] | None = None, **more: Any
    ) -> tuple[TableRef, Record]:
        settings = LabelSettings(**(options or {}))
        ratings, faces = annotated(rows, **more), aligned(sorted({name for name, _, _ in rows}))
        labels = build_label_table(
            ratings, Snapshot({faces.partition: faces}), store=store, settings=settings
        )
        inputs = {one.asset: {one.partition: one.sha256} for one in (ratings, faces)}
        record = Record(labels, code_version="", settings=settings.model_dump(mode="json"), inputs=inputs)
        store.tables.point(record)
        store.tables.judge(labels, dict.fromkeys(CHECKS, True))
        return labels, record

    return make


def test_every_row_leads_back_to_ratings_and_a_crop(
    labelled: Callable[..., tuple[TableRef, Record]], store: Store, crowd: Callable[..., list[Rating]]
) -> None:
    labels, record = labelled(crowd())
    found = condition_of(labels, record, store=store)
    assert (found.rows, found.untraced, found.crossing, found.outside, found.odd) == (60, 0, 0, 0, 0)
    assert found.weights == pytest.approx(1)
    assert found.known_errors == 60
    # The crops of these faces were never stored.
    assert found.lost == 60


@pytest.mark.parametrize(
    ("values", "amiss"),
    [
        ({"score": 9.5}, "odd"),
        ({"score": float("nan")}, "odd"),
        ({"class": 0, "score": 4.0}, "odd"),
        ({"standard_error": float("nan")}, "odd"),
        ({"standard_error": -0.1}, "odd"),
        ({"partition": "2026-01-02"}, "untraced"),
        ({"face": 1}, "untraced"),
        ({"image_id": "0" * 64}, "untraced"),
        ({"annotators": 1}, "one_annotator"),
    ],
)
def test_a_row_that_was_altered_is_counted(
    labelled: Callable[..., tuple[TableRef, Record]],
    store: Store,
    crowd: Callable[..., list[Rating]],
    values: dict[str, Any],
    amiss: str,
) -> None:
    labels, record = labelled(crowd())
    rows = store.tables.read(labels).to_pylist()
    spoilt = store.tables.write(
        [{**rows[0], **values}, *rows[1:]], asset=labels.asset, facts=store.tables.facts(labels)
    )
    before, found = (condition_of(one, record, store=store) for one in (labels, spoilt))
    names = ("odd", "untraced", "one_annotator", "unknown_counts", "crossing", "outside")
    assert {name: getattr(found, name) for name in names} == {
        name: getattr(before, name) + (name == amiss) for name in names
    }


@pytest.mark.parametrize("lost", ["annotations", "aligned_faces"])
def test_rows_of_other_versions_than_the_record_names_are_untraced(
    labelled: Callable[..., tuple[TableRef, Record]],
    store: Store,
    annotated: Callable[..., TableRef],
    aligned: Callable[..., TableRef],
    crowd: Callable[..., list[Rating]],
    lost: str,
) -> None:
    labels, record = labelled(crowd())
    fewer = crowd(pictures=50)
    other = annotated(fewer) if lost == "annotations" else aligned(sorted({one[0] for one in fewer}))
    inputs = {**record.inputs, lost: {other.partition: other.sha256}}
    changed = Record(labels, code_version="", settings=record.settings, inputs=inputs)
    assert condition_of(labels, changed, store=store).untraced == 10


def test_a_mean_without_a_count_is_no_single_annotator(
    labelled: Callable[..., tuple[TableRef, Record]], store: Store, crowd: Callable[..., list[Rating]]
) -> None:
    def counts(found: Condition) -> tuple[int, int]:
        return found.one_annotator, found.unknown_counts

    means: list[Rating] = [(name, None, score) for name, who, score in crowd() if who == "a0"]
    assert counts(condition_of(*labelled(means), store=store)) == (0, 60)
    known = {name: 30 for name, _, _ in means}
    assert counts(condition_of(*labelled(means, counts=known), store=store)) == (0, 0)
    alone = labelled(crowd(annotators=1), options={"least_annotators": 1})
    assert counts(condition_of(*alone, store=store)) == (60, 0)


def test_splits_that_were_drawn_are_alike_and_one_of_better_faces_is_not(
    labelled: Callable[..., tuple[TableRef, Record]], store: Store, crowd: Callable[..., list[Rating]]
) -> None:
    rows = crowd(pictures=400)
    drawn = beside_training(labelled(rows)[0], store=store)
    assert set(drawn) == {"validation", "test"}
    assert not any(one.differs for one in drawn.values())
    # The names of the pictures follow their scores.
    given = {name: {"split": "test" if name > "p300" else "train"} for name, _, _ in rows}
    chosen = beside_training(labelled(rows, attributes=given)[0], store=store)
    assert chosen["test"].differs
    assert not chosen["validation"].differs


def test_scores_are_compared_with_the_version_before_that_passed(
    labelled: Callable[..., tuple[TableRef, Record]], store: Store, crowd: Callable[..., list[Rating]]
) -> None:
    rows = crowd(pictures=200)
    first, _ = labelled(rows)
    assert beside_version_before(first, store=store) is None
    more, _ = labelled([*rows, *((f"new-{name}", who, score) for name, who, score in crowd(pictures=40))])
    found = beside_version_before(more, store=store)
    assert found is not None
    assert not found.differs
    milder = [(name, who, float(np.clip(score + 1.5, 0, 9))) for name, who, score in rows]
    moved, _ = labelled(milder)
    drift = beside_version_before(moved, store=store)
    assert drift is not None
    assert drift.differs
    assert drift.distance == pytest.approx(1.3, abs=0.2)
    # One that failed its checks is passed over.
    store.tables.judge(more, {"sanity": False})
    beside_first = beside_version_before(moved, store=store)
    assert beside_first is not None
    assert beside_first != drift


def test_a_version_before_that_is_lost_is_as_good_as_none(
    labelled: Callable[..., tuple[TableRef, Record]], store: Store, crowd: Callable[..., list[Rating]]
) -> None:
    first, _ = labelled(crowd(pictures=200))
    second, _ = labelled(crowd(pictures=210))
    assert beside_version_before(second, store=store) is not None
    store.files.local_path(store.tables.path(first)).unlink()
    assert beside_version_before(second, store=store) is None
