"""Evaluation of a scorer on the test split: a table of predictions with figures as facts, and the report."""

import json
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from selfai_pipeline.errors import InputError, UndefinedMetric
from selfai_pipeline.evaluation.ablations.training_size import training_size
from selfai_pipeline.evaluation.champion import Champion, beside_champion
from selfai_pipeline.evaluation.charts import charts_of, drift_chart, training_size_chart
from selfai_pipeline.evaluation.correlation import Reals
from selfai_pipeline.evaluation.drift import FEW, MEASURES, drift_of
from selfai_pipeline.evaluation.faces import galleries_of, occlusion_of
from selfai_pipeline.evaluation.figures import figures_of
from selfai_pipeline.evaluation.page import render_page
from selfai_pipeline.evaluation.published import PUBLISHED
from selfai_pipeline.evaluation.scoring import score_crops
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.evaluation.words import headline
from selfai_pipeline.storage import replace_file
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, TableRef
from selfai_pipeline.training.conformal import Intervals
from selfai_pipeline.training.provenance import Stage, chain_of, check_unseen
from selfai_pipeline.training.scorer import Scorer
from selfai_pipeline.training.settings import ComputeSettings

logger = logging.getLogger("selfai.evaluation")

REPORT = "report.html"
FIGURES = "report.json"
SCHEMA_VERSION = 1
"""Of `report.json`; raised where a key changes its meaning or goes."""


def evaluate(
    scorer: CheckpointRef,
    labels: TableRef,
    *,
    store: Store,
    settings: EvaluationSettings,
    compute: ComputeSettings,
) -> TableRef:
    """Score the test faces; the table holds one row a test face, its facts are the figures.

    Facts: those of `figures_of`; `sources` (faces of the label table by source), `split_counts`;
    `scorer` and `labels` (hashes); `headline`, one line of text.

    Raises:
        InputError: there are no test faces, the scorer has seen some of them, or it gives no finite scores.
        MissingVersion, AlteredVersion: a crop, a checkpoint or a label table is missing or was altered.
    """
    everything = store.tables.read(
        labels,
        ["image_id", "face", "crop_sha256", "source", "score", "standard_error", "cluster", "split", "group"],
    ).to_pylist()
    tested = rows_of_test(everything, labels=labels)
    check_unseen(chain_of(scorer, store=store), labels=labels, store=store, splits=["test"])
    loaded = Scorer.load(scorer, store=store, compute=compute)
    predicted = score_crops(
        loaded,
        [row["crop_sha256"] for row in tested],
        ref=scorer,
        store=store,
        batch_size=settings.batch_size,
    )
    facts = figures_of(
        np.array([row["score"] for row in tested]),
        predicted,
        groups=[row["group"] for row in tested],
        clusters=[row["cluster"] for row in tested],
        standard_errors=[row["standard_error"] for row in tested],
        label_facts=store.tables.facts(labels),
        intervals=loaded.intervals,
        settings=settings,
    )
    logger.info("evaluated: %s", headline(facts))
    columns = ("image_id", "face", "crop_sha256", "score", "standard_error", "group")
    ends = _ends(predicted, loaded.intervals)
    return store.tables.write(
        [
            {**{name: row[name] for name in columns}, "predicted": float(score), "low": low, "high": high}
            for row, score, (low, high) in zip(tested, predicted, ends, strict=True)
        ],
        asset="evaluation_report",
        facts={
            **facts,
            "headline": headline(facts),
            "sources": dict(sorted(Counter(row["source"] for row in everything).items())),
            "split_counts": dict(sorted(Counter(row["split"] for row in everything).items())),
            "scorer": scorer.sha256,
            "labels": labels.sha256,
        },
    )


def _ends(predicted: Reals, intervals: Intervals) -> list[tuple[float | None, float | None]]:
    """The ends of each score's interval; None where there are none."""
    try:
        low, high = intervals.around(predicted)
    except UndefinedMetric:
        return [(None, None)] * len(predicted)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def rows_of_test(rows: Iterable[dict[str, Any]], *, labels: TableRef) -> list[dict[str, Any]]:
    """Those of the rows of a label table that are in the test split.

    Raises:
        InputError: there are none.
    """
    tested = [row for row in rows if row["split"] == "test"]
    if not tested:
        raise InputError(
            "no face is in the test split",
            where=f"{labels.asset} {labels.sha256[:12]}",
            mend="Materialize the label table with a larger test_share.",
        )
    return tested


