"""The arms side by side: correlations, differences to the whole method, and what each cost."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfai_pipeline.errors import InputError
from selfai_pipeline.evaluation.ablations.arms import ARMS, WHOLE_METHOD, Arm, Trunk
from selfai_pipeline.evaluation.ablations.outcome import Outcome, State, made_alike, read_outcomes
from selfai_pipeline.evaluation.ablations.seeds import NO_ESTIMATE, mean_over, mean_pearson, of_common_seeds
from selfai_pipeline.evaluation.ablations.settings import ComparisonSettings
from selfai_pipeline.evaluation.ablations.training_size import training_size
from selfai_pipeline.evaluation.bootstrap import Estimate, estimate
from selfai_pipeline.evaluation.correlation import Reals
from selfai_pipeline.evaluation.paired import minus
from selfai_pipeline.labels.agreement import ceiling_facts
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef

Finished = Mapping[str, Sequence[Outcome]]
"""Arm -> the outcomes that have figures, one a seed."""


def compare_arms(runs: Snapshot, labels: TableRef, *, store: Store, settings: ComparisonSettings) -> TableRef:
    """One row an arm, in the order of `ARMS`; an arm that was not run has its reason.

    Differences and ratios are over those seeds that both of an arm and the whole method have.

    Facts: `faces`, `noise_ceiling` and its reason, of the test faces; `target_pearson`; `seconds_ratio` and
    `operations_ratio`, how many times as long wide networks from scratch took to the target as the whole
    method (None where neither, or that, reached it with every seed, and of seconds unless `on_one_machine`);
    `training_size`, the correlation against the number of training faces; `labels`, the hash.

    Raises:
        InputError: an arm was run on another version of the label table, or with other settings or code than
            the others.
    """
    outcomes: dict[str, Sequence[Outcome]] = {}
    first = WHOLE_METHOD if WHOLE_METHOD in runs.tables else next(iter(runs.tables), "")
    for name, ref in runs.tables.items():
        if not made_alike(ref, runs.tables[first], store=store):
            raise InputError(
                f"it was run with other settings of training than {first}, or by another version of the code",
                where=f"ablation_run, {name}",
                mend=f"Materialize ablation_run for {name} again, or for {first}, with the same settings.",
            )
        made_on = store.tables.facts(ref).get("labels")
        if made_on != labels.sha256:
            raise InputError(
                f"it was run on another version of the label table ({str(made_on)[:12]}, not "
                f"{labels.sha256[:12]})",
                where=f"ablation_run, {name}",
                mend=f"Materialize ablation_run for {name} again.",
            )
        outcomes[name] = read_outcomes(ref, store=store)
    finished = {
        name: [one for one in found if one.state is State.FINISHED] for name, found in outcomes.items()
    }
    finished = {name: found for name, found in finished.items() if found}
    columns = ["image_id", "face", "score", "standard_error", "cluster", "split"]
    rows = store.tables.read(labels, columns).to_pylist()
    tested = sorted(
        (row for row in rows if row["split"] == "test"), key=lambda row: (row["image_id"], row["face"])
    )
    annotated = np.array([row["score"] for row in tested])
    options: dict[str, Any] = {
        "clusters": [row["cluster"] for row in tested],
        "settings": settings.evaluation,
    }
    target = settings.target_pearson or target_of(finished)
    table = [
        _row(
            arm,
            outcomes.get(arm.name, []),
            finished=finished,
            annotated=annotated,
            options=options,
            target=target,
        )
        for arm in ARMS.values()
    ]
    machines = {
        json.dumps(store.tables.facts(ref).get("machine"), sort_keys=True)
        for name, ref in runs.tables.items()
        if _has_its_time_compared(name)
    }
    on_one_machine = len(machines) <= 1
    ceiling = ceiling_facts(
        annotated,
        [row["standard_error"] for row in tested],
        has_single_ratings=bool(store.tables.facts(labels).get("ratings")),
    )
    facts = {
        "faces": len(tested),
        "noise_ceiling": ceiling["noise_ceiling"],
        "noise_ceiling_reason": ceiling["noise_ceiling_reason"],
        "target_pearson": target,
        "seconds_ratio": _ratio(finished, target, cost=0) if on_one_machine else None,
        "on_one_machine": on_one_machine,
        "operations_ratio": _ratio(finished, target, cost=1),
        "labels": labels.sha256,
        "training_size": training_size(runs, labels, store=store, settings=settings.evaluation).to_dict(),
        "confidence": settings.evaluation.confidence,
    }
    return store.tables.write(table, asset="ablation_report", facts=facts)


def target_of(finished: Finished) -> float | None:
    """The highest correlation of two digits that every run of those whose times are compared reached on
    validation, the whole method and the wide networks; without any, every run of our own network."""
    best = {
        name: [max(value for _, _, value in outcome.course) for outcome in found if outcome.course]
        for name, found in finished.items()
        if ARMS[name].trunk is not Trunk.IMAGENET and ARMS[name].share == 1
    }
    compared = [value for name in best if _has_its_time_compared(name) for value in best[name]]
    reached = compared or [value for found in best.values() for value in found]
    return math.floor(round(100 * min(reached), 9)) / 100 if reached else None


def _has_its_time_compared(arm: str) -> bool:
    return arm == WHOLE_METHOD or ARMS[arm].trunk is Trunk.WIDE


def first_at(outcome: Outcome, target: float) -> tuple[float, int] | None:
    """Seconds and operations until the validation correlation was `target`; None where it never was."""
    return next(((at, work) for at, work, value in outcome.course if value >= target), None)


def _row(
    arm: Arm,
    outcomes: Sequence[Outcome],
    *,
    finished: Finished,
    annotated: Reals,
    options: Mapping[str, Any],
    target: float | None,
) -> dict[str, Any]:
    ended = finished.get(arm.name, [])
    reasons = sorted({one.reason for one in outcomes if one.reason})
    reached = [at for one in ended if target is not None and (at := first_at(one, target)) is not None]
    pearson = mean_pearson(ended, annotated, options)
    difference = _difference(ended, finished.get(WHOLE_METHOD, []), annotated, options)
    correlations = [one.pearson for one in ended if one.pearson is not None]
    everywhere = bool(ended) and len(reached) == len(ended)
    published = arm.published or (None, None)

    def mean(name: str) -> float | None:
        values = [getattr(one, name) for one in ended if getattr(one, name) is not None]
        return float(np.mean(values)) if values else None

    parameters = mean("parameters")
    return {
        "arm": arm.name,
        "title": arm.title,
        "reason": "; ".join(reasons) or ("" if ended else "not materialized yet"),
        "network": ended[0].network if ended else "",
        "seeds": len(ended),
        "pearson": pearson.value,
        "pearson_low": pearson.low,
        "pearson_high": pearson.high,
        "pearson_deviation": float(np.std(correlations, ddof=1)) if len(correlations) > 1 else None,
        "difference": difference.value,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "mean_absolute_error": mean("mean_absolute_error"),
        "parameters": None if parameters is None else round(parameters),
        "steps": mean("steps"),
        "seconds": mean("seconds"),
        "operations": mean("operations"),
        "reached": len(reached),
        "seconds_to_target": float(np.mean([at for at, _ in reached])) if everywhere else None,
        "operations_to_target": float(np.mean([work for _, work in reached])) if everywhere else None,
        "published_pearson": published[0],
        "published_hours": published[1],
    }


def _difference(
    outcomes: Sequence[Outcome], whole: Sequence[Outcome], annotated: Reals, options: Mapping[str, Any]
) -> Estimate:
    """How far an arm lies above the whole method; both are measured on the same resamples of the faces."""
    ours, theirs = of_common_seeds(outcomes, whole)
    if not ours or ours[0].arm == WHOLE_METHOD:
        return NO_ESTIMATE
    between = minus(mean_over(ours), mean_over(theirs))
    return estimate(between, annotated, np.array(ours[0].predicted), **options)


def _ratio(finished: Finished, target: float | None, *, cost: int) -> float | None:
    """The cost to the target of the cheaper of the wide networks from scratch, over that of the whole method;
    `cost` is the place of seconds or operations in what `first_at` finds."""
    ratios = []
    for arm in ARMS.values():
        if arm.trunk is not Trunk.WIDE or target is None:
            continue
        both = of_common_seeds(finished.get(arm.name, []), finished.get(WHOLE_METHOD, []))
        wide, ours = ([first_at(one, target) for one in outcomes] for outcomes in both)
        if wide and None not in wide and None not in ours:
            ratios.append(sum(at[cost] for at in wide if at) / sum(at[cost] for at in ours if at))
    return min(ratios, default=None)
