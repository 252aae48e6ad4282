"""The scorer beside the champion, on the test faces that the champion has not seen."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from selfai_pipeline.evaluation.champion import Champion, beside_champion
from selfai_pipeline.evaluation.report import evaluate
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.tables import CheckpointRef
from selfai_pipeline.training.settings import ComputeSettings

SCORES = np.random.default_rng(5).uniform(0.5, 8.5, 80).round(2).tolist()
SPLITS = ["test", "train", "validation", "train"] * 20


@pytest.fixture
def beside(settings: EvaluationSettings, compute: ComputeSettings) -> Callable[..., dict[str, Any]]:
    """What is said of the scorer of a world beside a champion."""

    def compare(world: Any, champion: CheckpointRef | None) -> dict[str, Any]:
        table = evaluate(world.scorer, world.labels, store=world.store, settings=settings, compute=compute)
        return beside_champion(
            None if champion is None else Champion(champion, "selfai-scorer@1 (champion)"),
            world.store.tables.read(table).to_pylist(),
            labels=world.labels,
            store=world.store,
            settings=settings,
            compute=compute,
        )

    return compare


def blunt(network: Any) -> None:
    network.head.weight.mul_(0.2)


def test_without_another_champion_there_is_no_comparison(make_world: Any, beside: Any) -> None:
    world = make_world(SCORES, splits=SPLITS)
    assert beside(world, None) == {
        "name": None,
        "sha256": None,
        "reason": "no other scorer has been champion yet",
    }


def test_both_are_measured_on_the_same_faces(make_world: Any, beside: Any) -> None:
    groups = ["north"] * 60 + ["south"] * 20
    former = make_world(SCORES, splits=SPLITS, groups=groups, change=blunt)
    world = make_world(SCORES, splits=SPLITS, groups=groups)
    assert former.labels == world.labels
    found = beside(world, former.scorer)
    assert found["reason"] == ""
    assert (found["faces"], found["seen"]) == (20, 0)
    assert found["mean_absolute_error"]["value"] < -0.5, "the champion says nearly the same of every face"
    assert abs(found["pearson"]["value"]) < 1e-6, "but in the same order"
    assert [(one["group"], one["faces"]) for one in found["groups"]] == [("north", 15)]
    assert (found["small_groups"], found["small_groups_faces"]) == (1, 5)


def test_faces_that_the_champion_has_seen_are_left_out_with_their_cluster(
    make_world: Any, beside: Any, label_rows: Any
) -> None:
    """The champion learnt from test faces 0 and 4; face 8 is another picture of the person in face 4."""
    earlier = list(SPLITS)
    earlier[0] = earlier[4] = "train"
    former = make_world(SCORES, splits=earlier, change=blunt)
    world = make_world(SCORES, splits=SPLITS)
    rows = world.store.tables.read(world.labels).to_pylist()
    rows[8]["cluster"] = rows[4]["cluster"]
    labels = world.store.tables.write(
        rows, asset="balanced_label_table", facts=world.store.tables.facts(world.labels)
    )
    found = beside(replace(world, labels=labels), former.scorer)
    assert (found["seen"], found["faces"]) == (3, 17)
    kept = [row for number, row in enumerate(rows) if row["split"] == "test" and number not in (0, 4, 8)]
    assert found["clusters"] == len({row["cluster"] for row in kept})


def test_a_champion_that_has_seen_everything_or_is_lost_is_said_and_harms_nothing(
    make_world: Any, beside: Any, caplog: pytest.LogCaptureFixture
) -> None:
    former = make_world(SCORES, splits=["train"] * 79 + ["validation"], change=blunt)
    world = make_world(SCORES, splits=SPLITS)
    assert "has seen every one of the 20 test faces" in beside(world, former.scorer)["reason"]
    lost = replace(former.scorer, sha256="e" * 64)
    assert "its files are missing" in beside(world, lost)["reason"]
    assert "cannot be measured" in caplog.text
    assert "names no checkpoint" in beside(world, replace(lost, sha256="../../x"))["reason"]


def test_the_difference_is_that_of_the_two_correlations(make_world: Any, beside: Any) -> None:
    def other_weights(network: Any) -> None:
        generator = np.random.default_rng(1)
        noise = generator.normal(0, float(network.head.weight.std()) * 2, network.head.weight.shape)
        network.head.weight.add_(network.head.weight.new_tensor(noise))

    former = make_world(SCORES, splits=SPLITS, change=other_weights)
    world = make_world(SCORES, splits=SPLITS)
    found = beside(world, former.scorer)
    assert found["pearson"]["low"] < found["pearson"]["value"] < found["pearson"]["high"]
    assert found["pearson"]["value"] > 0
    turned = beside(replace(world, scorer=former.scorer), world.scorer)
    assert turned["pearson"]["value"] == pytest.approx(-found["pearson"]["value"], abs=1e-6)
