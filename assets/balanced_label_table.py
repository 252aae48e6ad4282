"""Labels: the crowd's score of each face, split and balanced."""

import logging
from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.common import (
    FEW_PICTURES,
    OWNERS,
    check_specs,
    judged,
    materialized,
    noise_ceiling,
    preview_link,
    record_of,
    verdict,
)
from selfai_pipeline.errors import InputError
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, Snapshot, TableRef

logger = logging.getLogger("selfai.labels")

WARNINGS = {
    "agreement": "Annotators agree well enough for a noise ceiling of 0.7 or more.",
    "flagged_annotators": "No more than a tenth of the annotators give ratings without a signal.",
    "rating_graph": "All ratings hang together, so that scores of all pictures are on one level.",
    "counts": "Of every mean it is known how many ratings it stands for.",
    "split_scores": "The scores of validation and test are distributed as those of training are.",
    "score_drift": "The scores are distributed as in the version before.",
}
"""Checks that stop nothing: such labels can be trained on, but somebody should look."""

LEAST_CEILING, GOOD_CEILING = 0.3, 0.7
"""Noise ceilings: below the first there is nothing to learn, and the second is worth a look."""

MANY_FACES = 100
"""With fewer standard errors a low noise ceiling can be chance, and stops nothing."""

FEW_ANNOTATORS, MOST_FLAGGED = 10, 0.1


class LabelConfig(defaults_of(LabelSettings, section="balanced_label_table"), dg.Config):  # type: ignore[misc]
    """Rating model, splits and balance; each setting can be changed in the Launchpad."""


@dg.asset(group_name="labels", kinds={"parquet"}, owners=OWNERS, code_version="5")
def balanced_label_table(
    context: dg.AssetExecutionContext,
    config: LabelConfig,
    annotations: Snapshot,
    aligned_faces: Snapshot,
    store: dg.ResourceParam[Store],
) -> Snapshot:
    """One row a rated face: the crowd's score with its standard error, split and sampling weight.

    Annotators' bias and inconsistency are estimated and taken out; the splits never divide a group of
    near-duplicates; weights draw a class first and a picture second, or as `balance` says. The noise ceiling
    says how well any model could correlate with these scores. Days whose faces did not pass their checks are
    left out. The plot shows the scores of each split, and training before and after balance.
    """
    from selfai_pipeline.labels.figures import write_distributions
    from selfai_pipeline.labels.label_table import build_label_table

    faces = store.tables.only_passed(aligned_faces)
    left_out = sorted(set(aligned_faces.refs) - set(faces.refs))
    if left_out:
        logger.warning("left out, because their faces did not pass the checks: %s", ", ".join(left_out))
    if not faces.refs:
        raise InputError(
            "no day has passed its checks",
            where="aligned_faces",
            mend="Materialize its days with their checks, and mend what these name.",
        )
    ref = build_label_table(annotations.table, faces, store=store, settings=config)
    preview = f"previews/balanced_label_table/{WHOLE}.png"
    write_distributions(ref, store=store, path=store.home.root / preview)
    days = {"days_left_out": dg.MetadataValue.json(left_out)}
    page = {WHOLE: {"distributions": preview_link(preview), **label_page(ref, store), **days}}
    return materialized(context, {WHOLE: ref}, inputs=[annotations, faces], settings=config, metadata=page)


def label_page(ref: TableRef, store: Store) -> dict[str, dg.MetadataValue[Any]]:
    """Noise ceiling, agreement, splits, and all figures of a version of the labels."""
    from selfai_pipeline.labels.figures import agreement_lines, group_lines, split_lines

    facts = store.tables.facts(ref)
    tables = {
        "agreement": agreement_lines(facts),
        "agreement_by_group": group_lines(facts),
        "splits": split_lines(ref, store=store),
    }
    return {
        **noise_ceiling(facts),
        **{
            name: dg.MetadataValue.table([dg.TableRecord(line) for line in lines])
            for name, lines in tables.items()
            if lines
        },
        "figures": dg.MetadataValue.json(facts),
    }


