"""The arms side by side: intervals, paired differences, costs to a correlation, and what is missing."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.evaluation.ablations.arms import ARMS
from selfai_pipeline.evaluation.ablations.comparison import compare_arms, first_at
from selfai_pipeline.evaluation.ablations.outcome import Outcome, State, write_outcomes
from selfai_pipeline.evaluation.ablations.page import page_of, write_page
from selfai_pipeline.evaluation.ablations.runs import facts_of
from selfai_pipeline.evaluation.ablations.settings import AblationSettings, ComparisonSettings
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef
from selfai_pipeline.training.settings import ComputeSettings, FinetuneSettings

SETTINGS = ComparisonSettings(evaluation=EvaluationSettings(bootstrap_draws=400))


@pytest.fixture
def compare(store: Store, faces: TableRef) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """Rows by arm, and facts, of outcomes that were made up."""

    def made(
        *outcomes: Outcome, labels: TableRef = faces, machines: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        by_arm: dict[str, list[Outcome]] = {}
        for one in outcomes:
            by_arm.setdefault(one.arm, []).append(one)
        refs = {
            arm: write_outcomes(
                found,
                arm=arm,
                store=store,
                facts={"labels": labels.sha256, "machine": (machines or {}).get(arm, {"device": "cpu"})},
            )
            for arm, found in by_arm.items()
        }
        ref = compare_arms(Snapshot(refs), faces, store=store, settings=SETTINGS)
        rows = {row["arm"]: row for row in store.tables.read(ref).to_pylist()}
        return rows, store.tables.facts(ref)

    return made


@pytest.fixture
def outcome(store: Store, faces: TableRef) -> Callable[..., Outcome]:
    """An outcome whose scores are those of the crowd with noise of a given size."""
    rows = [row for row in store.tables.read(faces).to_pylist() if row["split"] == "test"]
    annotated = np.array([row["score"] for row in rows])

    def made(arm: str, seed: int, *, noise: float, course: Any = ((10.0, 100, 0.5),), **more: Any) -> Outcome:
        predicted = annotated + np.random.default_rng(seed).normal(0, noise, len(annotated))
        values = {
            "pearson": float(np.corrcoef(annotated, predicted)[0, 1]),
            "mean_absolute_error": float(np.abs(annotated - predicted).mean()),
            "network": "15 convolutions",
            "parameters": 1000,
            "faces": len(annotated),
            "steps": 40,
            "seconds": course[-1][0],
            "operations": course[-1][1],
            "course": list(course),
            "predicted": predicted.tolist(),
            "scorers": ["0" * 64],
        }
        return Outcome(arm, seed, State.FINISHED, **{**values, **more})

    return made


def test_an_arm_has_the_mean_over_its_seeds_with_an_interval_over_faces(
    compare: Any, outcome: Callable[..., Outcome]
) -> None:
    runs = [outcome("siamese_net2net", seed, noise=1.0) for seed in range(3)]
    rows, facts = compare(*runs)
    row = rows["siamese_net2net"]
    values = [run.pearson for run in runs]
    assert row["pearson"] == pytest.approx(np.mean(values))
    assert row["pearson_deviation"] == pytest.approx(np.std(values, ddof=1))
    assert row["pearson_low"] < row["pearson"] < row["pearson_high"]
    assert (row["seeds"], row["difference"], row["published_pearson"]) == (3, None, 0.84)
    assert facts["faces"] == 24
    assert 0.9 < facts["noise_ceiling"] < 1


def test_differences_are_paired_on_the_same_faces(compare: Any, outcome: Callable[..., Outcome]) -> None:
    whole = [outcome("siamese_net2net", seed, noise=0.5) for seed in (0, 1)]
    worse = [outcome("scratch", seed, noise=4.0) for seed in (0, 1)]
    same = [replace(run, arm="teacher_continued") for run in whole]
    rows, _ = compare(*whole, *worse, *same)
    scratch, equal = rows["scratch"], rows["teacher_continued"]
    assert scratch["difference"] == pytest.approx(scratch["pearson"] - rows["siamese_net2net"]["pearson"])
    assert scratch["difference_high"] < 0
    assert (equal["difference"], equal["difference_low"], equal["difference_high"]) == (0, 0, 0)


def test_a_seed_that_only_one_arm_has_counts_in_no_difference_and_no_ratio(
    compare: Any, outcome: Callable[..., Outcome]
) -> None:
    def course(at: float) -> dict[str, Any]:
        return {"course": ((at, int(at), 0.8),)}

    whole = [
        outcome("siamese_net2net", seed, noise=noise, **course(10.0)) for seed, noise in ((0, 0.5), (1, 3))
    ]
    same = replace(whole[0], arm="wide_equal_steps", course=[(20.0, 20, 0.8)])
    other = outcome("wide_equal_work", 2, noise=0.5, **course(1.0))
    slow = outcome("wide_equal_steps", 2, noise=0.5, **course(900.0))
    rows, facts = compare(*whole, same, slow, other)
    assert rows["wide_equal_steps"]["difference"] == 0
    assert rows["wide_equal_work"]["difference"] is None
    assert (facts["seconds_ratio"], facts["operations_ratio"]) == (2.0, 2.0)


def test_the_time_to_a_correlation_is_that_of_the_cheaper_wide_network_over_ours(
    compare: Any, outcome: Callable[..., Outcome]
) -> None:
    def course(*points: tuple[float, int, float]) -> dict[str, Any]:
        return {"noise": 1.0, "course": points}

    rows, facts = compare(
        outcome("siamese_net2net", 0, **course((10.0, 100, 0.4), (20.0, 200, 0.81), (30.0, 300, 0.9))),
        outcome("wide_equal_steps", 0, **course((50.0, 900, 0.82), (60.0, 990, 0.81))),
        outcome("wide_equal_work", 0, **course((30.0, 500, 0.7), (40.0, 600, 0.809))),
        outcome("imagenet", 0, **course((9.0, 10, 0.2))),
        outcome("scratch", 0, **course((9.0, 10, 0.3))),
        outcome("grouped", 0, noise=1.0, course=((5.0, 5, 0.9),)),
        outcome("share_8", 0, **course((1.0, 1, 0.3))),
    )
    assert facts["target_pearson"] == 0.8, ".809 is the lowest best of those whose times are compared"
    assert facts["seconds_ratio"] == 2.0
    assert facts["operations_ratio"] == 3.0
    assert rows["imagenet"]["seconds_to_target"] is None
    assert (rows["imagenet"]["reached"], rows["imagenet"]["seeds"]) == (0, 1)
    assert compare(outcome("scratch", 0, **course((9.0, 10, 0.357))))[1]["target_pearson"] == 0.35
    assert compare(outcome("scratch", 0, **course((9.0, 10, 0.29))))[1]["target_pearson"] == 0.29


def test_times_of_unlike_machines_have_no_ratio(
    compare: Any, outcome: Callable[..., Outcome], store: Store
) -> None:
    course = {"noise": 1.0, "course": ((10.0, 100, 0.8),)}
    runs = [outcome(name, 0, **course) for name in ("siamese_net2net", "wide_equal_steps")]
    _, facts = compare(*runs, machines={"wide_equal_steps": {"device": "cuda"}})
    assert (facts["seconds_ratio"], facts["operations_ratio"], facts["on_one_machine"]) == (None, 1.0, False)


def test_a_seed_that_never_came_there_has_no_time() -> None:
    course: list[tuple[float, int, float]] = [(1.0, 10, 0.3), (2.0, 20, 0.5), (3.0, 30, 0.4)]
    run = Outcome("scratch", 0, State.FINISHED, course=course)
    assert first_at(run, 0.4) == (2.0, 20)
    assert first_at(run, 0.6) is None


def test_what_was_not_run_is_named_with_the_reason(compare: Any, outcome: Callable[..., Outcome]) -> None:
    missing = Outcome("imagenet", 0, State.NOT_RUN, "there are no weights")
    rows, facts = compare(outcome("scratch", 0, noise=1.0), missing)
    assert list(rows) == list(ARMS)
    assert rows["imagenet"]["reason"] == "there are no weights"
    assert rows["grouped"]["reason"] == "not materialized yet"
    assert rows["scratch"]["reason"] == ""
    assert facts["seconds_ratio"] is None


def test_an_arm_of_another_label_table_is_refused(
    compare: Any, outcome: Callable[..., Outcome], store: Store, label_rows: Any
) -> None:
    other = store.tables.write(label_rows([1, 2, 3, 4]), asset="balanced_label_table", facts={})
    with pytest.raises(InputError, match="Materialize ablation_run for scratch again"):
        compare(outcome("scratch", 0, noise=1.0), labels=other)


def test_arms_of_other_settings_or_code_are_not_compared(
    outcome: Callable[..., Outcome], store: Store, faces: TableRef
) -> None:
    """Defaults change from version to version: an arm of last month says nothing beside one of today."""
    given = AblationSettings()
    longer = given.model_copy(update={"fine_tuning": FinetuneSettings(epochs=99)})
    seeded = given.model_copy(update={"seeds": [7], "fine_tuning": FinetuneSettings(seed=7)})

    def compared(**settings: AblationSettings) -> TableRef:
        refs = {
            arm: write_outcomes(
                [outcome(arm, 0, noise=1.0)],
                arm=arm,
                store=store,
                facts=facts_of(faces, used, ComputeSettings()),
            )
            for arm, used in settings.items()
        }
        return compare_arms(Snapshot(refs), faces, store=store, settings=SETTINGS)

    assert compared(scratch=seeded, siamese_net2net=given).rows == len(ARMS)
    with pytest.raises(InputError, match=r"ablation_run, scratch: .* other settings .* siamese_net2net"):
        compared(scratch=longer, siamese_net2net=given)


def test_the_page_escapes_what_it_shows_and_asks_for_nothing(
    compare: Any, outcome: Callable[..., Outcome], store: Store, faces: TableRef
) -> None:
    refs = {
        "scratch": write_outcomes(
            [
                outcome("scratch", 0, noise=1.0, network="<script>"),
                Outcome("scratch", 1, State.NOT_RUN, "the loss is nan at step 3"),
            ],
            arm="scratch",
            store=store,
            facts={"labels": faces.sha256},
        )
    }
    ref = compare_arms(Snapshot(refs), faces, store=store, settings=SETTINGS)
    path = write_page(ref, store=store)
    assert path == page_of(ref, store=store)
    text = path.read_text()
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert "not materialized yet" in text
    assert "From scratch: another seed has no figures. the loss is nan at step 3" in text
    assert isinstance(path, Path)


def test_an_arm_that_gives_every_face_one_score_has_its_place_on_the_page(
    outcome: Callable[..., Outcome], store: Store, faces: TableRef
) -> None:
    flat = outcome("scratch", 0, noise=1.0, pearson=None, predicted=[4.0] * 24)
    ref = write_outcomes([flat], arm="scratch", store=store, facts={"labels": faces.sha256})
    compared = compare_arms(Snapshot({"scratch": ref}), faces, store=store, settings=SETTINGS)
    assert "<td>not defined</td>" in write_page(compared, store=store).read_text()


def test_the_page_shows_the_curve_over_training_faces(
    outcome: Callable[..., Outcome], store: Store, faces: TableRef
) -> None:
    refs = {
        arm: write_outcomes(
            [outcome(arm, 0, noise=noise)], arm=arm, store=store, facts={"labels": faces.sha256}
        )
        for arm, noise in (("share_2", 3.0), ("siamese_net2net", 0.5))
    }
    ref = compare_arms(Snapshot(refs), faces, store=store, settings=SETTINGS)
    text = write_page(ref, store=store).read_text()
    assert "Correlation against training faces" in text
    assert "The last doubling of the training faces changed the correlation by +0." in text
    assert len(store.tables.facts(ref)["training_size"]["sizes"]) == 2