def write_report(
    evaluation: TableRef,
    *,
    scorer: CheckpointRef,
    labels: TableRef,
    store: Store,
    settings: EvaluationSettings,
    compute: ComputeSettings,
    champion: Champion | None = None,
) -> Path:
    """Write `report.html` (one page, everything inside it) and `report.json` beside it; returns the page.

    They lie in the home's reports folder, under the hash of the evaluation; writing again replaces them. The
    JSON has the figures (facts of the evaluation table), what stands beside them (`champion`, `drift`,
    `training_size`, `published`), the `origin` of it all and its own `schema_version`; no picture, no name of
    a picture.

    Args:
        champion: the scorer to compare with; None where there is none.

    Raises:
        InputError: `evaluation` was made from another scorer or label table.
        MissingVersion, AlteredVersion: a crop, a checkpoint or a table is missing or was altered.
        StorageError: the folder cannot be written.
    """
    facts = store.tables.facts(evaluation)
    for name, ref in (("scorer", scorer), ("labels", labels)):
        if facts.get(name) != ref.sha256:
            raise InputError(
                f"it was made from another version of {ref.asset} ({str(facts.get(name))[:12]}) than the one "
                f"named for the report ({ref.sha256[:12]})",
                where=f"{evaluation.asset} {evaluation.sha256[:12]}",
                mend="Materialize evaluation_report again.",
            )
    faces = store.tables.read(evaluation).to_pylist()
    stages = chain_of(scorer, store=store)
    loaded = Scorer.load(scorer, store=store, compute=compute)
    rows = store.tables.read(labels, ["score", "class", "split", "weight"]).to_pydict()
    beside: dict[str, Any] = {
        "champion": beside_champion(
            champion, faces, labels=labels, store=store, settings=settings, compute=compute
        ),
        "drift": drift_of(labels, scorer=loaded, ref=scorer, store=store, settings=settings).to_dict(),
        "training_size": training_size(
            store.tables.snapshot("ablation_run"), labels, store=store, settings=settings
        ).to_dict(),
        "published": [asdict(one) for one in PUBLISHED],
    }
    origin = _origin(evaluation, labels, stages=stages, settings=settings)
    page = render_page(
        {
            "facts": facts,
            **beside,
            "charts": charts_of(faces, rows, stages=stages, calibration=facts["calibration"]),
            "drift_least_faces": FEW,
            "drift_chart": drift_chart(beside["drift"]["days"], measures=MEASURES),
            "size_chart": training_size_chart(
                beside["training_size"]["sizes"], ceiling=facts["noise_ceiling"]
            ),
            "occlusion": occlusion_of(faces, scorer=loaded, crops=store.crops, settings=settings),
            "galleries": galleries_of(faces, crops=store.crops, settings=settings),
            "origin": origin,
            "settings": settings,
        }
    )
    written = json.dumps(
        {"schema_version": SCHEMA_VERSION, "figures": facts, **beside, "origin": origin},
        indent=1,
        sort_keys=True,
        allow_nan=False,
        ensure_ascii=False,
    )
    path = page_of(evaluation, store=store)
    replace_file(path.with_name(FIGURES), written.encode())
    replace_file(path, page.encode())
    logger.info("wrote the report of %d test faces, %d kB", len(faces), len(page) // 1000)
    return path


def page_of(evaluation: TableRef, *, store: Store) -> Path:
    """Where the page of an evaluation lies, whether it is written or not."""
    return store.home.reports / evaluation.sha256 / REPORT


def _origin(
    evaluation: TableRef, labels: TableRef, *, stages: list[Stage], settings: EvaluationSettings
) -> dict[str, Any]:
    """What the report was made from: hashes and settings, JSON values only."""
    return {
        "evaluation": {"asset": evaluation.asset, "sha256": evaluation.sha256, "rows": evaluation.rows},
        "labels": {"asset": labels.asset, "sha256": labels.sha256, "rows": labels.rows},
        "checkpoints": [
            {
                "asset": stage.ref.asset,
                "sha256": stage.ref.sha256,
                "weights_sha256": stage.record["weights_sha256"],
                "pictures": stage.ref.rows,
                "inputs": stage.inputs,
                "settings": stage.record.get("settings") or {},
            }
            for stage in stages
        ],
        "evaluation_settings": settings.model_dump(mode="json"),
    }