@dg.multi_asset_check(
    specs=[
        *check_specs(
            "balanced_label_table",
            completeness="Each split has faces; each face has a crop that is stored, and leads back to "
            "ratings and a face in the versions that the table was made from.",
            sanity="No cluster crosses a split; weights are a distribution over training faces; scores lie "
            "in 0..9 and in their class.",
            floor="Two annotators or more stand behind each score (a mean without a count is taken for one), "
            "and agree enough for a noise ceiling of 0.3, where it can be judged.",
        ),
        *(
            dg.AssetCheckSpec(name, asset="balanced_label_table", description=text, blocking=False)
            for name, text in WARNINGS.items()
        ),
    ]
)
def balanced_label_table_checks(
    balanced_label_table: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of the labels, and what is worth a look."""
    yield from judged(store, balanced_label_table.table, label_verdicts(balanced_label_table.table, store))


def label_verdicts(ref: TableRef, store: Store) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of a version of the labels, and the warnings."""
    from selfai_pipeline.labels.soundness import condition_of

    asset = "balanced_label_table"
    found, facts = condition_of(ref, record_of(store, ref), store=store), store.tables.facts(ref)
    complete = found.splits == {"train", "validation", "test"} and found.lost == found.untraced == 0
    text = (
        f"splits {', '.join(sorted(found.splits))}; {found.lost} crops lost, {found.untraced} faces without "
        "a rating or a face that they were made from"
    )
    yield verdict(asset, "completeness", complete, text, lost=found.lost, untraced=found.untraced)
    sane = found.crossing == found.outside == found.odd == 0 and abs(found.weights - 1) < 1e-6
    text = (
        f"{found.crossing} clusters cross splits, {found.outside} weights outside of training, weights sum "
        f"to {found.weights:.6f}, {found.odd} scores or errors out of range"
    )
    figures = {"crossing": found.crossing, "outside": found.outside, "odd": found.odd}
    yield verdict(asset, "sanity", sane, text, **figures, weights=found.weights)
    ceiling = facts["noise_ceiling"]
    low = ceiling is not None and ceiling < LEAST_CEILING and found.known_errors >= MANY_FACES
    text = f"{found.one_annotator} of {found.rows} scores have fewer than two annotators; " + (
        f"noise ceiling {ceiling:.2f}, where {LEAST_CEILING} is needed from {MANY_FACES} faces on"
        if ceiling is not None
        else f"noise ceiling not known: {facts['noise_ceiling_reason']}"
    )
    enough = found.one_annotator == 0 and not low
    yield verdict(asset, "quality_floor", enough, text, one_annotator=found.one_annotator)
    yield from crowd_warnings(facts, known_errors=found.known_errors, unknown_counts=found.unknown_counts)
    yield from distribution_warnings(ref, store)


def crowd_warnings(
    facts: dict[str, Any], *, known_errors: int, unknown_counts: int
) -> Iterator[dg.AssetCheckResult]:
    """What about the crowd is worth a look."""
    asset, warn = "balanced_label_table", dg.AssetCheckSeverity.WARN
    ceiling, flagged = facts["noise_ceiling"], facts["flagged"]
    few = ceiling is None or known_errors < FEW_PICTURES
    text = (
        f"noise ceiling not known: {facts['noise_ceiling_reason']}"
        if ceiling is None
        else f"noise ceiling {ceiling:.2f} from {known_errors} faces; below {GOOD_CEILING} more annotators a "
        "picture are wanted"
    )
    yield verdict(asset, "agreement", few or ceiling >= GOOD_CEILING, text, warn)
    share = flagged["annotators"] / max(1, flagged["tested"])
    text = (
        f"{flagged['annotators']} of {flagged['tested']} annotators that could be judged give no signal"
        + (" (their ratings are left out)" if flagged["left_out"] else "; leave_out_flagged leaves them out")
    )
    fine = share <= MOST_FLAGGED or flagged["tested"] < FEW_ANNOTATORS
    yield verdict(asset, "flagged_annotators", fine, text, warn, flagged_share=share)
    parts = facts["rating_graph_components"]
    text = (
        f"the ratings fall into {parts} parts that share no annotator and no picture; the largest has "
        f"{facts['rating_graph_largest_share']:.0%} of them. How far apart their levels are is not known: "
        "have some pictures of each rated by annotators of the others"
        if parts > 1
        else "all single ratings hang together"
    )
    yield verdict(asset, "rating_graph", parts <= 1, text, warn, parts=parts)
    text = f"{unknown_counts} scores are means of which no count is known" + (
        "; count_column names it" if unknown_counts else ""
    )
    yield verdict(asset, "counts", unknown_counts == 0, text, warn, unknown_counts=unknown_counts)


def distribution_warnings(ref: TableRef, store: Store) -> Iterator[dg.AssetCheckResult]:
    """What about the distribution of the scores is worth a look: between splits, and since the last time."""
    from selfai_pipeline.labels.soundness import beside_training, beside_version_before

    asset, warn = "balanced_label_table", dg.AssetCheckSeverity.WARN
    splits = beside_training(ref, store=store)
    words, figures = [], {}
    for side, found in splits.items():
        if found.shift is None:
            words.append(f"{side}: too few faces to compare with training")
            continue
        chance = "too few clusters to judge" if found.chance is None else f"chance {found.chance:.2g}"
        words.append(
            f"{side}: {found.shift:.0%} of the faces and {found.distance:.2f} points off training ({chance})"
        )
        figures[f"{side}_shift"] = found.shift
    alike = not any(found.differs for found in splits.values())
    yield verdict(asset, "split_scores", alike, "; ".join(words), warn, **figures)
    drift = beside_version_before(ref, store=store)
    if drift is None or drift.distance is None:
        text = "there is no version before with enough faces that passed its checks"
        yield verdict(asset, "score_drift", True, text, warn)
        return
    text = f"scores moved by {drift.distance:.2f} points beside the version before"
    yield verdict(asset, "score_drift", not drift.differs, text, warn, distance=drift.distance)
