"""What the charts say in words follows what the run recorded."""

from typing import Any

import pytest

from selfai_pipeline.evaluation.charts import charts_of
from selfai_pipeline.tables import CheckpointRef
from selfai_pipeline.training.provenance import Stage

LABELS = {
    "score": [2.0, 4.0, 6.0, 3.0, 5.0],
    "class": [2, 4, 6, 3, 5],
    "split": ["train", "train", "train", "test", "test"],
    "weight": [0.3, 0.4, 0.3, 0.0, 0.0],
}
FACES = [{"score": 3.0, "predicted": 3.5}, {"score": 5.0, "predicted": 4.5}]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"balance_power": 0.5}, "draws rare scores more often"),
        ({}, "draws rare scores more often"),
        ({"balance_power": 0.0}, "draws every face equally often"),
    ],
)
def test_the_chart_of_draws_says_how_faces_were_drawn(settings: dict[str, Any], said: str) -> None:
    scorer = Stage(CheckpointRef("finetuned_scorer", "all", "0" * 64, 3), {"settings": settings})
    crowd = {"value": 4.0, "low": 3.0, "high": 5.0}
    calibration = {"bins": [{"predicted": 4.0, "annotated": crowd, "faces": 2}]}
    assert said in charts_of(FACES, LABELS, stages=[scorer], calibration=calibration).balance.note
