"""Independent checks of an evaluation find what is wrong with it."""

from typing import Any

import pytest

from selfai_pipeline.errors import AlteredVersion
from selfai_pipeline.evaluation.report import evaluate
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.evaluation.soundness import faces_without_score, largest_difference
from selfai_pipeline.tables import TableRef
from selfai_pipeline.training.settings import ComputeSettings


@pytest.fixture
def evaluation(world: Any, settings: EvaluationSettings, compute: ComputeSettings) -> TableRef:
    return evaluate(world.scorer, world.labels, store=world.store, settings=settings, compute=compute)


def changed(world: Any, evaluation: TableRef, change: Any) -> TableRef:
    """The evaluation with other rows and the same facts."""
    rows = change(world.store.tables.read(evaluation).to_pylist())
    facts = world.store.tables.facts(evaluation)
    ref: TableRef = world.store.tables.write(rows, asset=evaluation.asset, facts=facts)
    return ref


def test_an_evaluation_has_exactly_the_test_faces(world: Any, evaluation: TableRef) -> None:
    assert faces_without_score(evaluation, store=world.store) == 0


@pytest.mark.parametrize(
    ("change", "differing"),
    [
        (lambda rows: rows[:-2], 2),
        (lambda rows: [*rows[:-1], {**rows[-1], "image_id": "f" * 64}], 2),
        (lambda rows: [*rows[:-1], rows[0]], 2),
    ],
)
def test_a_face_that_is_missing_foreign_or_twice_is_found(
    world: Any, evaluation: TableRef, change: Any, differing: int
) -> None:
    assert faces_without_score(changed(world, evaluation, change), store=world.store) == differing


def test_the_stored_scorer_gives_the_same_scores_again(
    world: Any, evaluation: TableRef, compute: ComputeSettings
) -> None:
    assert largest_difference(evaluation, store=world.store, compute=compute) < 1e-4


def test_a_score_that_the_scorer_does_not_give_is_found(
    world: Any, evaluation: TableRef, compute: ComputeSettings
) -> None:
    def flatter(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**row, "predicted": row["score"]} for row in rows]

    assert largest_difference(changed(world, evaluation, flatter), store=world.store, compute=compute) > 0.01


def test_an_altered_label_table_is_not_counted_on(world: Any, evaluation: TableRef) -> None:
    path = world.store.files.local_path(world.store.tables.path(world.labels))
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(AlteredVersion):
        faces_without_score(evaluation, store=world.store)
