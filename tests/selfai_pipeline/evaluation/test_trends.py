"""Charts of training size and of drift: the same bytes again, and no crash where values are missing."""

from typing import Any

from selfai_pipeline.evaluation.charts import drift_chart, training_size_chart
from selfai_pipeline.evaluation.trends import drift_svg, training_size_svg


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "why_no_value": "", "why_no_interval": ""}


def test_the_same_sizes_give_the_same_svg() -> None:
    pearson = [estimate(0.5, 0.4, 0.6), estimate(None), estimate(0.7)]
    first, second = (training_size_svg([10, 20, 40], pearson, ceiling=0.9) for _ in range(2))
    assert first == second
    assert first.startswith(b"<?xml")
    assert training_size_svg([10, 20, 40], pearson, ceiling=None) != first


def test_a_size_chart_says_its_points_in_words_and_needs_two() -> None:
    sizes = [{"faces": 1200, "pearson": estimate(0.5)}, {"faces": 2400, "pearson": estimate(0.625)}]
    chart = training_size_chart(sizes, ceiling=0.95)
    assert chart is not None
    assert "0.500 with 1,200 faces, 0.625 with 2,400 faces. The noise ceiling is 0.950." in chart.alternative
    assert training_size_chart(sizes[:1], ceiling=0.95) is None
    undefined = [sizes[0], {"faces": 2400, "pearson": estimate(None)}]
    assert training_size_chart(undefined, ceiling=None) is None


def test_days_without_scores_leave_a_gap_in_the_chart() -> None:
    days = ["2026-01-01", "2026-01-02", "2026-01-03"]
    quality = {"brightness": [100.0, None, 120.0]}
    crowd = [None, None, None]
    first, second = (drift_svg(days, [4.0, None, 5.0], [1.0, None, None], crowd, quality) for _ in range(2))
    assert first == second


def day(name: str, mean: float | None, **quality: float) -> dict[str, Any]:
    return {"day": name, "mean": mean, "deviation": 1.0, "crowd": None, "quality": quality}


def test_a_drift_chart_names_the_lowest_and_the_highest_day() -> None:
    days = [day("2026-01-01", 4.2, blur=30.0), day("2026-01-02", 5.1), day("2026-01-03", None)]
    chart = drift_chart(days, measures={"blur": "sharpness", "brightness": "light"})
    assert chart is not None
    assert "lowest on 2026-01-01 with 4.2 points, highest on 2026-01-02 with 5.1" in chart.alternative
    assert "medians of sharpness." in chart.alternative
    assert drift_chart([day("2026-01-01", None)], measures={}) is None
