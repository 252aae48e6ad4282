"""A label table of painted faces, and arms that run in a second or two."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from selfai_pipeline.evaluation.ablations.runs import ArmRuns
from selfai_pipeline.evaluation.ablations.settings import AblationSettings
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef
from selfai_pipeline.training.settings import (
    ComputeSettings,
    FinetuneSettings,
    SiameseSettings,
    WidenSettings,
)


@pytest.fixture
def ablation_settings() -> AblationSettings:
    """Pre-training grows after the second of three epochs, as none counts as progress."""
    return AblationSettings(
        seeds=[0, 1],
        siamese=SiameseSettings(
            input_size=32,
            width=0.12,
            batch_size=12,
            epochs=3,
            least_steps=1,
            stall_patience=1,
            stall_tolerance=0.99,
            growth_plan=["wider conv15 1.5"],
        ),
        widening=WidenSettings(factor=1.5, probe_pictures=2),
        fine_tuning=FinetuneSettings(batch_size=12, least_steps=1, epochs=2),
        evaluation=EvaluationSettings(bootstrap_draws=200),
    )


@pytest.fixture
def faces(store: Store, label_rows: Callable[..., list[dict[str, Any]]]) -> TableRef:
    """96 faces of two groups, a quarter in the test split."""
    scores = np.random.default_rng(3).uniform(0.5, 8.5, 96).round(2).tolist()
    rows = label_rows(scores, groups=["north" if n % 3 else "south" for n in range(96)])
    return store.tables.write(rows, asset="balanced_label_table", facts={"ratings": 480})


@pytest.fixture
def arm_runs(
    store: Store, faces: TableRef, ablation_settings: AblationSettings, compute: ComputeSettings
) -> ArmRuns:
    return ArmRuns(faces, store, ablation_settings, compute, lambda _: lambda *_: None)
